"""`graph`, `timeline`, `report`, as they are typed."""

import json
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tests.cli.shell import Shell, assert_golden
from tests.fakes.store import Store

HISTORIES = Path(__file__).parents[1] / "histories"
SAGA = str(HISTORIES / "saga.json")


@pytest.fixture
def desk(shell: Shell) -> Shell:
    """A terminal of 80 columns."""
    return Shell(shell.kubeconfig, shell.now, {"COLUMNS": "80"})


def saga() -> dict[str, Any]:
    """The Workflow alone."""
    found: dict[str, Any] = next(
        item for item in json.loads(Path(SAGA).read_text())["items"] if item["kind"] == "Workflow"
    )
    return found


def test_a_run_of_the_cluster_with_its_children(desk: Shell) -> None:
    assert_golden("graph-site.txt", desk.ok("graph", "site"))
    assert_golden("timeline-site.txt", desk.ok("timeline", "site"))


@pytest.mark.parametrize("form", ["text", "svg", "dot", "mermaid"])
def test_the_code_may_run_here_or_locked_in(form: str, desk: Shell) -> None:
    locked_in = desk.ok("graph", SAGA, "-o", form)
    assert desk.ok("graph", SAGA, "-o", form, "--unlocked") == locked_in
    assert "cancel-1" in locked_in


def test_svg_and_page_can_be_read(desk: Shell) -> None:
    for words in (["graph", SAGA, "-o", "svg"], ["timeline", SAGA, "-o", "svg"]):
        assert ET.fromstring(desk.ok(*words, "--unlocked")).tag == "{http://www.w3.org/2000/svg}svg"
    page = desk.ok("report", SAGA, "--unlocked")
    assert page.startswith("<!doctype html>")
    assert page.rstrip().endswith("</html>")


@pytest.mark.parametrize("picture", ["graph", "timeline"])
def test_a_run_that_has_called_nothing_has_nothing_to_show(picture: str, desk: Shell, tmp_path: Path) -> None:
    run = saga()
    run["spec"]["code"]["source"] = "import nonsense"
    run["status"] = {"startTime": run["status"]["startTime"]}
    file = tmp_path / "run.json"
    file.write_text(json.dumps(run))
    assert desk.ok(picture, str(file), "--unlocked").endswith("\n\nno task has been called\n")


@pytest.mark.parametrize(
    ("field", "value"),
    {
        "arguments as text": ("input", {"json": '{"args": [3], "kwargs": {}}'}),
        "tasks without names": ("tasks", [{}]),
        "no tasks": ("tasks", []),
        "arguments that are no JSON": ("input", {"json": "nonsense"}),
    }.values(),
)
def test_a_spec_that_was_edited_is_drawn_as_far_as_it_goes(
    field: str, value: object, desk: Shell, tmp_path: Path
) -> None:
    run = saga()
    run["spec"][field] = value
    file = tmp_path / "run.json"
    file.write_text(json.dumps(run))
    assert "cancel-1" in desk.ok("graph", str(file), "--unlocked")


def test_all_draws_each_task(desk: Shell) -> None:
    """The loop calls 150 steps in each run."""
    assert "150 step" in desk.ok("graph", "loop", "--unlocked")
    assert desk.ok("graph", "loop", "--unlocked", "--all").count("step-") >= 150


def test_a_run_before_a_restart(desk: Shell) -> None:
    assert desk.ok("timeline", "loop", "--run", "1", "--unlocked").splitlines()[0].endswith("Restarted: run 2 followed")
    assert "has no events of run 9" in desk.fails(3, "graph", "loop", "--run", "9", "--unlocked")


def test_without_locks_there_are_no_arrows(desk: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a system that isn't Linux, as far as the command can tell."""
    monkeypatch.setattr("flowy_cli.replaying.decider.sys.platform", "darwin")
    done = desk("graph", SAGA)
    assert done.exit_code == 0
    assert "arrows are missing: workflow code is locked in by Linux, and this is darwin" in done.stderr
    assert "book-2" in done.stdout
    assert "⇠" not in done.stdout
    page = desk.ok("report", SAGA)
    assert "Arrows are missing: workflow code is locked in by Linux" in page


def test_a_workflow_that_has_only_begun(desk: Shell, store: Store) -> None:
    broken = store.get(store.kind("workflows"), "ns", "broken")
    store.create(store.kind("workflows"), "ns", {"metadata": {"name": "fresh"}, "spec": broken["spec"]})
    heading, _, check, waits = desk.ok("graph", "fresh", "--unlocked").splitlines()
    assert heading.startswith("fresh: running, ")
    assert check.split() == ["○", "check-0", "not", "started"]
    assert waits.split() == ["┄", "line", "5", "waits", "⇠", "check-0"]
    assert "fresh" in desk.ok("report", "fresh", "--unlocked")


def test_an_edited_history_is_told(desk: Shell, tmp_path: Path) -> None:
    edited = json.loads(Path(SAGA).read_text())
    edited["items"][0]["status"]["history"][1]["task"] = "nobody-0"
    file = tmp_path / "saga.json"
    file.write_text(json.dumps(edited))
    told = desk.fails(2, "graph", str(file))
    assert "the history of saga can't be read: event" in told
    assert "somebody has edited it" in told


@pytest.mark.parametrize("command", ["graph", "history", "replay"])
def test_a_newer_history_is_told(desk: Shell, tmp_path: Path, command: str) -> None:
    newer = json.loads(Path(SAGA).read_text())
    newer["items"][0]["status"]["history"][1]["by"] = "whom"
    file = tmp_path / "saga.json"
    file.write_text(json.dumps(newer))
    told = desk.fails(2, command, str(file))
    assert "unknown field 'by'" in told
    assert "if a newer version of Flowy has written it, update this one" in told


def test_without_graphviz_all_but_places_is_there(desk: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    for words in (["graph", SAGA, "-o", "svg"], ["report", SAGA]):
        assert "pip install 'pygraphviz>=2.0.4'" in desk.fails(1, *words, "--unlocked")
    for words in (["graph", SAGA], ["graph", SAGA, "-o", "dot"], ["timeline", SAGA, "-o", "svg"]):
        assert "cancel-1" in desk.ok(*words, "--unlocked")
