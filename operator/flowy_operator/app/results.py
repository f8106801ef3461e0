"""Results that have to be fetched: read beside the passes, kept, and then shown to the next pass of their workflow.

A pass never waits for a log, since a node that doesn't answer would hold up all other tasks of its workflow. Nothing here
is remembered that can't be fetched again: after a restart the log is read anew, and what was kept of it is found.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from weakref import WeakValueDictionary

from flowy.wire.checks import MalformedMessage, value_text
from flowy_operator.adapters.container_log import read_log
from flowy_operator.adapters.kube import paths
from flowy_operator.adapters.kube.client import KubeClient
from flowy_operator.adapters.kube.errors import ApiError, NotFound
from flowy_operator.app.tracked import Reading, Workflow
from flowy_operator.app.values import ValueInTheWay, Values, ValueTooLong
from flowy_operator.core.child import ChildEnd, child_end
from flowy_operator.core.collected import Collected, is_to_collect, reads_log, result_of_log
from flowy_operator.core.history import Failure
from flowy_operator.core.job import Owner
from flowy_operator.core.key import Key
from flowy_operator.core.observe import View
from flowy_operator.core.outcome import Deleted, Disrupted, Failed, Pending, Succeeded
from flowy_operator.core.records import PodRecord
from flowy_operator.core.spec import WorkflowSpec
from flowy_operator.core.state import State
from flowy_operator.core.values import INLINE_BYTES, reference

READS_AT_ONCE = 16
"""Of all workflows: each may hold 3 MiB for a moment (a log of 1 MiB, its text, its ConfigMap)."""

READS_OF_A_NODE = 4
"""A node that is away answers none for 30 s. It must not take the places of all others."""

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0

REFUSALS = 6
"""After so many answers that the log can't be had, a minute in all, it is given up: the runtime has removed the container."""

_BAD_REQUEST = 400  # what the API server makes of the kubelet's words that it has no such container or file

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Launch:
    """Whose result is fetched. `pod` is None where only what was kept before may be left."""

    owner: Owner
    run: int
    job: str
    pod: PodRecord | None
    reads_log: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Child:
    """A child Workflow that has ended; its name is a Job's in all but kind."""

    owner: Owner
    run: int
    job: str
    uid: str


