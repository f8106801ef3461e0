"""The page about tests: its blocks are a test file that passes, its tables are complete."""

import dataclasses
import inspect
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import flowy.testing
from flowy.testing import CallMade, Decision, Fails, Rehearsal, Rehearsed, Takes, decide, same_in_every_order
from flowy_pytest import plugin
from flowy_pytest.captured import assert_replays, code_of
from tests.docs.pages import DOCS, blocks, codes, rows, section

PAGE = "testing.md"
ROOT = DOCS.parent
HISTORY = ROOT / "tests" / "histories" / "saga.json"


def test_the_blocks_are_a_test_file_that_passes(tmp_path: Path) -> None:
    """With the page's own line numbers, so that a failed claim is found at once."""
    lines: list[str] = []
    for block in blocks(PAGE, "python"):
        lines += [""] * (block.line - 1 - len(lines)) + block.text.splitlines()
    (tmp_path / "test_trip.py").write_text("\n".join(lines))
    (tmp_path / "histories").mkdir()
    shutil.copy(HISTORY, tmp_path / "histories" / "trip-42.yaml")
    shutil.copy(ROOT / "examples" / "saga" / "workflow.yaml", tmp_path)
    # Without the other plugins, which take seconds to load.
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "flowy_pytest.plugin",
        "test_trip.py",
    ]
    environment = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    tests = (
        "\n".join(lines).count("\ndef test_")
        + len(re.findall(r'^    "', section(PAGE, "One decision"), re.MULTILINE))
        - 1
    )
    assert f"{tests} passed" in done.stdout


def test_the_workflow_is_the_examples() -> None:
    first = next(iter(blocks(PAGE, "python"))).text
    indented = "\n".join(f"      {line}".rstrip() for line in first[first.index("def trip") :].splitlines())
    assert indented in (ROOT / "examples" / "saga" / "workflow.yaml").read_text()


def _first_cells(heading: str) -> list[list[str]]:
    return [codes(row[0]) for row in rows(section(PAGE, heading))]


def _parameters(of: Callable[..., object]) -> set[str]:
    return {name for name in inspect.signature(of).parameters if name not in {"workflow", "self"}}


def _names(cells: list[list[str]]) -> set[str]:
    return {re.split(r"[(. ]", name)[0] for cell in cells for name in cell}


def test_the_tables_of_decide_are_complete() -> None:
    cells = _first_cells("One decision")
    fields = {field.name for field in dataclasses.fields(Decision)}
    assert _names(cells) == _parameters(decide) | fields


def test_the_tables_of_a_rehearsal_are_complete() -> None:
    cells = _first_cells("A whole run")
    fields = {field.name for field in dataclasses.fields(Rehearsed)} | {"ending", "calls_of"}
    assert _names(cells) == _parameters(Rehearsal) | fields
    (calls,) = [row for row in rows(section(PAGE, "A whole run")) if row[0] == "`calls`"]
    assert {field.name for field in dataclasses.fields(CallMade)} <= set(codes(calls[1]))


def test_the_table_of_fixtures_is_complete() -> None:
    fixtures = {name for name, value in vars(plugin).items() if name.startswith("flowy_") and callable(value)}
    assert _names(_first_cells("In pytest")) == fixtures


def test_every_name_of_the_module_is_shown_or_its_fields_are() -> None:
    text = (DOCS / PAGE).read_text()
    of_fields = {"Call", "CallMade", "Decision", "Orders", "Outcome", "Rehearsed"}
    assert [name for name in flowy.testing.__all__ if name not in text and name not in of_fields] == []


def test_the_number_of_runs_is_the_default() -> None:
    default = inspect.signature(same_in_every_order).parameters["runs"].default
    assert f"({default}, if you don't say)" in " ".join(section(PAGE, "Every order").split())


def test_the_message_is_that_of_the_assertion() -> None:
    def hasty(ask: Callable[..., object]) -> Callable[..., object]:
        return lambda: flowy.first(ask("yes"), ask("no"))

    with pytest.raises(AssertionError) as caught:
        same_in_every_order(Rehearsal(hasty, tasks={"ask": lambda word: Takes(1, word)}))
    assert next(iter(blocks(PAGE, "text"))).text.strip() == str(caught.value)


def test_what_a_failed_test_shows_is_what_the_plugin_draws() -> None:
    scope: dict[str, Any] = {}
    exec(next(iter(blocks(PAGE, "python"))).text, scope)
    tasks = {"book": lambda leg: Takes(8, "f") if leg == "flight" else Takes(7, Fails("Full")), "cancel": Takes(1)}
    run = Rehearsal(scope["trip"], tasks=tasks).run(["flight", "hotel"])
    shown = list(blocks(PAGE, "text"))[2].text
    assert shown.partition("\n")[2] == plugin._drawn(run)
    assert shown.partition("\n")[0].strip("- ") == f"flowy: {run.trace['workflow']}"


def test_the_divergence_is_what_a_changed_code_gives(tmp_path: Path) -> None:
    (tmp_path / "trip.py").write_text(code_of(HISTORY)[0].replace("booking = book(leg)", "booking = book(leg, 2)"))
    with pytest.raises(AssertionError) as caught:
        assert_replays(HISTORY, tmp_path / "trip.py")
    assert list(blocks(PAGE, "text"))[1].text == f"AssertionError: {caught.value}"
