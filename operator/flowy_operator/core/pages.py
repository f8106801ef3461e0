"""Where the events of a run lie: the newest in `status.history` (the tail), the older ones in sealed pages.

    HistoryPage 1…120   HistoryPage 121…238   status.history 239…
                                              ▲ status.historyStart

A page is made of events that are on record already, so whoever makes it makes the same: its name comes from the uid, the
run and its first id. Making it twice is harmless, and one that was made but not cut away yet is no part of the history.
The operator cuts, and reads pages only when it doesn't know what is in them: after its own start, as a rule.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flowy_operator.core.history import (
    Chain,
    Event,
    Fact,
    HistoryInvalid,
    Restarted,
    TaskFailed,
    TaskTimedOut,
    event_line,
    parse_history,
    parse_line,
)
from flowy_operator.core.job import (
    API_VERSION,
    RUN_LABEL,
    Owner,
    labels_of,
    owner_reference,
)
from flowy_operator.core.naming import page_name
from flowy_operator.core.state import State, apply

PAGE_KIND = "HistoryPage"
BYTES_ANNOTATION = "flowy.dev/bytes"  # of the events: to add them up without reading them

PAGE_BYTES = 512 * 1024
"""Longest page. Quoting at most doubles its lines, which are ASCII, and an object ends at etcd's 1.5 MiB."""

WRITE_BYTES = 256 * 1024
"""Outcomes of one write. After an hour without operator a thousand results of 4 KiB may be there at once, and an end may
cancel ten thousand tasks, which are 1.1 MiB; they take some writes then. What a stop tells the code isn't cut."""

TAIL_BYTES = 1_200_000
"""Longest tail, where pages can't be made: spec, input and result have to fit beside it into etcd's 1.5 MiB."""

EVENT_BYTES = 1_100_000
"""Longest event, quoted as a page holds it: such a page still fits into etcd, and such a tail with what is before it."""

KEPT_RUN_BYTES = 1024 * 1024
"""Longest history of the last run that stays after a restart: it is for people, who read no more than that."""


class PageInvalid(HistoryInvalid):
    """A page is missing, or isn't what it was; `str()` names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageLimits:
    """When events are sealed, and how many there may be. All in bytes of the events' JSON.

    A status write costs the API server 2 ms at 1 KiB, 10 ms at 32 KiB, 280 ms at 1.1 MiB; so the tail is short. A quarter
    of it stays, for whoever looks at the object.
    """

    tail_bytes: int = 32 * 1024
    run_bytes: int = 8 * 1024 * 1024

    @property
    def kept_bytes(self) -> int:
        return self.tail_bytes // 4


@dataclass(frozen=True, slots=True)
class Tail:
    """The events in `status.history`, as their lines: `first` is the id of the first, `before` the chain up to it."""

    first: int = 1
    lines: tuple[str, ...] = ()
    before: Chain = Chain()

    @property
    def size(self) -> int:
        """Bytes of all lines."""
        return sum(map(len, self.lines))

    @property
    def end(self) -> int:
        """The id that the next event gets."""
        return self.first + len(self.lines)

    def followed_by(self, events: Sequence[Event]) -> "Tail":
        # With all of the old run sealed, a new run's chain begins right here; else `cut` meets its beginning.
        begins = not self.lines and bool(events) and isinstance(events[0].fact, Restarted)
        before = Chain() if begins else self.before
        return Tail(self.first, (*self.lines, *map(event_line, events)), before)

    def cut(self, first: int, run_first: int) -> "Tail":
        """Without the events before `first`. `run_first` is where the current run begins, and with it its chain."""
        gone = self.lines[: first - self.first]
        if self.first < run_first <= first:
            before = Chain().over(gone[run_first - self.first :])
        else:
            before = self.before.over(gone)
        return Tail(first, self.lines[len(gone) :], before)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Sealed events of one run. `before` and `after` are the chain around them; those of a page that was read have no size."""

    name: str
    run: int
    first: int
    lines: tuple[str, ...]
    before: str
    after: str

    @property
    def end(self) -> int:
        """The id of the event after the last."""
        return self.first + len(self.lines)

    @property
    def size(self) -> int:
        return sum(map(len, self.lines))


