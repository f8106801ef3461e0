"""The CRD as a text: what the API server and the API conventions ask of a schema, and how models become one."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from click.testing import CliRunner
from pydantic import BaseModel, Field

from flowy_operator.adapters.crd import model, rules, schema
from flowy_operator.adapters.crd.__main__ import generated, main
from flowy_operator.adapters.crd.kinds import WORKFLOW
from flowy_operator.adapters.crd.shape import Shape

ROOT = Path(__file__).parents[3]
CRD = ROOT / "crds/workflows.flowy.dev.yaml"

Node = dict[str, Any]


def root() -> Node:
    schema_of_version: Node = schema.crd(WORKFLOW)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema_of_version


def nodes(node: Node, path: str = "") -> Iterator[tuple[str, Node]]:
    yield path, node
    for name, child in node.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}" if path else name)
    if "items" in node:
        yield from nodes(node["items"], f"{path}[]")


NODES = dict(nodes(root()))
OURS = {path: node for path, node in NODES.items() if path.startswith(("spec", "status"))}


@pytest.mark.parametrize("path", generated(), ids=str)
def test_generated_file_is_what_the_models_say(path: Path) -> None:
    assert (ROOT / path).read_bytes() == generated()[path].encode()


def test_the_crd_is_small() -> None:
    assert len(CRD.read_bytes()) < 100_000


def test_the_text_says_what_the_crd_is() -> None:
    assert yaml.safe_load(CRD.read_text()) == schema.crd(WORKFLOW)


def test_the_text_has_no_anchors() -> None:
    assert not re.search(r"[&*]id\d+", CRD.read_text())


# Structural schema: apiextensions' rules, and bounds for the cost of CEL.


def test_keywords_are_those_of_a_structural_schema() -> None:
    allowed = set(schema._KEPT) - {"absent"}
    assert {path: node.keys() - allowed for path, node in NODES.items() if node.keys() - allowed} == {}


ANYTHING = {"x-kubernetes-preserve-unknown-fields": True, "nullable": True}


def test_what_has_no_type_is_preserved_and_may_be_null() -> None:
    assert {path: node for path, node in NODES.items() if "type" not in node} == {"spec.input.args[]": ANYTHING}


def test_cel_sees_every_key_that_it_compares() -> None:
    """A map that preserves unknown fields itself would let a renamed key pass as no change."""
    preserved = {
        path for path, node in NODES.items() if "type" in node and "x-kubernetes-preserve-unknown-fields" in node
    }
    assert preserved == {"status.history[]"}  # which no rule compares
    assert all(node.get("additionalProperties", ANYTHING) == ANYTHING for node in NODES.values())


def bounded(node: Node) -> bool:
    match node.get("type"):
        case "string":
            return "maxLength" in node or "enum" in node or node.get("format") == "date-time"
        case "integer":
            return "minimum" in node and "maximum" in node and node["format"] in {"int32", "int64"}
        case "array":
            return "maxItems" in node and "x-kubernetes-list-type" in node
        case "object":
            return "properties" in node or "maxProperties" in node
        case "boolean" | None:
            return True
    return False


def test_everything_is_bounded() -> None:
    assert [path for path, node in NODES.items() if not bounded(node)] == []


def test_integers_fit_their_width() -> None:
    for path, node in NODES.items():
        if node.get("type") == "integer":
            bits = 31 if node["format"] == "int32" else 63
            assert -(2**bits) <= node["minimum"] <= node["maximum"] < 2**bits, path


def test_required_fields_exist() -> None:
    for path, node in NODES.items():
        assert set(node.get("required", ())) <= set(node.get("properties", {})), path


def test_keys_of_list_maps_are_required_scalars() -> None:
    for path, node in NODES.items():
        for key in node.get("x-kubernetes-list-map-keys", ()):
            assert key in node["items"]["required"], path
            assert node["items"]["properties"][key]["type"] == "string", path


def test_every_rule_has_a_message_on_one_line() -> None:
    told = [rule for node in NODES.values() for rule in node.get("x-kubernetes-validations", ())]
    assert told
    for rule in told:
        assert rule["message"], rule
        assert "\n" not in rule["message"] + rule["rule"]


# The API conventions, as far as a linter can hold them.


def test_no_floats() -> None:
    assert not [path for path, node in NODES.items() if node.get("type") == "number"]


def test_booleans_are_enums_but_for_two_that_ask_for_no_more() -> None:
    assert [path for path, node in NODES.items() if node.get("type") == "boolean"] == [
        "spec.tasks[].activity.gateway",
        "spec.suspend",
    ]


def test_maps_are_kwargs_and_shapes_of_pods() -> None:
    maps = {path for path, node in OURS.items() if node.get("type") == "object" and "properties" not in node}
    activity = "spec.tasks[].activity"
    assert maps == {
        "spec.input.kwargs",
        f"{activity}.env[].valueFrom",
        f"{activity}.resources.requests",
        f"{activity}.resources.limits",
        f"{activity}.resources.claims[]",
        f"{activity}.template.metadata",
        f"{activity}.template.spec",
        "spec.defaults.template.metadata",
        "spec.defaults.template.spec",
        "status.history[]",
    }


def test_durations_say_their_unit() -> None:
    for path, node in OURS.items():
        name = path.rpartition(".")[2].removesuffix("[]")
        if (
            re.search(r"timeout|delay|ttl|keep|ToStart|ToClose|interval|period", name, re.IGNORECASE)
            and node["type"] != "object"
        ):
            assert "Seconds" in name, path


def test_names_are_camel_case() -> None:
    for path in OURS:
        for name in path.replace("[]", "").split("."):
            assert re.fullmatch(r"[a-z][A-Za-z]*", name), path


def test_lists_of_named_things_are_keyed_by_name() -> None:
    atomic = {
        path
        for path, node in OURS.items()
        if "name" in node.get("items", {}).get("properties", {}) and node["x-kubernetes-list-type"] != "map"
    }
    assert atomic == {"spec.tasks[].activity.env"}  # in a list map a new order counts as no change; here it is one


def test_conditions_are_a_list_map_and_stand_first() -> None:
    status = NODES["status"]
    assert next(iter(status["properties"])) == "conditions"
    assert NODES["status.conditions"]["x-kubernetes-list-map-keys"] == ["type"]
    assert set(NODES["status.conditions[]"]["required"]) == {
        "type",
        "status",
        "lastTransitionTime",
        "reason",
        "message",
    }


def test_everything_is_described_in_sentences() -> None:
    silent = [path for path, node in OURS.items() if not path.endswith("[]") and "description" not in node]
    assert silent == []
    for path, node in OURS.items():
        if description := node.get("description"):
            assert description[0].isupper() or description.startswith("$"), path
            assert description.endswith("."), path
            assert "\n" not in description, path


def test_every_field_of_the_spec_is_either_fixed_or_named_as_changeable() -> None:
    fixed = {rule["fieldPath"][1:] for rule in NODES["spec"]["x-kubernetes-validations"] if "oldSelf" in rule["rule"]}
    assert fixed | {"suspend", "parallelism", "ttlSecondsAfterFinished"} == set(NODES["spec"]["properties"])
    assert not fixed & {"suspend", "parallelism", "ttlSecondsAfterFinished"}


def test_the_status_is_a_subresource_and_there_is_no_scale() -> None:
    [version] = schema.crd(WORKFLOW)["spec"]["versions"]
    assert version["subresources"] == {"status": {}}
    assert (version["served"], version["storage"]) == (True, True)


def test_names_do_not_collide_with_argo() -> None:
    names = schema.crd(WORKFLOW)["spec"]["names"]
    assert names["shortNames"] == ["fwf"]
    assert names["categories"] == ["flowy"]


# The generator.


class Inner(BaseModel):
    """An inner object."""

    count: int = Field(ge=0, le=5)


class Outer(BaseModel):
    """An outer object."""

    own: Inner | None = Field(None, description="Its own words.")
    plain: Inner
    some: list[Inner] = Field(default_factory=list, max_length=3)
    wide: int = Field(ge=0, le=2**40)
    one: Literal["a"] = "a"
    free: Any = None
    open: dict[str, Any] = Field(default_factory=dict, max_length=2)
    ruled: str = Field("x", json_schema_extra=rules.rules({"rule": "true", "message": "m"}))


INNER = {
    "description": "An inner object.",
    "properties": {"count": {"type": "integer", "minimum": 0, "maximum": 5, "format": "int32"}},
    "required": ["count"],
    "type": "object",
}


def test_models_become_structural() -> None:
    made = schema.structural(Outer)
    assert made == {
        "description": "An outer object.",
        "type": "object",
        "required": ["plain", "wide"],
        "properties": {
            "own": {**INNER, "description": "Its own words."},
            "plain": INNER,
            "some": {"type": "array", "items": INNER, "maxItems": 3, "x-kubernetes-list-type": "atomic"},
            "wide": {"type": "integer", "minimum": 0, "maximum": 2**40, "format": "int64"},
            "one": {"type": "string", "enum": ["a"]},
            "free": {"x-kubernetes-preserve-unknown-fields": True, "nullable": True},
            "open": {"type": "object", "maxProperties": 2, "additionalProperties": ANYTHING},
            "ruled": {"type": "string", "x-kubernetes-validations": [{"rule": "true", "message": "m"}]},
        },
    }


class Alternatives(BaseModel):
    either: int | str


class TypedMap(BaseModel):
    by_name: dict[str, int]


class Exclusive(BaseModel):
    above: float = Field(gt=1)


class Unbounded(BaseModel):
    count: int


IMPOSSIBLE: Mapping[str, tuple[type[BaseModel], str]] = {
    "alternatives": (Alternatives, "Alternatives.either: a structural schema has no alternatives of several types"),
    "a map of typed values": (TypedMap, "TypedMap.by_name: a map of typed values"),
    "an exclusive bound": (Exclusive, "Exclusive.above: exclusiveMinimum has no place in a structural schema"),
    "an integer without bounds": (Unbounded, "Unbounded.count: an integer needs both bounds"),
}


@pytest.mark.parametrize(("shape", "message"), IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_what_a_structural_schema_cannot_say_is_an_error_of_ours(shape: type[BaseModel], message: str) -> None:
    with pytest.raises(TypeError, match=f"^{re.escape(message)}"):
        schema.structural(shape)


def test_what_absence_means_is_told_in_the_description_at_every_depth() -> None:
    explained = dict(nodes(schema.published(schema.structural(model.Workflow))))
    assert explained["spec.parallelism"]["description"].endswith("Absent: that of the definition, else 1000.")
    assert explained["spec.tasks[].retry.delaysSeconds"]["description"].endswith("else [0].")
    assert "absent" not in {keyword for node in explained.values() for keyword in node}


def test_keywords_named_in_the_rule_are_all_of_them() -> None:
    [rule] = NODES["spec.tasks[].name"]["x-kubernetes-validations"]
    assert "'False', 'None', 'True', 'and'" in rule["rule"]
    assert len(re.findall(r"'\w+'", rule["rule"])) == 35


def test_unknown_fields_are_ignored_and_nothing_is_converted() -> None:
    class Small(Shape):
        max_count: int

    assert Small.model_validate({"maxCount": 1, "newer": 2}).max_count == 1
    with pytest.raises(ValueError, match="maxCount"):
        Small.model_validate({"maxCount": "1"})


# The command.


def test_the_command_writes_what_the_check_wants(tmp_path: Path) -> None:
    assert CliRunner().invoke(main, ["--root", str(tmp_path)]).exit_code == 0
    assert {path: (tmp_path / path).read_text() for path in generated()} == generated()
    assert CliRunner().invoke(main, ["--check", "--root", str(tmp_path)]).exit_code == 0


@pytest.mark.parametrize("path", generated(), ids=str)
def test_the_check_names_the_file_that_differs_and_leaves_it(path: Path, tmp_path: Path) -> None:
    CliRunner().invoke(main, ["--root", str(tmp_path)])
    (tmp_path / path).write_text("old")
    checked = CliRunner().invoke(main, ["--check", "--root", str(tmp_path)])
    assert checked.exit_code == 1
    assert f"{path} is not what its sources say: run make generate" in checked.output
    assert (tmp_path / path).read_text() == "old"


def test_the_check_names_a_file_that_is_missing(tmp_path: Path) -> None:
    checked = CliRunner().invoke(main, ["--check", "--root", str(tmp_path)])
    assert checked.exit_code == 1
    assert "run make generate" in checked.output
