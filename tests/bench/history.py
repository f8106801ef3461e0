"""What a step of a long chain costs the API server: the operator's own writes, without waiting for any pod.

The same patches and pages that a pass makes, for a history that is made up. Beside it, what the same step costs at the end
of a history that stands in the status whole.
"""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from flowy_operator.adapters.kube import paths
from flowy_operator.adapters.kube.client import KubeClient
from flowy_operator.app.pages import Pages
from flowy_operator.core.history import Event, TaskCompleted, TaskScheduled
from flowy_operator.core.job import Owner
from flowy_operator.core.observe import View
from flowy_operator.core.pages import PageLimits, Tail
from flowy_operator.core.state import State, apply
from flowy_operator.core.status import Standing, status_fields, status_patch
from tests.e2e.manifests import workflow

EDGE = 200
"""Steps at the beginning and at the end that are compared: some seals are among them, and no single slow write decides."""

SOURCE = "def chain(step):\n    return lambda: step()\n"
STEP = {"name": "step", "activity": {"image": "none.invalid/step"}}


@dataclass(frozen=True, slots=True)
class Steps:
    """Milliseconds of calls a step, pages and their cut included: mean of the first steps, of the last, of the worst."""

    first_ms: float
    last_ms: float
    longest_ms: float
    pages: int


async def chain(client: KubeClient, namespace: str, name: str, count: int, limits: PageLimits) -> Steps:
    """So many steps of one task each: an append of its completion and of the next one's scheduling."""
    # Suspended: an operator that looks after this namespace has nothing to do.
    body = await client.create(paths.workflows(namespace), workflow(name, SOURCE, [STEP], suspend=True))
    owner = Owner(namespace=namespace, name=name, uid=body["metadata"]["uid"])
    pages, now = Pages(client, limits), datetime.now(UTC)
    state, tail = State(workflow=name, uid=owner.uid, started_at=now), Tail()
    status: dict[str, Any] | None = None
    version, took_ms = body["metadata"]["resourceVersion"], list[float]()
    for n in range(count):
        began = time.perf_counter()
        tail = await pages.seal(owner, tail, state)
        spent = time.perf_counter() - began
        events = _step(state, n, now)
        kept = tail
        state, tail = apply(state, events), tail.followed_by(events)
        standing = Standing(generation=1, started_at=now, history_start=tail.first)
        fields = status_fields(status or {}, state, standing, View(), now)
        patch = status_patch(status, fields, events, version, kept)
        began = time.perf_counter()
        answer = await client.json_patch(paths.workflow_status(namespace, name), patch)
        took_ms.append((spent + time.perf_counter() - began) * 1000)
        version = answer["metadata"]["resourceVersion"]
        status = {key: value for key, value in answer["status"].items() if key != "history"}
    found = await client.list_metadata(paths.historypages(namespace), label_selector=f"flowy.dev/workflow={name}")
    await client.delete(paths.workflows(namespace, name))
    return Steps(_mean(took_ms[:EDGE]), _mean(took_ms[-EDGE:]), max(took_ms), len(found))


def unsealed() -> PageLimits:
    """Limits under which everything stays in the status, as far as that goes."""
    return replace(PageLimits(), tail_bytes=1024 * 1024)


def _step(state: State, number: int, now: datetime) -> Sequence[Event]:
    facts: list[TaskCompleted | TaskScheduled] = []
    if number:
        facts.append(
            TaskCompleted(task=f"step-{number - 1}", result='"media/film.mp4"', started_at=now, node="worker-3")
        )
    facts.append(TaskScheduled(task=f"step-{number}", digest="0123456789abcdef", line=12))
    return [Event(state.events + place, now, fact) for place, fact in enumerate(facts, 1)]


def _mean(values: Sequence[float]) -> float:
    # Of the middle nine tenths: a machine that is shared has pauses, which say nothing about the write.
    ordered = sorted(values)
    cut = len(ordered) // 20
    return statistics.fmean(ordered[cut : len(ordered) - cut])
