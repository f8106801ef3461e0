"""What the operator remembers of one Workflow between two passes.

All of it can be rebuilt from the API server, and is after a restart. The newest known version of the object wins,
whether it came by the watch or as the answer to our own write: an older cache is never acted upon.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from flowy.wire.messages import Answer
from flowy_operator.core.conditions import Blocker, Stall, has_ended
from flowy_operator.core.history import HistoryInvalid, parse_history, parse_time
from flowy_operator.core.job import Owner
from flowy_operator.core.key import Key
from flowy_operator.core.spec import WorkflowSpec
from flowy_operator.core.state import State, apply

Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CreatedJob:
    """A Job that this process made, known before the cache has it."""

    uid: str
    at: datetime


@dataclass(slots=True)
class Workflow:
    """One Workflow, as last read or written. `history` stays in the folded `state` only."""

    owner: Owner
    resource_version: int = 0
    generation: int = 0
    deleting: bool = False
    raw_spec: Body = field(default_factory=dict)
    status: Body | None = None
    spec: WorkflowSpec | None = None
    state: State | None = None
    invalid: Stall | None = None  # why the object can't be acted upon

    # The last decision, and how far the history was when it was made.
    answer: Answer | None = None
    answered_at: tuple[int, int] = (0, -1)  # (run, final outcomes)
    stall: Stall | None = None
    stalled_times: int = 0
    retry_decision_at: datetime | None = None

    # Launches. Arguments aren't part of the history; the decider repeats them when asked.
    arguments: dict[str, str] = field(default_factory=dict)
    created: dict[str, CreatedJob] = field(default_factory=dict)  # by this process, by name
    gone: dict[str, None] = field(default_factory=dict)  # Jobs that were seen and are no more, in order
    refused: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> Key:
        return Key(self.owner.namespace, self.owner.name)

    @property
    def ended(self) -> bool:
        return self.status is not None and has_ended(self.status)

    @property
    def reference(self) -> dict[str, Any]:
        """For the Kubernetes Events about it."""
        return {
            "apiVersion": "flowy.dev/v1alpha1",
            "kind": "Workflow",
            "namespace": self.owner.namespace,
            "name": self.owner.name,
            "uid": self.owner.uid,
            "resourceVersion": str(self.resource_version),
        }

    def accept(self, body: Body, now: datetime) -> None:
        """Take a version of the object, if it is newer than the one at hand."""
        metadata = body["metadata"]
        version = int(metadata["resourceVersion"])
        if version <= self.resource_version:
            return
        self.resource_version = version
        self.deleting = "deletionTimestamp" in metadata
        if self.generation != metadata["generation"]:
            self.generation = metadata["generation"]
            self.raw_spec, self.spec = body.get("spec") or {}, None
        status = body.get("status") or None
        history = (status or {}).get("history", [])
        self.status = None if status is None else {k: v for k, v in status.items() if k != "history"}
        try:
            self._take(self._fold(history, now))
            self.invalid = None
        except (HistoryInvalid, ValueError, TypeError) as error:
            self.invalid = Stall(Blocker.HISTORY_INVALID, f"{error}; put status.history back as it was to go on")

    def wrote(self, body: Body, state: State | None) -> None:
        """Take the answer to our own write, whose state is known without reading it again."""
        self.resource_version = int(body["metadata"]["resourceVersion"])
        self.status = {k: v for k, v in (body.get("status") or {}).items() if k != "history"}
        if state is not None:
            self._take(state)

    def forget_finished(self) -> None:
        """Drop what is of no use for tasks that have ended."""
        state = self.state
        if state is None:
            return
        open_keys = {task.key for task in state.unfinished()}
        open_jobs = {task.launch.job for task in state.open() if task.launch is not None}
        self.arguments = {k: v for k, v in self.arguments.items() if k in open_keys or k not in state.tasks}
        for known in (self.created, self.gone, self.refused, self.notes):
            for job in [job for job in known if job not in open_jobs]:
                del known[job]

    def _take(self, state: State) -> None:
        if self.state is not None and state.run != self.state.run:
            # Keys begin at 0 again: what the old run's calls were given is wrong for the new one's.
            self.arguments, self.answer = {}, None
        self.state = state

    def _fold(self, history: Any, now: datetime) -> State:
        status = self.status or {}
        if not isinstance(history, list):
            raise HistoryInvalid("status.history is no list")
        started_at = parse_time(status["startTime"]) if "startTime" in status else now
        events = parse_history(history)
        state = apply(State(workflow=self.owner.name, uid=self.owner.uid, started_at=started_at), events)
        if state.chain.digest != status.get("historyDigest", ""):
            raise HistoryInvalid("status.history was changed by somebody: it doesn't fit status.historyDigest")
        if self.state is not None and state.events < self.state.events:
            raise HistoryInvalid(f"status.history has {state.events} events and had {self.state.events} before")
        return state


class Workflows:
    """All Workflows that are there, by key."""

    def __init__(self) -> None:
        self._known: dict[Key, Workflow] = {}

    def get(self, key: Key) -> Workflow | None:
        return self._known.get(key)

    def accept(self, key: Key, body: Body | None, now: datetime) -> None:
        """Take what the watch says of a key: a version of the object, or that it is gone."""
        if body is None:
            self._known.pop(key, None)
            return
        uid = body["metadata"]["uid"]
        workflow = self._known.get(key)
        if workflow is None or workflow.owner.uid != uid:
            # Another object of the same name: nothing of the old one holds for it.
            owner = Owner(namespace=key.namespace, name=key.name, uid=uid)
            workflow = self._known[key] = Workflow(owner)
        workflow.accept(body, now)

    def __iter__(self) -> Iterator[Workflow]:
        return iter(list(self._known.values()))
