"""What the operator remembers of one Workflow between two passes.

All of it can be rebuilt from the API server, and is after a restart. The newest known version of the object wins,
whether it came by the watch or as the answer to our own write: an older cache is never acted upon.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from flowy.wire.messages import Answer, AnsweredCall
from flowy_operator.adapters.crd.spec import InvalidSpec, spec_or_reference
from flowy_operator.adapters.lineage import parse_definition_digest, parse_depth, parse_lineage
from flowy_operator.app.version import Body, Version, remembered, with_invalid_history, with_invalid_spec
from flowy_operator.core.attempts import Beat
from flowy_operator.core.child import ChildEnd, ChildRecord, standing_of
from flowy_operator.core.collected import Collected
from flowy_operator.core.conditions import Stall
from flowy_operator.core.contested import Said
from flowy_operator.core.definition import Definition, Reference
from flowy_operator.core.folded import Folded, Unread, check_tasks, completed, fold
from flowy_operator.core.history import Chain, HistoryInvalid, parse_time
from flowy_operator.core.job import API_VERSION, KIND, Owner
from flowy_operator.core.key import Key
from flowy_operator.core.pages import Tail
from flowy_operator.core.records import PodRecord
from flowy_operator.core.request import Records
from flowy_operator.core.setback import is_ahead, set_back
from flowy_operator.core.spec import WorkflowSpec
from flowy_operator.core.state import State, Task
from flowy_operator.core.values import INLINE_BYTES

_LONG_FIELDS = frozenset({"result", "error", "ignoredErrors"})
"""Of a status that has ended; nobody here reads them any more."""

Basis = tuple[str, int, Chain]
"""What a decision is made upon: the digest of the code, the run, the outcomes."""


@dataclass(frozen=True, slots=True)
class CreatedJob:
    """A Job or child that this process made, known before the cache has it. `path` is where the API server has it."""

    uid: str
    at: datetime
    path: str


@dataclass(slots=True)
class Reading:
    """A result that is being fetched, by `task`: what came of it, or why that takes so long."""

    outcome: Collected | ChildEnd | None = None
    note: str | None = None
    task: asyncio.Task[None] | None = None


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a reference came to, and what that was made of: nothing of it has to be made again while they are the same."""

    reference: Reference
    definition: Definition | None
    recorded: str | None
    spec: WorkflowSpec | Stall


