"""The squares example: a step in each of three languages, run as its container runs it, and the code over them."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.examples.container import EXAMPLES, Containers, factory, manifest

SQUARES = EXAMPLES / "squares"
GO, PYTHON = "flowy.local/examples/square-go:1", "flowy.local/examples/add-python:1"


@pytest.fixture(scope="module")
def square_go(tmp_path_factory: pytest.TempPathFactory) -> Path:
    binary = tmp_path_factory.mktemp("go") / "square"
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local"}
    subprocess.run(["go", "build", "-o", binary, "."], cwd=SQUARES / "go", env=environment, check=True)
    return binary


@pytest.fixture
def there(tmp_path: Path, square_go: Path) -> Containers:
    entrypoints = {GO: [str(square_go)], PYTHON: [sys.executable, str(SQUARES / "python/add.py")]}
    return Containers(manifest("squares"), tmp_path, tmp_path, entrypoints)


def test_the_sum_of_two_squares(there: Containers) -> None:
    workflow = factory(there.workflow)(**there.functions())
    assert workflow(*there.workflow["spec"]["input"]["args"]) == 25
    assert workflow(-2, 10) == 104


def test_no_integer_is_too_large(there: Containers) -> None:
    assert there.run("square_in_go", 10**30).value == 10**60
    assert there.run("add", 10**60, 1).value == 10**60 + 1


BAD: Mapping[str, tuple[str, list[object], str]] = {
    "Go: a text": ("square_in_go", ["four"], "the arguments are no list of numbers"),
    "Go: a fraction": ("square_in_go", [1.5], 'square takes an integer, got "1.5"'),
    "Go: nothing": ("square_in_go", [], "square takes 1 argument, got 0"),
    "Go: two": ("square_in_go", [1, 2], "square takes 1 argument, got 2"),
    "Python: a text": ("add", [1, "two"], 'add takes integers, got "two"'),
    "Python: a truth value": ("add", [1, True], "add takes integers, got true"),
    "Python: nothing": ("add", [], "add takes at least 1 argument"),
}


@pytest.mark.parametrize(("task", "args", "message"), BAD.values(), ids=BAD)
def test_bad_arguments_give_a_clear_error(there: Containers, task: str, args: list[object], message: str) -> None:
    outcome = there.run(task, *args)
    assert outcome.error["type"] == "BadArgument"
    assert message in outcome.error["message"]
    assert outcome.error["retryable"] is False
    assert message in outcome.log


@pytest.mark.parametrize("arg", ["four", "1.5", "", [3]], ids=str)
def test_the_shell_refuses_what_is_no_integer(there: Containers, arg: object) -> None:
    outcome = there.run("square_in_shell", arg)
    assert outcome.status != 0
    assert outcome.value is None, "with nothing in the result file, the log is the error"
    assert outcome.log


def test_zero_and_negative_numbers_have_squares(there: Containers) -> None:
    for task in ("square_in_shell", "square_in_go"):
        assert [there.run(task, n).value for n in (0, -3)] == [0, 9]


def test_the_go_image_needs_no_system(square_go: Path) -> None:
    # FROM scratch has no C library: the file must ask for no interpreter.
    assert b"/ld-linux" not in square_go.read_bytes()
