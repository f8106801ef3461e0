"""Where events lie: any split into pages and tail is the same history, and what isn't one is refused by name."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flowy_operator.core import pages
from flowy_operator.core.history import (
    Chain,
    Event,
    Fact,
    HistoryInvalid,
    Restarted,
    event_json,
    event_line,
    parse_line,
)
from flowy_operator.core.pages import (
    Page,
    PageLimits,
    Tail,
    agreed,
    base_of,
    first_portion,
    fold_pages,
    join,
    next_page,
    page_manifest,
    parse_page,
    parse_tail,
    tail_json,
)
from flowy_operator.core.state import State, apply, place
from tests.builders import (
    OWNER,
    START,
    completed,
    empty_state,
    events_of,
    failed,
    followed,
    scheduled,
    state_of,
    timed_out,
    waiting,
)
from tests.core.strategies import FEW, histories

TINY = PageLimits(tail_bytes=400)


def sealed(tail: Tail, state: State, limits: PageLimits) -> tuple[list[Page], Tail]:
    """All pages that are to be made now, and what is left of the tail."""
    made = []
    while (page := next_page(OWNER, tail, state, limits)) is not None:
        made.append(page)
        tail = tail.cut(page.end, state.first)
    return made, tail


def objects(made: Sequence[Page]) -> list[dict[str, Any]]:
    """The pages as the API server gives them back."""
    return [json.loads(json.dumps(page_manifest(OWNER, page))) for page in made]


def portions(events: Sequence[Event], most: int) -> Iterator[list[Event]]:
    """The events of one write each: a restart is always the last of its write."""
    some: list[Event] = []
    for event in events:
        some.append(event)
        if len(some) == most or isinstance(event.fact, Restarted):
            yield some
            some = []
    if some:
        yield some


RESTARTED_TWICE = [Event(n, START, Restarted(run=n + 1, input='{"args":[],"kwargs":{}}')) for n in (1, 2)]


@FEW
@example(RESTARTED_TWICE, 100, 1)
@given(histories(), st.integers(100, 3000), st.integers(1, 7))
def test_any_split_is_the_same_history(events: list[Event], tail_bytes: int, portion: int) -> None:
    limits = PageLimits(tail_bytes=tail_bytes)
    state, tail, made = empty_state(), Tail(), list[Page]()
    for some in portions(events, portion):
        state, tail = apply(state, some), tail.followed_by(some)
        more, tail = sealed(tail, state, limits)
        made += more
        assert tail.size <= tail_bytes
    found = [parse_page(body) for body in objects(made)]
    assert found == made
    assert join(objects(made), {"historyStart": tail.first, "history": tail_json(tail)}) == events
    # An operator that starts now comes to the same, from the pages of this run alone.
    opening = parse_line(tail.lines[0]) if tail.lines else None
    before = base_of(empty_state(), tail.first, opening)
    if before is None:
        before = fold_pages(empty_state(), state.run, reversed(found), tail.first)
    first, rest = parse_tail({"historyStart": tail.first, "history": tail_json(tail)})
    again = apply(before, rest)
    assert first == tail.first
    assert again == state
    assert before.chain == tail.before


def chain_of(count: int) -> list[Event]:
    steps: list[Fact | float] = []
    for n in range(count):
        steps += [n, scheduled(f"task-{n}"), n + 0.5, completed(f"task-{n}", result=str(n))]
    return events_of(*steps)


def test_nothing_is_sealed_as_long_as_the_tail_is_short() -> None:
    tail = Tail().followed_by(chain_of(1))
    assert next_page(OWNER, tail, apply(empty_state(), chain_of(1)), PageLimits()) is None


def test_a_quarter_stays_and_the_page_begins_where_the_last_one_ended() -> None:
    events = chain_of(40)
    state, limits = apply(empty_state(), events), PageLimits(tail_bytes=4000)
    made, tail = sealed(Tail().followed_by(events), state, limits)
    assert len(made) == 1
    assert 500 < tail.size <= 1000
    assert (made[0].first, made[0].end, made[0].before) == (1, tail.first, "")
    assert made[0].after == tail.before.digest == Chain().over(map(event_line, events[: tail.first - 1])).digest


def test_one_event_that_is_too_long_leaves_an_empty_tail() -> None:
    restarted = Restarted(run=2, input=f'{{"args":["{"x" * 5000}"],"kwargs":{{}}}}')
    state = state_of(scheduled(), completed(), restarted)
    tail = Tail().followed_by(events_of(scheduled(), completed(), restarted))
    made, left = sealed(tail, state, TINY)
    assert [(page.run, page.first, page.end) for page in made] == [(1, 1, 3), (2, 3, 4)]
    assert (left.first, left.lines) == (4, ())
    assert fold_pages(empty_state(), 2, made, 4) == state


def test_what_stands_before_a_restart_goes_into_pages_of_the_old_run_however_short() -> None:
    events = events_of(scheduled(), 1, completed(), 2, Restarted(run=2, input="{}"), scheduled())
    state = apply(empty_state(), events)
    made, tail = sealed(Tail().followed_by(events), state, PageLimits())
    assert [(page.run, page.first, page.end) for page in made] == [(1, 1, 3)]
    assert tail == Tail(3, tuple(map(event_line, events[2:])), Chain())


def test_a_long_burst_is_several_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "PAGE_BYTES", 1000)
    events = chain_of(40)
    made, tail = sealed(Tail().followed_by(events), apply(empty_state(), events), TINY)
    assert len(made) > 5
    assert all(page.size <= 1000 for page in made)
    assert [page.first for page in made[1:]] + [tail.first] == [page.end for page in made]


def test_the_object_belongs_to_its_workflow() -> None:
    [page], _ = sealed(Tail().followed_by(chain_of(2)), apply(empty_state(), chain_of(2)), TINY)
    body = page_manifest(OWNER, page)
    metadata = body["metadata"]
    assert metadata["name"].startswith("talk-42-1-1-")
    assert metadata["labels"] == {
        "app.kubernetes.io/managed-by": "flowy",
        "flowy.dev/workflow": OWNER.name,
        "flowy.dev/workflow-uid": OWNER.uid,
        "flowy.dev/run": "1",
    }
    assert [owner["uid"] for owner in metadata["ownerReferences"]] == [OWNER.uid]
    spec = body["spec"]
    assert [json.loads(line)["id"] for line in spec["events"].split("\n")] == list(range(1, spec["last"] + 1))


def test_what_was_sealed_but_not_cut_yet_does_not_count() -> None:
    events = chain_of(20)
    made, tail = sealed(Tail().followed_by(events), apply(empty_state(), events), PageLimits(tail_bytes=1000))
    [page] = made
    status = {"historyStart": 1, "history": [event_json(event) for event in events]}
    assert join(objects(made), status) == events
    later = replace(page, first=page.end, name="w-later")
    assert fold_pages(empty_state(), 1, [page, later], tail.first).events == tail.first - 1


EVENTS = chain_of(30)
STATE = apply(empty_state(), EVENTS)


def three_pages() -> list[Page]:
    """Events 1 to 8, 9 to 16, 17 to 24."""
    tail, made = Tail().followed_by(EVENTS), list[Page]()
    for _ in range(3):
        page = next_page(OWNER, tail, STATE, TINY)
        assert page is not None
        lines = page.lines[:8]
        page = replace(page, lines=lines, after=tail.before.over(lines).digest)
        made.append(page)
        tail = tail.cut(page.end, 1)
    return made


def test_pages_are_found_in_any_order() -> None:
    made = three_pages()
    assert fold_pages(empty_state(), 1, reversed(made), 25) == apply(empty_state(), EVENTS[:24])


def edited(number: int, **fields: Any) -> Callable[[list[Page]], list[Page]]:
    return lambda made: [replace(page, **fields) if n == number else page for n, page in enumerate(made)]


def _with_another_result(made: list[Page]) -> list[Page]:
    lines = tuple(line.replace('"result":"5"', '"result":"6"') for line in made[1].lines)
    assert lines != made[1].lines
    return [made[0], replace(made[1], lines=lines), made[2]]


def _consistently_forged(made: list[Page]) -> list[Page]:
    """The page's own digests fit; the next one's don't."""
    [first, second, third] = _with_another_result(made)
    return [first, replace(second, after=Chain(first.after).over(second.lines).digest), third]


