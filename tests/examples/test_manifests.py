"""What holds for every example's manifest and source."""

import inspect
import re

import pytest

from tests.examples.container import EXAMPLES, expand, factory, image, manifest

NAMES = sorted(path.parent.name for path in EXAMPLES.glob("*/workflow.yaml"))


def test_there_are_examples_and_each_is_in_the_index() -> None:
    index = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert NAMES == ["album", "heartbeat", "hello", "saga", "squares", "video"]
    for name in NAMES:
        assert f"]({name}/)" in index, f"{name} is missing in examples/README.md"
        assert (EXAMPLES / name / "README.md").is_file()


@pytest.mark.parametrize("name", NAMES)
def test_the_tasks_are_what_the_factory_takes(name: str) -> None:
    workflow = manifest(name)
    assert (workflow["apiVersion"], workflow["kind"]) == ("flowy.dev/v1alpha1", "Workflow")
    assert {task["name"] for task in workflow["spec"]["tasks"]} == set(inspect.signature(factory(workflow)).parameters)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_read_of_the_manifest_stands_in_its_readme(name: str) -> None:
    # The README shows the code; it must be the code.
    source = manifest(name)["spec"]["code"]["source"].strip()
    readme = (EXAMPLES / name / "README.md").read_text(encoding="utf-8")
    assert source in readme, f"examples/{name}/README.md shows other code than workflow.yaml"


def test_local_images_are_built_by_their_dockerfiles() -> None:
    workflows = [manifest(name) for name in NAMES]
    named = {image(workflow, task["activity"]) for workflow in workflows for task in workflow["spec"]["tasks"]}
    readmes = "".join((EXAMPLES / name / "README.md").read_text(encoding="utf-8") for name in NAMES)
    built = dict(re.findall(r"docker build -t (\S+) (\S+)", readmes))
    assert {name for name in named if name.startswith("flowy.local/")} == set(built)
    for folder in built.values():
        assert (EXAMPLES.parent / folder / "Dockerfile").is_file()


def test_expansion_is_that_of_kubernetes() -> None:
    known = {"A": "a b", "B": "$(A)"}
    assert expand("$(A) $(B) $(C) $$(A) $A $((1 + 1)) $", known) == "a b $(A) $(C) $(A) $A $((1 + 1)) $"
