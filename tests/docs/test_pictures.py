"""The page about pictures: its pictures and texts are what the commands draw of recorded runs."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from flowy_cli.commands.drawing import graph, report, timeline
from flowy_cli.main import flowy
from flowy_cli.pictures.graph import STACKED
from flowy_cli.pictures.report import KEYS, SHOWN_CHARS
from tests.docs.pages import DOCS, blocks, codes, page, rows, section
from tests.pictures.images import images
from tests.pictures.recordings import HISTORIES

PAGE = "pictures.md"


def test_the_pictures_are_those_of_the_recorded_runs() -> None:
    """`make pictures` draws them anew."""
    drawn = dict(images())
    for file, picture in drawn.items():
        assert (DOCS / "images" / file).read_text(encoding="utf-8") == picture, file
        assert f"(images/{file})" in page(PAGE)


@pytest.mark.parametrize(("number", "command"), [(0, "graph"), (1, "timeline")])
def test_the_texts_are_what_the_commands_print(number: int, command: str) -> None:
    saga = str(Path(HISTORIES / "saga.json"))
    done = CliRunner(env={"COLUMNS": "100"}).invoke(flowy, [command, saga, "--unlocked"])
    assert done.exit_code == 0
    assert list(blocks(PAGE, "text"))[number].text == done.stdout


def test_the_commands_and_their_options_exist() -> None:
    text = page(PAGE)
    for command in (graph, timeline, report):
        assert f"flowy {command.name} " in text
    options = {option for parameter in graph.params for option in parameter.opts}
    assert {"--run", "--all", "-o", "--unlocked"} <= options
    for form in ("svg", "dot", "mermaid"):
        assert f"`-o {form}`" in text


def test_the_keys_are_those_of_the_page() -> None:
    told = [" ".join(codes(key)) for key, _ in rows(section(PAGE, "Report"))]
    assert sorted(told) == sorted(keys for keys, _ in KEYS)


def test_the_limits_are_those_of_the_code() -> None:
    assert f"more than {SHOWN_CHARS:,} characters" in section(PAGE, "Report")
    assert {8: "More than eight"}[STACKED] in section(PAGE, "Graph")
