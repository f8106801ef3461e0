"""Random runs: arrows say exactly what had to be there before each call, and what is stacked has no cycle."""

from collections.abc import Mapping
from graphlib import TopologicalSorter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from flowy_cli.pictures.critical import critical_path
from flowy_cli.pictures.execution import Call, Execution
from flowy_cli.pictures.graph import graph_of
from flowy_cli.pictures.nodes import Graph
from tests.pictures.recordings import call, execution


@st.composite
def executions(draw: st.DrawFn) -> Execution:
    """Calls that take results of earlier ones; between them the code looks at outcomes, each for the first time."""
    calls: list[Call] = []
    looks: list[str] = []
    for number in range(draw(st.integers(1, 14))):
        earlier = [each.key for each in calls]
        unseen = [key for key in earlier if key not in looks]
        looks += draw(st.lists(st.sampled_from(unseen), unique=True, max_size=3)) if unseen else []
        takes = draw(st.lists(st.sampled_from(earlier), unique=True, max_size=3)) if earlier else []
        calls.append(call(f"t-{number}", *takes, begin=number, end=number + draw(st.integers(1, 5)), looks=len(looks)))
    return execution(
        calls, *looks, until=30, returned=draw(st.lists(st.sampled_from([c.key for c in calls]), unique=True))
    )


def above(parents: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """All that can be reached, by node."""
    found: dict[str, set[str]] = {}
    for node in TopologicalSorter(parents).static_order():
        found[node] = parents[node] | {further for parent in parents[node] for further in found[parent]}
    return found


def parents_in(graph: Graph) -> dict[str, set[str]]:
    parents: dict[str, set[str]] = {node.id: set() for node in graph.nodes}
    for arrow in graph.arrows:
        parents[arrow.target].add(arrow.source)
    return parents


@given(executions())
def test_arrows_say_what_had_to_be_there_and_nothing_else(run: Execution) -> None:
    looks = [look.key for look in run.looks]
    needed = above({each.key: {*each.takes, *looks[: each.looks]} for each in run.calls})
    drawn = graph_of(run, stacked=len(run.calls))
    keys = {node.id: node.label for node in drawn.nodes if node.calls}
    reached = {
        keys[id_]: {keys[each] for each in ids if each in keys}
        for id_, ids in above(parents_in(drawn)).items()
        if id_ in keys
    }
    assert reached == needed


@given(executions())
def test_no_arrow_between_calls_repeats_a_detour(run: Execution) -> None:
    """What the code looked at is left out where it follows; results that went into a call are always shown."""
    drawn = graph_of(run, stacked=len(run.calls))
    parents = parents_in(drawn)
    reached = above(parents)
    for arrow in drawn.arrows:
        others = parents[arrow.target] - {arrow.source}
        if arrow.flow == "order":
            assert all(arrow.source not in reached[other] for other in others)


@given(executions(), st.integers(1, 4))
def test_stacks_have_no_cycle_and_lose_no_call(run: Execution, stacked: int) -> None:
    drawn = graph_of(run, stacked=stacked)
    above(parents_in(drawn))  # raises CycleError
    assert sorted(each.key for node in drawn.nodes for each in node.calls) == sorted(each.key for each in run.calls)


@given(executions())
def test_the_critical_path_is_a_path(run: Execution) -> None:
    calls = {each.key: each for each in run.calls}
    path = [calls[key] for key in critical_path(run)]
    looks = [look.key for look in run.looks]
    for before, after in pairwise(path):
        assert before.key in {*after.takes, *looks[: after.looks]}