DAMAGE: dict[str, tuple[Callable[[list[Page]], list[Page]], str]] = {
    "all gone": (lambda made: [], "HistoryPage talk-42-1-1-"),
    "the first gone": (lambda made: made[1:], "HistoryPage talk-42-1-1-"),
    "one in the middle gone": (lambda made: [made[0], made[2]], "HistoryPage talk-42-1-9-"),
    "the last gone": (lambda made: made[:2], "HistoryPage talk-42-1-17-"),
    "a result changed": (_with_another_result, "HistoryPage talk-42-1-9-"),
    "a result changed, with its digest": (_consistently_forged, "HistoryPage talk-42-1-17-"),
    "a line gone": (lambda made: edited(1, lines=made[1].lines[:-1])(made), "HistoryPage talk-42-1-9-"),
    "no JSON": (lambda made: edited(0, lines=("{", *made[0].lines[1:]))(made), "HistoryPage talk-42-1-1-"),
    "of another run": (edited(1, run=2), "HistoryPage talk-42-1-9-"),
    "under another name": (edited(1, name="talk-42-copy"), "HistoryPage talk-42-1-9-"),
}


@pytest.mark.parametrize(("damage", "named"), DAMAGE.values(), ids=DAMAGE)
def test_damage_is_found_and_the_page_named(damage: Callable[[list[Page]], list[Page]], named: str) -> None:
    with pytest.raises(HistoryInvalid, match=named):
        fold_pages(empty_state(), 1, damage(three_pages()), 25)


