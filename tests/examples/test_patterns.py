"""The patterns: their code run sequentially over the real steps, and what their README says of them."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from flowy import TaskError
from tests.examples.container import EXAMPLES, Containers

FOLDER = EXAMPLES / "patterns"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load(name: str) -> Mapping[str, Any]:
    return yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def sequential(workflow: Mapping[str, Any], folder: Path) -> Callable[..., Any]:
    """The workflow with functions for tasks: an activity is its program, a sub-workflow its factory over the same tasks."""
    there = Containers(workflow, folder, folder)
    names: dict[str, Any] = {"__name__": "workflow"}
    exec(workflow["spec"]["code"]["source"], names)  # the examples' own code
    factories = {name: found for name, found in names.items() if getattr(found, "__module__", None) == "workflow"}

    def activity(task: str) -> Callable[..., Any]:
        def call(*args: object) -> Any:
            outcome = there.run(task, *args)
            if outcome.status:
                raise TaskError(outcome.log.strip())
            return outcome.value

        return call

    def built(entrypoint: str) -> Callable[..., Any]:
        factory = factories[entrypoint]
        wanted = factory.__code__.co_varnames[: factory.__code__.co_argcount]
        return factory(**{name: tasks[name] for name in wanted})  # type: ignore[no-any-return]

    def child(entrypoint: str) -> Callable[..., Any]:
        def call(*args: object) -> Any:
            return built(entrypoint)(*args)  # built late, since a factory may have itself as a task

        return call

    tasks = {
        task["name"]: child(task["workflow"]["entrypoint"]) if "workflow" in task else activity(task["name"])
        for task in workflow["spec"]["tasks"]
    }
    return built(workflow["spec"]["code"].get("entrypoint") or next(iter(factories)))


@pytest.mark.parametrize(
    ("name", "args", "expected"),
    [
        ("saga", None, {"failed": "no car left", "undone": ["hotel", "flight"]}),
        ("saga", ["flight", "hotel"], {"booked": ["flight", "hotel"]}),
        ("fibonacci", None, 5),
        ("fibonacci", [10], 55),
        ("map-reduce", None, 11),
        ("map-reduce", ["one. two three"], 3),
        ("quorum", [["west", "east", "north"], 2], ["west says yes", "east says yes"]),
        ("nested", None, [["home/top", "home/text"], ["about/top", "about/text"]]),
    ],
)
def test_a_pattern_gives(name: str, args: list[Any] | None, expected: object, tmp_path: Path) -> None:
    workflow = load(name)
    given = workflow["spec"].get("input", {}).get("args", []) if args is None else args
    assert sequential(workflow, tmp_path)(*given) == expected


def test_the_coin_is_flipped_until_heads(tmp_path: Path) -> None:
    flips = sequential(load("coin-flip"), tmp_path)
    assert all(flips() >= 1 for _ in range(5))


def test_the_handler_is_told_and_the_error_goes_on(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="no compiler"):
        sequential(load("exit-handler"), tmp_path)()


def test_the_readme_lists_every_pattern_with_its_lines() -> None:
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    listed = {name: int(lines) for name, lines in re.findall(r"\]\((\S+)\.yaml\) \|[^|]*\| (\d+) \|", readme)}
    assert listed == {name: len((FOLDER / f"{name}.yaml").read_text().splitlines()) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_a_pattern_is_named_like_its_file(name: str) -> None:
    assert load(name)["metadata"]["name"] == name