def next_page(owner: Owner, tail: Tail, state: State, limits: PageLimits) -> Page | None:
    """The next events to be sealed, oldest first: those of an older run, then those that make the tail too long."""
    if tail.first < state.first:
        run, lines = state.run - 1, tail.lines[: state.first - tail.first]
    elif tail.size > limits.tail_bytes:
        run, lines = state.run, tail.lines[: _surplus(tail, limits)]
    else:
        return None
    lines = lines[: _fitting(lines)]
    return Page(
        name=page_name(workflow=owner.name, uid=owner.uid, run=run, first=tail.first),
        run=run,
        first=tail.first,
        lines=lines,
        before=tail.before.digest,
        after=tail.before.over(lines).digest,
    )


def _surplus(tail: Tail, limits: PageLimits) -> int:
    """How many lines go, so that the rest is within what is kept."""
    room = tail.size - limits.kept_bytes
    for number, line in enumerate(tail.lines, 1):
        room -= len(line)
        if room <= 0:
            return number
    return len(tail.lines)


def _fitting(lines: Sequence[str]) -> int:
    room = PAGE_BYTES
    for number, line in enumerate(lines):
        room -= len(line)
        if room < 0:
            return max(number, 1)
    return len(lines)


def page_manifest(owner: Owner, page: Page) -> dict[str, Any]:
    """The HistoryPage object."""
    return {
        "apiVersion": API_VERSION,
        "kind": PAGE_KIND,
        "metadata": {
            "name": page.name,
            "namespace": owner.namespace,
            "labels": labels_of(owner, page.run),
            "annotations": {BYTES_ANNOTATION: str(page.size)},
            "ownerReferences": [owner_reference(owner)],
        },
        "spec": {
            "workflowUID": owner.uid,
            "run": page.run,
            "first": page.first,
            "last": page.end - 1,
            "digestBefore": page.before,
            "digestAfter": page.after,
            "events": "\n".join(page.lines),
        },
    }


def is_of_runs(body: Mapping[str, Any], before: int) -> bool:
    """Whether an object says, by its metadata, that it is of a run before this one."""
    return 0 < run_of(body) < before


def run_of(body: Mapping[str, Any]) -> int:
    """The run that an object says it is of, 0 if it says nothing of use."""
    return _number((body["metadata"].get("labels") or {}).get(RUN_LABEL))


def page_bytes(body: Mapping[str, Any]) -> int:
    """How long the events of a page are, by its metadata alone."""
    return _number((body["metadata"].get("annotations") or {}).get(BYTES_ANNOTATION))


def _number(text: object) -> int:
    return int(text) if isinstance(text, str) and text.isdecimal() and text.isascii() else 0


