"""One Workflow as it was read at one moment: the object, its history in one piece, its children.

Whoever looks at a run looks at this: descriptions, pictures, replay. Where it came from (`cluster.py`, `documents.py`) and
where its events lie, in pages or in the status, they never notice.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from flowy_operator.core.conditions import Reason, by_type
from flowy_operator.core.history import Event, HistoryInvalid, Restarted, in_milliseconds, is_newer, parse_time
from flowy_operator.core.pages import base_of, join
from flowy_operator.core.state import State, apply

Raw = Mapping[str, Any]
_NEVER = datetime.fromtimestamp(0, UTC)


class HistoryIncomplete(HistoryInvalid):
    """Events of the current run are in no page that was read; `str()` says which."""


def history_advice(error: HistoryInvalid) -> str:
    """What is to be said to somebody whose history can't be read."""
    if is_newer(error):
        return "if a newer version of Flowy has written it, update this one"
    return "somebody has edited it"


@dataclass(frozen=True, kw_only=True)  # without slots, where the folded state could not be kept
class Run:
    """A Workflow and what belongs to it.

    `body` is the object without its history. `events` are those that are there, oldest first and without a gap: of the
    current run all, of the one before it as far as its pages are kept. `children` are the Workflows that its tasks run, by
    name, which is the `job` of the launch (`State.launches`). `definition` is the WorkflowDefinition that it runs, None
    if it has code of its own or the object isn't there. `values` are the texts of long results by the names of their
    ConfigMaps, as far as they were asked for.
    """

    body: Raw
    events: Sequence[Event] = ()
    children: Mapping[str, "Run"] = field(default_factory=dict)
    definition: Raw | None = None
    values: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return str(self.body["metadata"]["name"])

    @property
    def namespace(self) -> str:
        return str(self.body["metadata"].get("namespace", "default"))

    @property
    def uid(self) -> str:
        return str(self.body["metadata"].get("uid", ""))

    @property
    def spec(self) -> Raw:
        return self.body.get("spec") or {}

    @property
    def status(self) -> Raw:
        return self.body.get("status") or {}

    @property
    def succeeded(self) -> Raw:
        """The condition `Succeeded`, empty before the operator has taken it up."""
        return by_type(self.status).get("Succeeded", {})

    @property
    def reason(self) -> str:
        """The STATUS column: a `Reason`, or Pending before the operator has taken it up."""
        return str(self.succeeded.get("reason") or "Pending")

    @property
    def has_succeeded(self) -> bool:
        return self.reason == Reason.COMPLETED

    @property
    def started_at(self) -> datetime:
        """When the operator took it up, else when it was made; without either, when its first event was.

        The begin of 1970 for what has never been in a cluster: a decision needs a time.
        """
        for text in (self.status.get("startTime"), self.body["metadata"].get("creationTimestamp")):
            if text is not None:
                return instant(str(text))
        return self.events[0].time if self.events else _NEVER

    @property
    def has_begun(self) -> bool:
        """False for a manifest that nobody has applied."""
        return self.started_at != _NEVER

    def until(self, now: datetime) -> datetime:
        """Its end, or `now` while it is open. Kubernetes' completion time has whole seconds, its events finer ones."""
        if not self.has_begun:
            return self.state.started_at
        completed = self.status.get("completionTime")
        at = now if completed is None else instant(str(completed))
        return max(at, self.state.last_time or at, self.state.started_at)

    @property
    def source(self) -> str:
        """The text of its code, empty if that isn't at hand."""
        content = self.definition.get("spec") or {} if self.definition is not None else self.spec
        return str((content.get("code") or {}).get("source") or "")

    def runs(self) -> Iterator[tuple[int, Sequence[Event]]]:
        """The runs of which events are there: their numbers and their events, oldest first."""
        if not self.events:
            return
        begins = [n for n, event in enumerate(self.events) if isinstance(event.fact, Restarted)]
        if not begins or begins[0] > 0:
            begins.insert(0, 0)
        for begin, end in zip(begins, [*begins[1:], len(self.events)], strict=True):
            fact = self.events[begin].fact
            yield fact.run if isinstance(fact, Restarted) else 1, self.events[begin:end]

    @cached_property
    def state(self) -> State:
        """The current run, folded, which for a long history takes as long as to read it."""
        *_, (_, events) = [(1, ()), *self.runs()]
        return apply(self.before(events), events)

    def before(self, events: Sequence[Event]) -> State:
        """The state before the events of one of its runs."""
        empty = State(workflow=self.name, uid=self.uid, started_at=in_milliseconds(self.started_at))
        if not events:
            return empty
        base = base_of(empty, events[0].id, events[0])
        if base is None:
            raise HistoryIncomplete(f"the history begins with event {events[0].id}")
        return base


def instant(text: str) -> datetime:
    """A time of the API."""
    return parse_time(text)


def assemble(
    body: Raw,
    pages: Sequence[Raw] = (),
    *,
    children: Mapping[str, Run] | None = None,
    definition: Raw | None = None,
    values: Mapping[str, str] | None = None,
) -> Run:
    """A run from its objects; of the pages those of other Workflows are left aside.

    Raises HistoryIncomplete if a page of the current run is missing, HistoryInvalid if what is there is no history that an
    operator could have written.
    """
    status = body.get("status") or {}
    uid = body["metadata"].get("uid")
    own = [page for page in pages if (page.get("spec") or {}).get("workflowUID") == uid]
    events = _connected(join(own, status), status)
    without_history = {name: value for name, value in status.items() if name != "history"}
    run = Run(
        body={**body, "status": without_history},
        events=events,
        children=children or {},
        definition=definition,
        values=values or {},
    )
    _ = run.state  # whoever has a run may rely on its history
    return run


def _connected(events: Sequence[Event], status: Raw) -> Sequence[Event]:
    """The events of the current run, and of earlier ones those that lead up to it without a gap."""
    start = len(events)
    while start > 0 and (start == len(events) or events[start - 1].id == events[start].id - 1):
        start -= 1
    found = events[start:]
    # An older run whose beginning is gone tells nothing that could be folded.
    whole = next((n for n, event in enumerate(found) if event.id == 1 or isinstance(event.fact, Restarted)), None)
    if whole is not None:
        return found[whole:]
    first = found[0].id if found else int(status.get("historyStart", 1))
    if first > 1:
        raise HistoryIncomplete(f"the events before {first} are in HistoryPages that aren't here")
    return ()
