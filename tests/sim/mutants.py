"""Deliberate bugs, each of which the simulator must find: what it is good for.

A mutant changes the operator in this process for as long as its context lasts. The sentence says what is wrong with it.

Not here is a queue that forgets what comes during a pass: the echo of the pass's own write, or the Job's word after its pod's,
brings the key back in a second, and `tests/adapters/test_workqueue.py` holds the queue to it.
"""

import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType
from typing import Any
from unittest.mock import patch

from flowy_operator.adapters.kube import paths
from flowy_operator.adapters.kube.client import KubeClient
from flowy_operator.adapters.kube.errors import ApiError
from flowy_operator.adapters.kube.errors import Conflict as WriteConflict
from flowy_operator.adapters.lease.lease import Lease
from flowy_operator.adapters.lease.number import Number
from flowy_operator.adapters.lease.record import Seen
from flowy_operator.app import decisions, reconciler
from flowy_operator.app.assembly import Operator
from flowy_operator.app.launcher import Launcher
from flowy_operator.app.obstacles import Obstacles
from flowy_operator.app.pages import Pages
from flowy_operator.app.parents import Parents
from flowy_operator.app.reconciler import Reconciler
from flowy_operator.app.values import Values
from flowy_operator.app.workflows import Workflows
from flowy_operator.core import admission, decision, observe
from flowy_operator.core import state as states
from flowy_operator.core.errors import RetryLater
from flowy_operator.core.history import Event, Failure, TaskDisrupted, TaskFailed, in_milliseconds
from flowy_operator.core.observe import View
from flowy_operator.core.share import Share
from flowy_operator.core.spec import WorkflowSpec
from flowy_operator.core.values import reference
from tests.sim.scenario import Scenario, narrow, only_expiring, only_sharded

Mutant = Callable[[], Any]


def _instead(owner: Any, name: str, make: Callable[[Any], Any]) -> Mutant:
    """A mutant with another function in the place of one; `make` is given the original."""

    @contextmanager
    def mutated() -> Iterator[None]:
        with patch.object(owner, name, make(getattr(owner, name))):
            yield

    return mutated


def _launch_first(original: Any) -> Any:
    async def record(self: Any, workflow: Any, version: Any, change: Any, state: Any, tail: Any) -> Any:
        if state is not None and isinstance(version.spec, WorkflowSpec):
            view, now = self._view(workflow), in_milliseconds(self._clock())
            await self._launches.create_missing(workflow, version, version.spec, state, view, now)
        return await original(self, workflow, version, change, state, tail)

    return record


def _untested(original: Any) -> Any:
    return lambda *args, **options: original(*args, **options)[1:]


def _delete_first(original: Any) -> Any:
    async def explain(self: Any, namespace: str, state: Any, view: View, now: Any) -> View:
        for name, pod in view.pods.items():
            if pod.phase in {"Succeeded", "Failed"}:
                await self._client.delete(paths.jobs(namespace, name))
        found: View = await original(self, namespace, state, view, now)
        return found

    return explain


def _taken_for_done(original: Any) -> Any:
    async def record(self: Any, workflow: Any, version: Any, change: Any, state: Any, tail: Any) -> Any:
        try:
            return await original(self, workflow, version, change, state, tail)
        except (ApiError, RetryLater):
            return replace(version, state=state, tail=tail)

    return record


def _forced(original: Any) -> Any:
    async def json_patch(self: Any, path: str, operations: Any) -> Any:
        try:
            return await original(self, path, operations)
        except WriteConflict:
            return await original(self, path, operations[1:])

    return json_patch


def _job_name(**fixed: Any) -> Callable[[Any], Any]:
    return lambda original: lambda **named: original(**named | fixed)


def _by_call(original: Any) -> Any:
    def request(spec: Any, state: Any, *args: Any, **options: Any) -> Any:
        ended = [key for key, task in state.tasks.items() if task.final is not None]
        tasks = {
            key: replace(task, rank=ended.index(key)) if task.final is not None else task
            for key, task in state.tasks.items()
        }
        return original(spec, replace(state, tasks=tasks), *args, **options)

    return request


def _without_max(original: Any) -> Any:
    def place(state: Any, facts: Any, now: Any) -> list[Event]:
        return [Event(state.events + n, in_milliseconds(now), fact) for n, fact in enumerate(facts, 1)]

    return place


def _unasked(original: Any) -> Any:
    async def fill_gaps(client: Any, workflow: Any, spec: Any, state: Any, view: View, *_: Any) -> View:
        return view

    return fill_gaps


def _unseen(original: Any) -> Any:
    def job_changed(self: Any, old: Any, new: Any) -> None:
        original(self, old, new or old)

    return job_changed


async def _unmade(self: Any, owner: Any, page: Any, tail: Any) -> Any:
    return page


def _unstored(original: Any) -> Any:
    async def store(self: Any, owner: Any, name: str, text: str, *, run: int) -> Any:
        ref = reference(name, text)
        self._cache.put((owner.namespace, ref), text)
        return ref

    return store


