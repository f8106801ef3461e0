"""SVG: well-formed, complete, alone in the world; whatever a run says, it stays text."""

from collections import Counter
from dataclasses import replace
from xml.etree import ElementTree as ET

import pygraphviz
import pytest

from flowy_cli.pictures.dot import dot
from flowy_cli.pictures.execution import Execution, Kind, Standing
from flowy_cli.pictures.graph import graph_of
from flowy_cli.pictures.graph_svg import graph_svg, lines_of
from flowy_cli.pictures.graph_text import graph_text
from flowy_cli.pictures.layout import MANY, layout_of
from flowy_cli.pictures.mermaid import mermaid
from flowy_cli.pictures.nodes import Graph, Shape
from flowy_cli.pictures.timeline import timeline_of
from flowy_cli.pictures.timeline_svg import timeline_svg
from flowy_cli.pictures.timeline_text import timeline_text
from tests.pictures.recordings import NAMES, call, execution, recording, web, wide

SVG = "{http://www.w3.org/2000/svg}"

HOSTILE = "</text></title><script>alert(1)</script>\"'&<!--]]>\x00\x1b[2J\u202e\ud800\n<img src=x onerror=alert(1)>"


def hostile() -> Execution:
    calls = [
        call("a-0", end=3, standing=Standing.FAILED, reason=HOSTILE, arguments=f'"{HOSTILE}"', result=HOSTILE),
        call("b-0", "a-0", begin=None),
    ]
    return execution(calls, reason=HOSTILE, source=HOSTILE, flow=HOSTILE, arguments=HOSTILE, result=HOSTILE)


def parsed(text: str) -> ET.Element:
    return ET.fromstring(text)


def classes(root: ET.Element) -> Counter[str]:
    return Counter(word for item in root.iter() for word in item.get("class", "").split())


@pytest.mark.parametrize("name", NAMES)
def test_the_graph_has_each_node_and_each_arrow(name: str) -> None:
    drawn = graph_of(recording(name))
    root = parsed(graph_svg(drawn, name))
    nodes = list(drawn.everything())
    ids = [item.get("id") for item in root.iter() if item.get("id")]
    assert sorted(map(str, ids)) == sorted(node.id for node in nodes)
    arrows = sum(len(graph.arrows) for graph in (drawn, *(node.inner for node in nodes if node.inner is not None)))
    assert classes(root)["arrow"] == classes(root)["tip"] == arrows
    shown = {item.text for item in root.iter(f"{SVG}text")}
    assert {node.label for node in nodes} <= shown


@pytest.mark.parametrize("name", NAMES)
def test_no_node_lies_on_another_and_none_outside(name: str) -> None:
    drawn = graph_of(recording(name))
    layout = layout_of(drawn, {node.id: lines_of(node) for node in drawn.everything()})

    def check(graph: Graph) -> None:
        boxes = [layout.boxes[node.id] for node in graph.nodes]
        for n, one in enumerate(boxes):
            assert one.left >= -1
            assert one.left + one.width <= layout.width + 1
            for other in boxes[:n]:
                beside = abs(one.x - other.x) >= (one.width + other.width) / 2 - 1
                assert beside or abs(one.y - other.y) >= (one.height + other.height) / 2 - 1
        for node in graph.nodes:
            if node.inner is not None:
                check(node.inner)

    check(drawn)


@pytest.mark.parametrize("name", NAMES)
def test_the_timeline_has_each_call_and_each_attempt(name: str) -> None:
    run = recording(name)
    root = parsed(timeline_svg(timeline_of(run), name))
    calls = [each for below in run.everything() for each in below.calls]
    assert classes(root)["row"] == len(calls)
    bars = sum(classes(root)[kind] for kind in ("ran", "open"))
    assert bars == sum(len(each.attempts) for each in calls) + 4  # those of the legend
    assert classes(root)["tick"] == len(run.decisions) + 1


@pytest.mark.parametrize(
    "draw", [lambda run: graph_svg(graph_of(run), HOSTILE), lambda run: timeline_svg(timeline_of(run), HOSTILE)]
)
def test_hostile_texts_stay_texts(draw: object) -> None:
    assert callable(draw)
    root = parsed(draw(hostile()))
    tags = {item.tag.removeprefix(SVG) for item in root.iter()}
    assert tags <= {"svg", "title", "style", "g", "rect", "text", "line", "ellipse", "path", "polygon", "polyline"}
    assert not [name for item in root.iter() for name in dict(item.items()) if name.startswith("on") or name == "href"]


