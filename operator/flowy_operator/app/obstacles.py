"""Why a pod isn't there or doesn't start, where nothing but a Kubernetes Event tells.

A Job whose pod is refused (quota, pod security, a missing service account, a webhook) has no pod, and its status says
nothing. A pod that waits for a volume is `ContainerCreating` and no more. The Job controller and the kubelet tell in Events.

Watching Events would cost more than all else together, and asking for those of one object makes the API server read all of
its namespace's. So they are asked for by namespace, for all workflows at once, seldom, and only while something is stuck.
"""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from flowy_operator.adapters.kube import paths
from flowy_operator.adapters.kube.client import KubeClient
from flowy_operator.adapters.kube.errors import ApiError
from flowy_operator.adapters.kube_events import Told, parse_told
from flowy_operator.core.observe import View
from flowy_operator.core.state import State

PATIENCE = timedelta(seconds=5)
"""A pod that takes longer than this after its Job is worth a question; most take one or two seconds."""

ASK_EVERY = timedelta(seconds=30)
"""At most one question a namespace in this time: with 10,000 Events it costs the API server some 100 ms."""

FRESH = timedelta(minutes=10)
"""An older Event tells of a trouble that is over: those who try again say so every five minutes at least."""

MOST_EVENTS = 2000
"""Of one answer. They are about 1 KiB each, up to ten of a Job: with more than 200 Jobs stuck, some stay unexplained."""

_REFUSED_PODS = "involvedObject.kind=Job,reason=FailedCreate"
_UNMOUNTED = "involvedObject.kind=Pod,reason=FailedMount"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Stuck:
    """A launch that waits: its Job, and the Events that would tell why."""

    job: str
    uid: str  # of the object that Events are about
    selector: str
    since: datetime


@dataclass(frozen=True, slots=True)
class _Answer:
    asked_at: datetime
    words: Mapping[str, str]  # by uid


class Obstacles:
    """What the Events say. Remembers the last answers; nothing of it is needed after a restart."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._answers: dict[tuple[str, str], _Answer] = {}

    async def explain(self, namespace: str, state: State, view: View, now: datetime) -> View:
        """The view with what is known of launches that have waited for longer than usual."""
        found = {}
        for stuck in _all_stuck(state, view):
            if now - stuck.since < PATIENCE:
                continue
            words = (await self._answer(namespace, stuck.selector, now)).get(stuck.uid)
            if words is not None:
                found[stuck.job] = words
        return replace(view, obstacles=found) if found else view

    async def _answer(self, namespace: str, selector: str, now: datetime) -> Mapping[str, str]:
        known = self._answers.get((namespace, selector))
        # One of the future was asked for before the clock was set back.
        if known is not None and timedelta() <= now - known.asked_at < ASK_EVERY:
            return known.words
        # Put there before it is true: others who come meanwhile shall not ask as well.
        self._answers[namespace, selector] = _Answer(now, {} if known is None else known.words)
        try:
            items = await self._client.list_some(paths.events(namespace), field_selector=selector, limit=MOST_EVENTS)
        except ApiError as error:
            # It is only for people: no pass fails for it.
            _log.debug("events can't be listed", extra={"namespace": namespace, "error": str(error)})
            return {}
        told = [t for t in map(parse_told, items) if t is not None and now - t.at < FRESH]
        self._answers[namespace, selector] = _Answer(now, _newest(told))
        self._answers = {key: answer for key, answer in self._answers.items() if now - answer.asked_at < FRESH}
        return self._answers[namespace, selector].words


def ask_at(state: State, view: View, now: datetime) -> datetime | None:
    """When it may be worth asking, once more or for the first time."""
    since = [stuck.since for stuck in _all_stuck(state, view)]
    if not since:
        return None
    fresh = [at + PATIENCE for at in since if at + PATIENCE > now]
    again = [now + ASK_EVERY] if len(fresh) < len(since) else []
    return min(fresh + again)


def _all_stuck(state: State, view: View) -> Iterator[_Stuck]:
    for task in state.open():
        if task.launch is None:
            continue
        pod = view.pods.get(task.launch.job)
        if pod is not None and (pod.phase != "Pending" or pod.node is None or pod.waiting is not None or pod.deleting):
            continue  # looked at first: of a thousand tasks most run
        job = view.jobs.get(task.launch.job)
        if job is None or job.complete or job.failed_reason is not None or job.deleting:
            continue
        if pod is None:
            yield _Stuck(job.name, job.uid, _REFUSED_PODS, job.created_at)
        else:
            yield _Stuck(job.name, pod.uid, _UNMOUNTED, job.created_at)


def _newest(told: list[Told]) -> dict[str, str]:
    return {one.uid: one.words for one in sorted(told, key=lambda one: one.at)}
