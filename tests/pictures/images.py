"""Draws the documentation's pictures from recorded runs: `make pictures`."""

from collections.abc import Iterator
from pathlib import Path

from flowy_cli.pictures.graph import graph_of
from flowy_cli.pictures.graph_svg import graph_svg
from flowy_cli.pictures.timeline import timeline_of
from flowy_cli.pictures.timeline_svg import timeline_svg
from tests.pictures.recordings import recording

FOLDER = Path(__file__).parents[2] / "docs" / "images"


def images() -> Iterator[tuple[str, str]]:
    """File names and what belongs into them."""
    for name in ("video", "nested"):
        yield f"graph-{name}.svg", graph_svg(graph_of(recording(name)), f"Graph of a run of the example {name}")
    yield "timeline-video.svg", timeline_svg(timeline_of(recording("video")), "Timeline of a run of the example video")


if __name__ == "__main__":
    for file, picture in images():
        (FOLDER / file).write_text(picture, encoding="utf-8")