@pytest.mark.parametrize(
    "draw", [lambda run: graph_text(graph_of(run), 80), lambda run: timeline_text(timeline_of(run), 80)]
)
def test_a_terminal_is_not_steered(draw: object) -> None:
    assert callable(draw)
    text = draw(hostile())
    assert text.replace("\n", "").isprintable()
    assert max(map(len, text.splitlines())) <= 130


def test_dot_can_be_read_back_whatever_a_run_says() -> None:
    for run in (hostile(), *map(recording, NAMES)):
        drawn = graph_of(run)
        graph = pygraphviz.AGraph(dot(drawn, HOSTILE))
        leaves = [node.id for node in drawn.everything() if node.inner is None]
        assert sorted(map(str, graph.nodes())) == sorted(leaves)


def test_mermaid_lines_are_of_its_language() -> None:
    lines = mermaid(graph_of(hostile())).splitlines()
    assert lines[0] == "flowchart TB"
    assert len(lines) == 8
    assert not [line for line in lines if "<" in line.replace("<br/>", "") or "\x00" in line]


def test_a_thousand_can_all_be_drawn() -> None:
    root = parsed(graph_svg(graph_of(wide(1000), stacked=1000), "wide"))
    assert classes(root)["ellipse"] == 1002


def test_arrows_of_a_large_graph_go_straight_from_edge_to_edge() -> None:
    drawn = graph_of(web(MANY + 1))
    layout = layout_of(drawn, {node.id: lines_of(node) for node in drawn.everything()})
    assert [(curve.source, curve.target) for curve in layout.curves] == [(a.source, a.target) for a in drawn.arrows]
    assert {node.shape for node in drawn.nodes} == {Shape.ELLIPSE}
    straight = [curve for curve in layout.curves if len(curve.points) == 2]
    assert len(straight) > 0.9 * len(layout.curves)
    for curve in straight:
        for (x, y), box in ((curve.points[0], layout.boxes[curve.source]), (curve.tip, layout.boxes[curve.target])):
            off = ((x - box.x) * 2 / box.width) ** 2 + ((y - box.y) * 2 / box.height) ** 2
            assert off == pytest.approx(1)
        (bx, by), (x, y) = curve.points[1], curve.tip
        assert (x - bx) ** 2 + (y - by) ** 2 == pytest.approx(25)


def test_arrows_past_many_nodes_go_around_them() -> None:
    """Routed by Graphviz, a hundred of them took 20 s, and two hundred minutes."""
    calls = [call("step-0"), *(call(f"step-{n}", *dict.fromkeys(("step-0", f"step-{n - 1}"))) for n in range(1, 200))]
    drawn = graph_of(execution(calls))
    layout = layout_of(drawn, {node.id: lines_of(node) for node in drawn.everything()})
    boxes = list(layout.boxes.values())
    bows = [curve for curve in layout.curves if len(curve.points) == 4]
    assert len(bows) == 198
    for curve in bows:
        source, target = layout.boxes[curve.source], layout.boxes[curve.target]
        between = [box for box in boxes if source.y < box.y < target.y]
        (begin, _), (out, _), _, (base, _) = curve.points
        assert min(begin, base) >= max(source.left + source.width, target.left + target.width) - 1
        # The middle of such a curve is three quarters of the way out.
        middle = (begin + base) / 8 + out * 3 / 4
        assert middle > max(box.left + box.width for box in between)
        assert out <= layout.width


def test_arrows_of_a_large_graph_end_at_the_boxes_of_sub_workflows() -> None:
    inner = web(MANY)
    child = call("page-0", "step-0", begin=1, end=2, kind=Kind.WORKFLOW)
    child = replace(child, attempts=[replace(child.attempts[0], child=inner)])
    drawn = graph_of(execution([call("step-0", end=1), child]))
    layout = layout_of(drawn, {node.id: lines_of(node) for node in drawn.everything()})
    into = next(curve for curve in layout.curves if curve.target == drawn.nodes[1].id)
    box = layout.boxes[into.target]
    (x, y) = into.tip
    assert max(abs(x - box.x) * 2 / box.width, abs(y - box.y) * 2 / box.height) == pytest.approx(1)
    assert len(layout.curves) == 1 + len(drawn.nodes[1].inner.arrows if drawn.nodes[1].inner else ())