def _in_the_way(original: Any) -> Any:
    async def found(self: Any, kind: str, namespace: str, name: str) -> Any:
        body = await original(self, kind, namespace, name)
        return {**body, "metadata": {**body["metadata"], "ownerReferences": []}}

    return found


def _paid(original: Any) -> Any:
    def after(spec: Any, task: Any, launch: int, lost: Any, now: Any) -> Any:
        found = original(spec, task, launch, lost, now)
        if not isinstance(found, TaskDisrupted):
            return found
        failure = Failure(type="Disrupted", message=lost.reason)
        return TaskFailed(task=task.key, attempt=task.attempt, error=failure, final=True)

    return after


def _impatient(original: Any) -> Any:
    def heard_at(self: View, job: str) -> Any:
        beat = self.beats.get(job)
        return None if beat is None else beat.at

    return heard_at


@contextmanager
def _never_doubted() -> Iterator[None]:
    with (
        patch.object(Lease, "holds", lambda self: self._renewed_at is not None),
        patch.object(Lease, "_left_s", lambda self: 1.0),
    ):
        yield


async def _unneeded(self: Any, child: Any, now: Any) -> None:
    return None


async def _unasked_number(self: Any) -> None:
    self.agreed_at = self._clock()


def _unseen_child(self: Any, key: Any, body: Any, share: Any) -> None:
    return None


MUTANTS: Mapping[str, Mutant] = MappingProxyType(
    {
        "Jobs are launched before they are on record": _instead(Reconciler, "_record", _launch_first),
        "the patch has no test": _instead(reconciler, "status_patch", _untested),
        "a conflict is overruled": _instead(KubeClient, "json_patch", _forced),
        "a write that failed is taken for done": _instead(Reconciler, "_record", _taken_for_done),
        "Jobs are deleted before their outcome is on record": _instead(Obstacles, "explain", _delete_first),
        "the attempt isn't part of a Job's name": _instead(states, "job_name", _job_name(attempt=1)),
        "the run isn't part of a Job's name": _instead(states, "job_name", _job_name(run=1)),
        "a Job's name is drawn": _instead(
            states, "job_name", lambda original: lambda **named: f"{original(**named)[:40]}-{uuid.uuid4().hex[:8]}"
        ),
        "the current launch isn't the one that counts": _instead(
            states, "job_name", lambda original: lambda **named: original(**named | {"launch": 0})
        ),
        "the finish order is that of the calls": _instead(decisions, "decision_request", _by_call),
        "the history's time follows a clock that goes back": _instead(reconciler, "place", _without_max),
        "what the caches lack isn't asked for": _instead(reconciler, "fill_gaps", _unasked),
        "a Job that is gone isn't noticed": _instead(Operator, "_job_changed", _unseen),
        "a history is cut before its page is there": _instead(Pages, "_make", lambda original: _unmade),
        "a long value is referred to and not stored": _instead(Values, "store", _unstored),
        "what exists already is taken for somebody else's": _instead(Launcher, "_found", _in_the_way),
        "a disruption counts as a failure": _instead(observe, "_after_disruption", _paid),
        "parallelism is ignored": _instead(
            decision,
            "admit",
            lambda original: lambda spec, *args: original(replace(spec, parallelism=10**6), *args),
        ),
        "retries don't wait": _instead(
            admission,
            "due_retries",
            lambda original: lambda state, now: (t for t in state.unfinished() if t.phase is states.Phase.WAITING),
        ),
        "silence is counted from before the operator could hear": _instead(View, "heard_at", _impatient),
        "an answer counts as long as the number of outcomes is the same": _instead(
            decisions, "_basis", lambda original: lambda spec, state: (spec.source_digest, state.run, state.finished)
        ),
        "a leader never doubts its lease": _never_doubted,
        "an ended child doesn't wait for its parent": _instead(Parents, "needs", lambda original: _unneeded),
        "who holds a shard doesn't ask how many there are": _instead(Number, "ask", lambda original: _unasked_number),
        "another number of shards counts at once": _instead(Seen, "shards", lambda original: property(lambda self: 1)),
        "each shard looks after all Workflows": _instead(Share, "has", lambda original: lambda self, uid: True),
        "a child of another shard isn't shown to its parent": _instead(
            Workflows, "see", lambda original: _unseen_child
        ),
    }
)

SEEDS_OF: Mapping[str, Callable[[int], Scenario]] = MappingProxyType(
    {
        "an answer counts as long as the number of outcomes is the same": narrow,
        "an ended child doesn't wait for its parent": only_expiring,
        "who holds a shard doesn't ask how many there are": only_sharded,
        "another number of shards counts at once": only_sharded,
        "each shard looks after all Workflows": only_sharded,
        "a child of another shard isn't shown to its parent": only_sharded,
    }
)
"""Which scenarios find a bug, where those of `make sim` would need thousands."""
