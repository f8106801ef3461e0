"""The page beside other systems: Flowy's code runs, the others' is well-formed, the lines are counted."""

import ast
from typing import Any

import yaml

from flowy.testing import Rehearsal, Takes
from flowy_cli.documents import objects
from flowy_cli.replaying.replacing import spec_of_manifest
from tests.docs.pages import blocks, rows, section

PAGE = "comparison.md"
FLOWY, ARGO = [block.text for block in blocks(PAGE, "yaml")]
TEMPORAL, QUORUM, TEMPORAL_QUORUM = [block.text for block in blocks(PAGE, "python")]


def test_the_lines_are_counted() -> None:
    counted = [sum(1 for line in text.splitlines() if line.strip()) for text in (FLOWY, ARGO, TEMPORAL)]
    assert list(map(int, rows(section(PAGE, "An album of photos"))[0][1:])) == counted


def test_flowys_manifest_does_what_it_is_said_to_do() -> None:
    spec = spec_of_manifest(FLOWY, PAGE)
    tasks = {
        "list_photos": Takes(5, ["a", "b", "c"]),
        "resize": lambda photo, width: Takes(10, f"{photo}@{width}"),
        "publish": lambda title, photos: {title: photos},
    }
    assert set(spec.tasks) == set(tasks)
    assert all(task.retry.max_attempts == 3 for task in spec.tasks.values())
    (body,) = objects(FLOWY, PAGE)
    run = Rehearsal((spec.source, spec.entrypoint), tasks=tasks).run(*body["spec"]["input"]["args"])
    assert (run.result, run.seconds) == ({"beach": ["a@800", "b@800", "c@800"]}, 15)


def test_flowys_quorum_goes_on_when_two_have_answered() -> None:
    asks = {"a": Takes(3, "a"), "b": Takes(1, "b"), "c": Takes(1000, "c")}
    run = Rehearsal((QUORUM, None), tasks={"ask": asks.get}).run(["a", "b", "c"])
    assert (run.result, run.seconds) == (["b", "a"], 3)
    assert run.calls[2].outcome == "cancelled"


def test_argos_manifest_names_what_is_there() -> None:
    spec: Any = yaml.safe_load(ARGO)["spec"]
    templates = {template["name"]: template for template in spec["templates"]}
    steps = [step for group in templates[spec["entrypoint"]]["steps"] for step in group]
    assert [step["template"] for step in steps] == ["list-photos", "resize", "publish"]
    for step in steps:
        given = {parameter["name"] for parameter in step.get("arguments", {}).get("parameters", ())}
        wanted = {
            parameter["name"] for parameter in templates[step["template"]].get("inputs", {}).get("parameters", ())
        }
        assert given == wanted


def test_temporals_programs_are_python_and_know_their_names() -> None:
    program = ast.parse(TEMPORAL)
    known = {node.name for node in ast.walk(program) if isinstance(node, ast.ClassDef | ast.AsyncFunctionDef)}
    assert {"Album", "list_photos", "resize", "publish", "main"} <= known
    assert any(
        isinstance(node, ast.ClassDef) and node.name == "Quorum" for node in ast.walk(ast.parse(TEMPORAL_QUORUM))
    )
