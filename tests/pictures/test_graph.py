"""The graph: what comes after what, what is left out because it follows, what is put together."""

import pytest

from flowy_cli.pictures.barriers import Barrier, order_of
from flowy_cli.pictures.execution import Execution, Kind, Standing
from flowy_cli.pictures.graph import graph_of
from flowy_cli.pictures.nodes import Flow, Shape
from flowy_cli.pictures.timeline import timeline_of
from tests.pictures.recordings import attempt, call, execution, wide

CASES: dict[str, tuple[Execution, dict[str, str | int], list[Barrier]]] = {
    "nothing was looked at": (execution([call("a-0"), call("b-0", "a-0")]), {}, []),
    "one look": (execution([call("a-0"), call("b-0", looks=1)], "a-0"), {"b-0": "a-0"}, []),
    "what went into the call says it already": (execution([call("a-0"), call("b-0", "a-0", looks=1)], "a-0"), {}, []),
    "and what went into that": (
        execution([call("a-0"), call("b-0", "a-0"), call("c-0", "b-0", looks=1)], "a-0"),
        {},
        [],
    ),
    "two looks are a barrier": (
        execution([call("a-0"), call("a-1"), call("b-0", looks=2)], "a-0", "a-1"),
        {"b-0": 0},
        [Barrier(("a-0", "a-1"), None, 2)],
    ),
    "a call that takes both needs none": (
        execution([call("a-0"), call("a-1"), call("b-0", "a-0", "a-1", looks=2)], "a-0", "a-1"),
        {},
        [],
    ),
    "of two looks, one needed the other": (
        execution([call("a-0"), call("b-0", "a-0"), call("c-0", looks=2)], "a-0", "b-0"),
        {"c-0": "b-0"},
        [],
    ),
    "looks one after the other": (
        execution([call("a-0"), call("a-1", looks=1), call("a-2", looks=2)], "a-0", "a-1"),
        {"a-1": "a-0", "a-2": "a-1"},
        [],
    ),
    "a second barrier remembers the first": (
        execution(
            [call("a-0"), call("a-1"), call("b-0", looks=2), call("c-0", looks=2), call("d-0", looks=3)],
            *("a-0", "a-1", "c-0"),
        ),
        {"b-0": 0, "c-0": 0, "d-0": "c-0"},
        [Barrier(("a-0", "a-1"), None, 2)],
    ),
    "both barriers are needed": (
        execution(
            [call("a-0"), call("a-1"), call("c-0"), call("b-0", looks=2), call("d-0", looks=3)], "a-0", "a-1", "c-0"
        ),
        {"b-0": 0, "d-0": 1},
        [Barrier(("a-0", "a-1"), None, 2), Barrier(("c-0",), 0, 3)],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_comes_after_what(name: str) -> None:
    drawn, after, barriers = CASES[name]
    order = order_of(drawn)
    assert dict(order.after) == after
    assert list(order.barriers) == barriers


def test_everything_before_a_call_can_be_reached_from_it() -> None:
    drawn = graph_of(
        execution([call("a-0"), call("a-1"), call("b-0", looks=2), call("c-0", "b-0", looks=2)], "a-0", "a-1")
    )
    reached, ahead = set(), ["n3"]
    while ahead:
        place = ahead.pop()
        reached.add(place)
        ahead += [arrow.source for arrow in drawn.arrows if arrow.target == place]
    assert {"n0", "n1", "n2"} <= reached


def test_a_thousand_that_look_the_same_are_one_node() -> None:
    drawn = graph_of(wide(1000))
    assert [(node.label, len(node.calls)) for node in drawn.nodes] == [
        ("split-0", 1),
        ("997 step", 997),
        ("step-7", 1),
        ("step-407", 1),
        ("step-807", 1),
        ("add-0", 1),
    ]
    assert len(drawn.arrows) == 8
    assert len(graph_of(wide(1000), stacked=1000).nodes) == 1002


def test_chains_are_stacked_link_by_link() -> None:
    calls = [
        call(f"{name}-{n}", *([] if name == "a" else [f"{before}-{n}"]))
        for n in range(9)
        for before, name in ("-a", "ab", "bc")
    ]
    drawn = graph_of(execution(calls))
    assert [node.label for node in drawn.nodes] == ["9 a", "9 b", "9 c"]
    assert [(arrow.source, arrow.target) for arrow in drawn.arrows] == [("n0", "n1"), ("n1", "n2")]


def test_one_chain_is_not_stacked() -> None:
    calls = [call(f"a-{n}", *([f"a-{n - 1}"] if n else [])) for n in range(100)]
    assert len(graph_of(execution(calls)).nodes) == 100


def test_shapes_and_what_is_inside() -> None:
    child = execution([call("inner-0", end=2)])
    box = call("sub-0", end=3, kind=Kind.WORKFLOW, attempts=[attempt(0, 3, child=child)])
    nodes = graph_of(execution([box, call("plain-0", end=1)])).nodes
    assert [node.shape for node in nodes] == [Shape.BOX, Shape.ELLIPSE]
    assert nodes[0].inner is not None
    assert [node.label for node in nodes[0].inner.nodes] == ["inner-0"]
    assert nodes[1].inner is None


def test_retries_and_disruptions_are_counted() -> None:
    tries = [
        attempt(0, 1, standing=Standing.FAILED),
        attempt(1, 2, number=2, standing=Standing.DISRUPTED),
        attempt(2, 3, number=2, launch=1),
    ]
    assert (
        graph_of(execution([call("a-0", end=3, attempts=tries)])).nodes[0].detail == "3.0 s, 2 attempts, 1 disruption"
    )


@pytest.mark.parametrize(
    ("returned", "label"), [((), "line 7 waits"), (("a-0",), "the result waits")], ids=["at a line", "at the end"]
)
def test_where_an_open_run_waits(returned: tuple[str, ...], label: str) -> None:
    drawn = graph_of(execution([call("a-0")], standing=Standing.RUNNING, waiting_on={"a-0": 7}, returned=returned))
    assert (drawn.nodes[-1].label, drawn.nodes[-1].shape) == (label, Shape.POINT)
    assert [(a.source, a.target, a.flow) for a in drawn.arrows] == [("n0", drawn.nodes[-1].id, Flow.ORDER)]


def test_rows_of_several_attempts_say_of_which_they_are() -> None:
    tries = [attempt(n, n + 1, number=n + 1, child=execution([call("inner-0", begin=n, end=n + 1)])) for n in range(2)]
    rows = timeline_of(execution([call("sub-0", end=2, kind=Kind.WORKFLOW, attempts=tries)])).rows
    assert [(row.label, row.depth) for row in rows] == [("sub-0", 0), ("#1 inner-0", 1), ("#2 inner-0", 1)]