def parse_page(body: Mapping[str, Any]) -> Page:
    """The page of its object. `HistoryInvalid` if it can't be one that we made."""
    name = str((body.get("metadata") or {}).get("name"))
    try:
        spec = body["spec"]
        page = Page(
            name=name,
            run=int(spec["run"]),
            first=int(spec["first"]),
            lines=tuple(spec["events"].split("\n")),
            before=str(spec["digestBefore"]),
            after=str(spec["digestAfter"]),
        )
        complete = page.end - 1 == int(spec["last"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise PageInvalid(f"HistoryPage {name} is malformed ({type(error).__name__}: {error})") from error
    if not complete:
        raise PageInvalid(f"HistoryPage {name} holds {len(page.lines)} events, not {page.first} to {spec['last']}")
    return page


def agreed(tail: Tail, page: Page) -> bool:
    """Whether what the page holds is what the tail begins with; it may hold more than the tail."""
    both = min(len(page.lines), len(tail.lines))
    return page.first == tail.first and page.before == tail.before.digest and page.lines[:both] == tail.lines[:both]


def parse_tail(status: Mapping[str, Any]) -> tuple[int, list[Event]]:
    """`status.historyStart` and the events of `status.history`. `HistoryInvalid` if they aren't a piece of a history."""
    raw = status.get("history", [])
    first = status.get("historyStart", 1)
    if not isinstance(raw, list):
        raise HistoryInvalid("status.history is no list")
    if not isinstance(first, int) or isinstance(first, bool) or first < 1:
        raise HistoryInvalid(f"status.historyStart is {first!r}, not the id of an event")
    return first, parse_history(raw, first)


def base_of(empty: State, first: int, opening: Event | None) -> State | None:
    """The state before event `first`, if nothing needs to be known for it: that of a run's first event. Else None.

    `empty` is the state of a workflow without history, `opening` the event `first` if it is at hand.
    """
    if first == 1:
        return empty
    if opening is not None and isinstance(opening.fact, Restarted):
        return _before_run(empty, first, opening.fact.run)
    return None


def _before_run(empty: State, first: int, run: int) -> State:
    return State(workflow=empty.workflow, uid=empty.uid, started_at=empty.started_at, run=run - 1, events=first - 1)


def fold_pages(empty: State, run: int, pages: Iterable[Page], end: int) -> State:
    """The state before event `end` of run `run`, whose pages these are, in any order.

    `HistoryInvalid` names the page that is missing or isn't what it should be. Pages from `end` on are sealed but not cut
    away yet; they don't count.
    """
    ours = [page for page in pages if page.run == run and page.first < end and page.name == _name(empty, page)]
    ours.sort(key=lambda page: page.first)
    state = base_of(empty, ours[0].first, _event(ours[0], ours[0].lines[0])) if ours else None
    if state is None:
        opening = _name_at(empty, 1, 1) if run == 1 else f"with the beginning of run {run}"
        raise PageInvalid(f"HistoryPage {opening} is missing")
    for page in ours:
        state = _through(state, page)
    if state.events != end - 1:
        raise _missing(state, end)
    return state


def _name(state: State, page: Page) -> str:
    return _name_at(state, page.run, page.first)


def _name_at(state: State, run: int, first: int) -> str:
    return page_name(workflow=state.workflow, uid=state.uid, run=run, first=first)


def _through(state: State, page: Page) -> State:
    if page.first != state.events + 1:
        raise _missing(state, page.first)
    if page.before != state.chain.digest or page.after != state.chain.over(page.lines).digest:
        raise PageInvalid(f"HistoryPage {page.name} was changed: its events don't fit its digests")
    events = [_event(page, line) for line in page.lines]
    if [event.id for event in events] != list(range(page.first, page.end)):
        raise PageInvalid(f"HistoryPage {page.name} was changed: its events don't have the ids {page.first} …")
    return apply(state, events)


def _event(page: Page, line: str) -> Event:
    try:
        return parse_line(line)
    except HistoryInvalid as error:
        raise PageInvalid(f"HistoryPage {page.name}: {error}") from error


def _missing(state: State, end: int) -> PageInvalid:
    first = state.events + 1
    name = _name_at(state, state.run, first)
    return PageInvalid(f"HistoryPage {name} is missing, with the events {first} to {end - 1}")


def join(pages: Iterable[Mapping[str, Any]], status: Mapping[str, Any]) -> list[Event]:
    """All events that there are, for people: of the pages (as objects) of all runs, and of the status."""
    first, events = parse_tail(status)
    sealed = [page for page in map(parse_page, pages) if page.first < first]
    older = [parse_line(line) for page in sorted(sealed, key=lambda page: page.first) for line in page.lines]
    return [*older, *events]


def first_portion(facts: Sequence[Fact], events: Sequence[Event]) -> int:
    """How many of these outcomes one write takes, at least one; their events give the sizes.

    No portion ends with an attempt that failed and is tried again: what follows it belongs to it.
    """
    room, whole = WRITE_BYTES, 0
    for number, (fact, event) in enumerate(zip(facts, events, strict=True), 1):
        room -= len(event_line(event))
        if room < 0 and whole:
            return whole
        match fact:
            case TaskFailed(final=False) | TaskTimedOut(final=False):
                continue
            case _:
                whole = number
    return len(facts)


def quoted_bytes(text: str) -> int:
    """How long a text is as a value within an event within a page: ASCII, quoted twice."""
    return len(json.dumps(json.dumps(text)))


def tail_json(tail: Tail) -> list[dict[str, Any]]:
    """The tail as it stands in `status.history`."""
    return [json.loads(line) for line in tail.lines]
