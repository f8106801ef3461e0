"""Recorded runs as text, dot and Mermaid: what people and other programs read."""

import pytest

from flowy_cli.pictures.dot import dot
from flowy_cli.pictures.graph import graph_of
from flowy_cli.pictures.graph_text import graph_text
from flowy_cli.pictures.mermaid import mermaid
from flowy_cli.pictures.timeline import timeline_of
from flowy_cli.pictures.timeline_text import timeline_text
from tests.pictures.recordings import NAMES, assert_golden, recording


@pytest.mark.parametrize("name", NAMES)
def test_graph(name: str) -> None:
    drawn = graph_of(recording(name))
    assert_golden(f"{name}.graph.txt", graph_text(drawn, 100))
    assert_golden(f"{name}.dot", dot(drawn, name))
    assert_golden(f"{name}.mmd", mermaid(drawn))


@pytest.mark.parametrize("name", NAMES)
def test_timeline(name: str) -> None:
    assert_golden(f"{name}.timeline.txt", timeline_text(timeline_of(recording(name)), 100))
