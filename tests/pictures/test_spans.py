"""Ranks of nodes, and the few short arrows that keep their order."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowy_cli.pictures.nodes import Arrow, Flow, Graph, Node, Shape
from flowy_cli.pictures.spans import passed, ranks_of, shortened


def graph(count: int, *arrows: tuple[int, int], inner: Graph | None = None) -> Graph:
    """Nodes by their numbers; the first has `inner` inside."""
    nodes = [Node(id=f"n{n}", shape=Shape.ELLIPSE, label="", inner=None if n else inner) for n in range(count)]
    return Graph(nodes, [Arrow(f"n{source}", f"n{target}", Flow.RESULT) for source, target in arrows])


CHAIN = graph(6, *((n, n + 1) for n in range(5)), *((0, n) for n in range(2, 6)))
"""All take the result of the first."""

RANKS: dict[str, tuple[Graph, Sequence[int], int]] = {
    "nobody gives anything": (graph(3), [0, 0, 0], 0),
    "below the lowest that gives": (graph(3, (0, 1), (1, 2), (0, 2)), [0, 1, 2], 1),
    "a first one stands just above what takes from it": (graph(5, (0, 1), (1, 2), (3, 2), (4, 2)), [0, 1, 2, 1, 1], 0),
    "a chain of the first one's": (CHAIN, [0, 1, 2, 3, 4, 5], 1 + 2 + 3 + 4),
    "what has a chain inside is as high as that": (graph(3, (0, 1), (0, 2), inner=CHAIN), [0, 6, 6], 5 + 5 + 10),
}


@pytest.mark.parametrize(("drawn", "ranks", "over"), RANKS.values(), ids=RANKS)
def test_ranks(drawn: Graph, ranks: Sequence[int], over: int) -> None:
    assert [ranks_of(drawn)[node.id] for node in drawn.nodes] == ranks
    assert passed(drawn) == over


def test_arrows_that_others_imply_are_left_out() -> None:
    assert [(arrow.source, arrow.target) for arrow in shortened(CHAIN)] == [
        *((f"n{n}", f"n{n + 1}") for n in range(5)),
        ("n0", "n2"),
    ]


def test_a_long_arrow_that_nothing_implies_has_a_short_one_to_what_is_above_its_target() -> None:
    drawn = graph(9, (0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (6, 7), (7, 8), (8, 5))
    assert ("n8", "n3") in {(arrow.source, arrow.target) for arrow in shortened(drawn)}
    assert ("n8", "n5") not in {(arrow.source, arrow.target) for arrow in shortened(drawn)}


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Arrows from earlier to later nodes, chains among them."""
    count = draw(st.integers(2, 24))
    ends = st.tuples(st.integers(0, count - 2), st.integers(0, count - 2)).map(lambda two: (min(two), max(two) + 1))
    chain = [(n, n + 1) for n in range(draw(st.integers(0, count - 1)))]
    return graph(count, *dict.fromkeys([*chain, *draw(st.lists(ends, max_size=40))]))


@given(graphs())
def test_every_target_stays_below_its_source(drawn: Graph) -> None:
    short = shortened(drawn)
    ranks = ranks_of(drawn)
    below: dict[str, set[str]] = {node.id: set() for node in drawn.nodes}
    for source, target in sorted(((a.source, a.target) for a in short), key=lambda ends: -ranks[ends[0]]):
        below[source] |= {target, *below[target]}
    for arrow in drawn.arrows:
        assert ranks[arrow.source] < ranks[arrow.target]
        assert arrow.target in below[arrow.source]
    assert len(short) <= len(drawn.arrows)


def test_so_do_those_of_ten_thousand() -> None:
    count = 10_000
    drawn = graph(count, *((n, n + 1) for n in range(count - 1)), *((0, n) for n in range(2, count)))
    assert len(shortened(drawn)) == count
