"""The plugin of pytest, as a project of somebody else would use it."""

import json
import shutil
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from flowy_cli.pictures import local, timeline_text  # noqa: F401 - as below
from flowy_pytest import captured  # noqa: F401 - pytester unloads what a test has loaded, and C modules come once only

ROOT = Path(__file__).resolve().parents[2]
SAGA = ROOT / "tests" / "histories" / "saga.json"
CODE: str = next(
    item["spec"]["code"]["source"] for item in json.loads(SAGA.read_text())["items"] if item["kind"] == "Workflow"
)

pytest_plugins = ["pytester"]


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project with a captured history and the code that made it."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # of the other plugins, which take seconds to load
    tests = pytester.mkdir("tests")
    shutil.copy(SAGA, tests / "saga.json")
    (tests / "trip.py").write_text(CODE)
    return pytester


def _run(project: pytest.Pytester, test: str) -> pytest.RunResult:
    (project.path / "tests" / "test_it.py").write_text(test)
    return project.runpytest_inprocess("tests", "-p", "flowy_pytest.plugin", "-p", "no:cacheprovider")


def test_a_captured_history_is_replayed(project: pytest.Pytester) -> None:
    test = """
import importlib.util, pathlib, sys

spec = importlib.util.spec_from_file_location("trip_code", pathlib.Path(__file__).with_name("trip.py"))
trip_code = importlib.util.module_from_spec(spec)
sys.modules["trip_code"] = trip_code
spec.loader.exec_module(trip_code)

def test_its_own_code(flowy_replays):
    assert flowy_replays("saga.json") == 5

def test_a_file(flowy_replays):
    assert flowy_replays("saga.json", "trip.py") == 5

def test_a_factory(flowy_replays):
    assert flowy_replays("saga.json", trip_code.trip) == 5

def test_a_manifest(flowy_replays):
    assert flowy_replays("saga.json", "saga.json", entrypoint="trip") == 5
"""
    _run(project, test).assert_outcomes(passed=4)


@pytest.mark.parametrize("given", ['"trip.py"', "trip"])
def test_code_that_cannot_go_on_is_told_with_its_line(project: pytest.Pytester, given: str) -> None:
    changed = CODE.replace("booking = book(leg)", "booking = book(leg, 2)")
    assert changed != CODE
    (project.path / "tests" / "trip.py").write_text(changed)
    test = f"""
import pathlib
exec(compile(pathlib.Path(__file__).with_name("trip.py").read_text(), str(pathlib.Path(__file__).with_name("trip.py")), "exec"))

def test_it(flowy_replays):
    flowy_replays("saga.json", {given})
"""
    result = _run(project, test)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*AssertionError: saga can't be continued by this code",
            "*DIVERGES at line 9",
            "*booking = book(leg, 2)",
            '*expected   book-0("flight"), line 9',
            '*got        book-0("flight", 2)',
        ]
    )
    assert "captured.py:" not in result.stdout.str()


def test_a_file_that_is_none_is_told(project: pytest.Pytester) -> None:
    result = _run(project, "def test_it(flowy_replays):\n    flowy_replays('trip.py')\n")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*trip.py is neither YAML nor JSON*"])
    result = _run(project, "def test_it(flowy_replays):\n    flowy_replays('nowhere.yaml')\n")
    result.stdout.fnmatch_lines(["*nowhere.yaml can't be read: No such file or directory*"])


def test_advice_stands_below_the_error(project: pytest.Pytester) -> None:
    (project.path / "tests" / "other.yaml").write_text("kind: Pod\nmetadata: {name: a}\n")
    result = _run(project, "def test_it(flowy_replays):\n    flowy_replays('other.yaml')\n")
    result.stdout.fnmatch_lines(["*other.yaml holds no Workflow", "*it needs an object with apiVersion*"])


def test_the_code_of_a_manifest_and_of_a_file(project: pytest.Pytester) -> None:
    test = """
from flowy.testing import decide

def test_both(flowy_code):
    assert flowy_code("trip.py") == (flowy_code("saga.json")[0], None)
    assert flowy_code("trip.py", "trip")[1] == "trip"
    assert [call.key for call in decide(flowy_code("saga.json"), args=[["flight"]]).scheduled] == ["book-0"]
"""
    _run(project, test).assert_outcomes(passed=1)


def test_a_failed_test_shows_what_it_rehearsed(project: pytest.Pytester) -> None:
    test = """
from flowy.testing import Attempts, Fails, Rehearsal, Takes

def video(embed, encode):
    return lambda film: [encode(embed(film), form) for form in ("mp4", "webm")]

tasks = {"embed": Takes(5, "m"), "encode": Attempts(Takes(2, Fails("Lost")), Takes(9, "film"))}
rehearsal = Rehearsal(video, tasks=tasks, settings={"encode": {"retry": {"when": ["Error"]}}})

def test_it(flowy_rehearse):
    run = flowy_rehearse(rehearsal, ["talk"])
    assert run.seconds == 12

def test_well(flowy_rehearse):
    assert flowy_rehearse(rehearsal, kwargs={"film": "talk"}).seconds == 16
"""
    result = _run(project, test)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        ["*- flowy: video -*", "completed: *'film', 'film'*", "*embed-0*█*5.0 s", "*encode-1*▒*█*11 s"]
    )
    assert result.stdout.str().count("- flowy: video -") == 1


def test_letters_are_no_arguments(project: pytest.Pytester) -> None:
    test = """
from flowy.testing import Rehearsal

def test_it(flowy_rehearse):
    flowy_rehearse(Rehearsal(lambda task: lambda *args: task(*args), tasks={"task": 1}), "talk")
"""
    _run(project, test).stdout.fnmatch_lines(["*TypeError: args is the text 'talk': a list is expected, ?'talk'?"])


def test_pytest_finds_the_plugin_by_itself() -> None:
    (found,) = entry_points(group="pytest11", name="flowy")
    assert found.value == "flowy_pytest.plugin"


def test_the_plugin_loads_nothing_but_pytest() -> None:
    code = "import sys, flowy_pytest.plugin; print([m for m in sys.modules if m.startswith(('flowy.', 'flowy_cli', 'yaml', 'rich'))])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