@dataclass(slots=True)
class Workflow:
    """One Workflow: its newest version, and what has been found out about it."""

    owner: Owner
    version: Version = Version()
    folded: Folded | None = None  # the longest history seen: it never gets shorter, and what follows is folded upon it
    shown: ChildRecord | None = None  # what its parent was told of last
    looked_at: int = 0  # the newest version that a pass was about, or has written

    definition: Key | None = None  # what it refers to, which never changes
    resolved: Resolved | None = None
    is_held: bool = True  # until a pass could act upon it: nobody's heartbeats were judged before
    heard_since: datetime | None = None
    begun_at: datetime | None = None  # the first pass that could act, until the status has it
    set_back_at: datetime | None = None  # the first pass for which the start was in the future
    seen_ended_at: datetime | None = None  # the first pass for which the end was

    # The last decision, and what it was made upon: code, run and outcomes. Their number wouldn't do: a pass whose patch was
    # refused has decided over an order of outcomes that never came to be.
    answer: Answer | None = None
    answered_upon: Basis | None = None
    stall: Stall | None = None
    stalled_times: int = 0
    retry_decision_at: datetime | None = None
    records: Records = field(default_factory=Records)  # of what was asked last

    said: Said | None = None  # by our last write
    contested_until: datetime | None = None  # what the last pass wanted to say again waits until then

    dropped_before: int = 1  # runs before this one have left nothing in the cluster

    unheard_at: float | None = None  # when a create of it last ended without an answer, by the loop's clock
    released_at: float | None = None  # when its parent, another shard's, was first seen to have its end on record
    # By name, when children that are another shard's were first seen to have ended.
    ended_elsewhere: dict[str, float] = field(default_factory=dict)

    # Launches. Arguments aren't part of the history; the decider repeats them when asked.
    calls: dict[str, AnsweredCall] = field(default_factory=dict)
    follows_end_at: datetime | None = None  # of the last container whose outcome what is launched next follows from
    created: dict[str, CreatedJob] = field(default_factory=dict)  # by this process, by name
    gone: dict[str, None] = field(default_factory=dict)  # Jobs that were seen and are no more, in order
    # Of pods that ended and are no more, by the Job's name.
    last_words: dict[str, PodRecord] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    readings: dict[str, Reading] = field(default_factory=dict)  # of results, by the Job's name
    beats: dict[str, Beat] = field(default_factory=dict)  # the last heartbeat of each, in memory alone

    @property
    def key(self) -> Key:
        return Key(self.owner.namespace, self.owner.name)

    @property
    def log_fields(self) -> dict[str, str]:
        return {"namespace": self.owner.namespace, "workflow": self.owner.name}

    @property
    def reference(self) -> dict[str, Any]:
        """For the Kubernetes Events about it."""
        return {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "namespace": self.owner.namespace,
            "name": self.owner.name,
            "uid": self.owner.uid,
            "resourceVersion": str(self.version.resource_version),
        }

    def accept(self, body: Body, now: datetime) -> None:
        """Take a version of the object, if it is newer than the one at hand."""
        metadata = body["metadata"]
        if int(metadata["resourceVersion"]) <= self.version.resource_version:
            return
        status = body.get("status") or None
        version = Version(
            resource_version=int(metadata["resourceVersion"]),
            generation=metadata["generation"],
            deleting="deletionTimestamp" in metadata,
            lineage=parse_lineage(metadata),
            depth=parse_depth(metadata),
            definition_of_parent=parse_definition_digest(metadata),
            set_back_at=self.set_back_at,
            status=None if status is None else remembered(status),
        )
        try:
            spec = self._spec(body, version.generation)
            version = replace(version, spec=spec)  # it holds for an end, whatever was done to the history
            if isinstance(spec, Reference):
                self.definition = Key(self.owner.namespace, spec.name)
            version = self._with_history(
                version, fold(status or {}, self.folded, workflow=self.owner.name, uid=self.owner.uid, now=now)
            )
        except InvalidSpec as error:
            version = with_invalid_spec(version, body, error)
        except (HistoryInvalid, ValueError, TypeError) as error:
            version = with_invalid_history(version, error)
        self.resolved = None  # to be looked at anew, with this history
        self._install(version)

    def read(self, version: Version, before: State) -> Version:
        """Take what the pages before a version's tail come to."""
        assert version.unread is not None
        try:
            whole = self._with_history(version, completed(version.unread, before))
        except HistoryInvalid as error:
            whole = with_invalid_history(version, error)
        if self.version is version:
            self.resolved = None
            self._install(whole)
        return whole

    def wrote(self, version: Version, body: Body, state: State | None, tail: Tail) -> Version:
        """Take the answer to our own write upon `version`, whose state is known without reading it again."""
        written = replace(
            version,
            resource_version=int(body["metadata"]["resourceVersion"]),
            status=remembered(body.get("status") or {}),
            state=state,
            tail=tail,
        )
        self.looked_at = max(self.looked_at, written.resource_version)
        if written.resource_version > self.version.resource_version:
            self._install(written)
        return written

    def begun(self, version: Version, state: State, now: datetime) -> State:
        """The state to act upon: before anything is on record, the run begins now. It may have waited for its definition."""
        if state.events or "startTime" in (version.status or {}):
            return state
        # Once chosen it stays: code that looks at the clock must always see the same.
        self.begun_at = self.begun_at or now
        return replace(state, started_at=self.begun_at)

    def in_time(self, version: Version, now: datetime) -> Version:
        """The version whose instants are none of the future: `core/setback.py`. Nor are those of Jobs that were made."""
        for job, made in self.created.items():
            if is_ahead(made.at, now):
                self.created[job] = replace(made, at=now)
        if version.state is None:
            return version
        state = set_back(version.state, now)
        is_early = is_ahead(version.started_at(state), now)
        if state is version.state and not is_early:
            return version
        if is_early and self.set_back_at is None:
            self.set_back_at = now
        changed = replace(version, state=state, set_back_at=self.set_back_at)
        if self.version is version:
            self._install(changed)
        return changed

    def completed_at(self, version: Version, now: datetime) -> datetime | None:
        """When it ended, if it has; if that can't be yet, when it was seen first."""
        text = (version.status or {}).get("completionTime")
        if text is None:
            return None
        completed_at = parse_time(text)
        if self.seen_ended_at is None and is_ahead(completed_at, now):
            self.seen_ended_at = now
        return completed_at if self.seen_ended_at is None else min(completed_at, self.seen_ended_at)

    def listen(self, now: datetime) -> None:
        """Count silence from now on, if heartbeats couldn't be judged so far: the history was unread, or not to be acted upon.

        So it is for those that came while the clock was ahead, by what it says now.
        """
        if self.is_held or (self.heard_since is not None and is_ahead(self.heard_since, now)):
            self.is_held, self.heard_since = False, now
        for job, beat in self.beats.items():
            if is_ahead(beat.at, now):
                first_at = None if beat.first_at is None else min(beat.first_at, now)
                self.beats[job] = replace(beat, at=now, first_at=first_at)

    def refuse(self, version: Version, stall: Stall) -> Version:
        """Don't act upon this version any more."""
        return self._instead(version, replace(version, invalid=stall))

    def refuse_history(self, version: Version, error: Exception) -> Version:
        """The same where a page of its history is the reason."""
        return self._instead(version, with_invalid_history(version, error))

    def sealed(self, version: Version, tail: Tail) -> Version:
        """Take that the events before this tail are in pages: the next write cuts them away."""
        return version if tail is version.tail else self._instead(version, replace(version, tail=tail))

    def _instead(self, version: Version, changed: Version) -> Version:
        if self.version is version:
            self.version = changed
        return changed

    def arguments_of(self, task: Task) -> str | None:
        """The arguments of a recorded task, if they are known: those of its digest, and no other decision's."""
        call = self.calls.get(task.key)
        return call.arguments if call is not None and call.digest == task.digest else None

    def forget_long_arguments(self, state: State, jobs: Iterable[str]) -> None:
        """Drop what these Jobs were launched with, where it is long. The decider repeats it, should there be another."""
        for job in jobs:
            key = state.launches[job].task
            call = self.calls.get(key)
            if call is not None and len(call.arguments) > INLINE_BYTES:
                del self.calls[key]

    def forget_finished(self, state: State) -> None:
        """Drop what is of no use for tasks that have ended."""
        open_keys = {task.key for task in state.unfinished()}
        open_jobs = {task.launch.job for task in state.open() if task.launch is not None}
        self.calls = {key: call for key, call in self.calls.items() if key in open_keys or key not in state.tasks}
        for known in (self.created, self.gone, self.last_words, self.refused, self.notes, self.beats):
            for job in [job for job in known if job not in open_jobs]:
                del known[job]
        for job in [job for job in self.readings if job not in open_jobs]:
            reading = self.readings.pop(job)
            if reading.task is not None:
                reading.task.cancel()

    def close(self) -> None:
        """Drop what only an open workflow needs. Ended ones may stay for weeks, in their thousands."""
        self.answer = self.answered_upon = self.stall = self.retry_decision_at = self.resolved = None
        self.records = Records()
        for known in (self.calls, self.created, self.gone, self.last_words, self.refused, self.notes, self.beats):
            known.clear()
        version = self.version
        self.version = replace(
            version,
            status={name: value for name, value in (version.status or {}).items() if name not in _LONG_FIELDS},
            # Left are the times that Jobs and the object are kept for, and which launch a Job is of.
            spec=version.spec and version.spec.closed(),
            state=version.state and replace(version.state, tasks={}, pending={}, input=None),
            tail=Tail(),
        )
        self.folded = None

    def seen_by_parent(self) -> ChildRecord | None:
        """What its parent is told of, None if it has none."""
        version = self.version
        if version.lineage is None:
            return None
        return ChildRecord(
            namespace=self.owner.namespace,
            name=self.owner.name,
            uid=self.owner.uid,
            lineage=version.lineage,
            standing=standing_of(version.status or {}),
            ended=version.ended,
            deleting=version.deleting,
            suspended=version.spec is not None and version.spec.suspend,
            stop=None if version.spec is None else version.spec.stop,
        )

    def _install(self, version: Version) -> None:
        self.version = version
        if version.state is not None:
            self.folded = Folded(version.state, version.tail)

    def _spec(self, body: Body, generation: int) -> WorkflowSpec | Reference:
        """The spec changes seldom and its source may be long: read once a generation, unless `close` has emptied it."""
        if self.version.spec is not None and self.version.generation == generation and not self.version.ended:
            return self.version.spec
        return spec_or_reference(body)

    def _with_history(self, version: Version, history: Folded | Unread) -> Version:
        """The version with its history. Raises HistoryInvalid."""
        if isinstance(history, Unread):
            return replace(version, unread=history)
        if isinstance(version.spec, WorkflowSpec) and not version.ended:
            check_tasks(version.spec, history.state)
        if self.folded is not None and history.state.events < self.folded.state.events:
            raise HistoryInvalid(
                f"status.history has {history.state.events} events and had {self.folded.state.events} before"
            )
        return replace(version, state=history.state, tail=history.tail, unread=None, invalid=None)