def test_a_run_whose_beginning_is_gone_is_named_by_its_number() -> None:
    with pytest.raises(HistoryInvalid, match="beginning of run 7 is missing"):
        fold_pages(empty_state(), 7, [], 25)


def _without(field: str) -> Callable[[dict[str, Any]], None]:
    def remove(body: dict[str, Any]) -> None:
        del body["spec"][field]

    return remove


MALFORMED: dict[str, Callable[[dict[str, Any]], None]] = {
    "no spec": lambda body: body.pop("spec"),
    "no events": _without("events"),
    "events of another type": lambda body: body["spec"].update(events=7),
    "no number": lambda body: body["spec"].update(run="first"),
    "not so many events": lambda body: body["spec"].update(last=7),
}


@pytest.mark.parametrize("damage", MALFORMED.values(), ids=MALFORMED)
def test_what_is_no_page_is_refused_by_name(damage: Callable[[dict[str, Any]], None]) -> None:
    [body] = objects(three_pages()[:1])
    damage(body)
    with pytest.raises(HistoryInvalid, match="HistoryPage talk-42-1-1-"):
        parse_page(body)


STATUSES: dict[str, Mapping[str, Any]] = {
    "no list": {"history": {}},
    "a start that is no number": {"history": [], "historyStart": "1"},
    "a start that is none": {"history": [], "historyStart": True},
    "a start before the first": {"history": [], "historyStart": 0},
    "another start than the events'": {"history": [event_json(event) for event in EVENTS], "historyStart": 2},
}


@pytest.mark.parametrize("status", STATUSES.values(), ids=STATUSES)
def test_a_status_that_holds_no_piece_of_a_history_is_refused(status: Mapping[str, Any]) -> None:
    with pytest.raises(HistoryInvalid):
        parse_tail(status)


def test_a_page_agrees_with_a_tail_that_begins_with_it_and_may_be_ahead_of_it() -> None:
    page = three_pages()[0]
    tail = Tail().followed_by(EVENTS)
    assert agreed(tail, page)
    assert agreed(Tail().followed_by(EVENTS[:3]), page)
    assert not agreed(tail.cut(3, 1), page)
    assert not agreed(tail, replace(page, lines=(page.lines[0], *page.lines[2:])))
    assert not agreed(tail, replace(page, before="0123456789abcdef"))


def test_a_write_takes_so_many_events_and_never_half_a_retry(monkeypatch: pytest.MonkeyPatch) -> None:
    state = state_of(*(scheduled(f"task-{n}") for n in range(4)))
    facts: list[Fact] = [
        completed("task-0"),
        failed("task-1", final=False),
        scheduled("task-1", attempt=2),
        timed_out("task-2", final=False),
        waiting("task-2", attempt=2, until=9),
        completed("task-3"),
    ]
    events = place(state, facts, START)
    sizes = [len(event_line(event)) for event in events]
    assert first_portion(facts, events) == 6
    for number, portion in enumerate([1, 1, 3, 3, 5, 6], 1):
        monkeypatch.setattr(pages, "WRITE_BYTES", sum(sizes[:number]))
        assert first_portion(facts, events) == portion
        followed(state, facts[:portion], START)
    monkeypatch.setattr(pages, "WRITE_BYTES", 1)
    assert first_portion(facts, events) == 1
    assert first_portion(facts[1:], events[1:]) == 2
    assert first_portion([], []) == 0