class Results:
    """Fetches results while `run` runs. `changed` is told of each workflow for whose next pass there is news."""

    def __init__(self, client: KubeClient, values: Values, changed: Callable[[Key], None]) -> None:
        self._client = client
        self._values = values
        self._changed = changed
        self._group: asyncio.TaskGroup | None = None
        self._slots = asyncio.Semaphore(READS_AT_ONCE)
        self._nodes: WeakValueDictionary[str | None, asyncio.Semaphore] = WeakValueDictionary()

    async def run(self) -> None:
        """Be there for what is to be read. Ends by being cancelled."""
        async with asyncio.TaskGroup() as self._group:
            await asyncio.get_running_loop().create_future()

    def collect(self, workflow: Workflow, spec: WorkflowSpec, state: State, view: View) -> View:
        """The view with what has been fetched; begin to fetch what hasn't."""
        for task in state.open():
            job = None if task.launch is None else task.launch.job
            if job is None or job in workflow.readings:
                continue
            pod, activity = view.pods.get(job), spec.tasks[task.name].activity
            child = view.child(spec.tasks[task.name], job)
            if child is not None and child.ended:
                workflow.readings[job] = self._begin(
                    _Child(owner=workflow.owner, run=state.run, job=job, uid=child.uid)
                )
            elif activity is not None and is_to_collect(spec.tasks[task.name], view.jobs.get(job), pod):
                launch = _Launch(owner=workflow.owner, run=state.run, job=job, pod=pod, reads_log=reads_log(activity))
                workflow.readings[job] = self._begin(launch)
        if not workflow.readings:
            return view
        found = {job: r.outcome for job, r in workflow.readings.items() if r.outcome is not None}
        notes = {job: r.note for job, r in workflow.readings.items() if r.outcome is None and r.note is not None}
        return replace(view, results=found, uncollected=notes)

    def _begin(self, launch: _Launch | _Child) -> Reading:
        assert self._group is not None, "nothing is read before `run`"
        reading = Reading()
        reading.task = self._group.create_task(self._fetch(reading, launch))
        return reading

    async def _fetch(self, reading: Reading, launch: _Launch | _Child) -> None:
        """Until there is an outcome: the pod stays as long as it is neither deleted nor its node given up."""
        key = Key(launch.owner.namespace, launch.owner.name)
        pause_s, refusals = FIRST_PAUSE_S, 0
        while True:
            try:
                reading.outcome = await self._in_turn(launch, is_given_up=refusals >= REFUSALS)
            except (ApiError, ValueInTheWay) as error:
                refusals = refusals + 1 if isinstance(error, ApiError) and error.status == _BAD_REQUEST else 0
                note = f"can't be fetched yet: {error}"
            except Exception:  # noqa: BLE001 - as in the loop of the work queue
                # What a stranger has printed must not end the operator, whatever it does to us.
                fields = {"namespace": key.namespace, "workflow": key.name, "job": launch.job}
                _log.exception("a result can't be fetched", extra=fields)
                note = "can't be fetched: an error of the operator, see its log"
            else:
                self._changed(key)
                return
            if reading.note is None:  # the first says enough: another text at each try would be a write each
                _log.warning("a result can't be fetched yet", extra={"job": launch.job, "error": note})
                reading.note = note
                self._changed(key)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def _in_turn(self, launch: _Launch | _Child, *, is_given_up: bool) -> Collected | ChildEnd:
        if isinstance(launch, _Child):
            async with self._slots:
                return await self._end_of(launch)
        node = None if launch.pod is None else launch.pod.node
        share = self._nodes.setdefault(node, asyncio.Semaphore(READS_OF_A_NODE))
        async with share, self._slots:
            if launch.pod is None or is_given_up:
                return await self._kept(launch)
            if not launch.reads_log:
                return await self._uploaded(launch, launch.pod)
            try:
                log = await read_log(self._client, launch.pod.namespace, launch.pod.name)
            except NotFound:
                return await self._kept(launch)
            found = result_of_log(launch.pod, log)
            return await self._keep(launch, found) if isinstance(found, Succeeded) else found

    async def _end_of(self, child: _Child) -> ChildEnd:
        """How the child ended, by the object itself: the cache keeps no results of what has ended."""
        try:
            body = await self._client.get(paths.workflows(child.owner.namespace, child.job))
        except NotFound:
            return Deleted()
        if body["metadata"]["uid"] != child.uid:
            return Deleted()  # another has its name by now
        end = child_end(body.get("status") or {})
        if isinstance(end, Pending):  # somebody has taken its end away again
            return Failed(
                Failure(type="ResultLost", message=f"the Workflow {child.job!r} had ended and has no end"), None
            )
        if not isinstance(end, Succeeded):
            return end
        try:
            return await self._keep(child, end)
        except ValueTooLong as error:
            return Failed(
                Failure(type="ResultTooLong", message=f"the child's result has {error}"), end.at, retryable=False
            )

    async def _keep(self, launch: _Launch | _Child, found: Succeeded) -> Succeeded:
        """The result as an event can hold it: a long one is stored first."""
        if len(found.result.encode()) <= INLINE_BYTES:
            return found
        ref = await self._values.store(launch.owner, launch.job, found.result, run=launch.run)
        return Succeeded("null", found.at, ref)

    async def _uploaded(self, launch: _Launch, pod: PodRecord) -> Collected:
        """What the container has sent to the gateway; it may have had nothing to send."""
        text = await self._values.find(launch.owner, launch.job)
        if text is None:
            return Succeeded("null", pod.finished_at)
        if not _is_value(text):  # the gateway stores none: somebody has made this ConfigMap
            message = f"the ConfigMap {launch.job!r} holds no JSON value, and not by the gateway's doing"
            return Failed(Failure(type="ResultInvalid", message=message, exit_code=0), pod.finished_at)
        if len(text.encode()) <= INLINE_BYTES:
            return Succeeded(text, pod.finished_at)
        return Succeeded("null", pod.finished_at, reference(launch.job, text))

    async def _kept(self, launch: _Launch) -> Collected:
        """What an operator before us has stored, if it died before it could say so."""
        at = None if launch.pod is None else launch.pod.finished_at
        text = await self._values.find(launch.owner, launch.job)
        if text is None or not _is_value(text):
            return Disrupted("ResultLost", at)
        return Succeeded("null", at, reference(launch.job, text))


def _is_value(text: str) -> bool:
    try:
        value_text(text, "the value")
    except MalformedMessage:
        return False
    return True
