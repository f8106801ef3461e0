"""The chart's generated files: what they are made of, and that nothing in them is said twice."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from pydantic import ValidationError

from charts.generator import rights
from charts.generator.__main__ import generated, main
from charts.generator.schema import schema, walk
from charts.generator.values import FILLED_IN, Values
from flowy_operator.app.settings import Settings

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "flowy"


def test_the_files_are_what_their_sources_say() -> None:
    done = CliRunner().invoke(main, ["--check", "--root", str(ROOT)])
    assert done.exit_code == 0, done.output


def test_nothing_generated_is_left_over() -> None:
    made = {path for path in generated(ROOT) if path.parent.name in {"crds", "rights"}}
    there = {path.relative_to(ROOT) for folder in ("crds", "rights") for path in (CHART / "files" / folder).iterdir()}
    assert there == made


def test_the_defaults_are_the_models() -> None:
    text = yaml.safe_load((CHART / "values.yaml").read_text())
    assert Values.model_validate(text) == Values()
    assert text == Values().model_dump(by_alias=True)


def test_every_setting_can_be_given() -> None:
    """Those that the chart doesn't fill in are values, with the operator's own bounds."""
    given = schema()["properties"]["settings"]["properties"]
    own = Settings.model_json_schema()["properties"]
    assert len(given) == len(own) - len(FILLED_IN)
    assert set(own) >= FILLED_IN
    for name, part in own.items():
        if name in FILLED_IN:
            continue
        first, *more = name.split("_")
        value = given["".join([first, *map(str.capitalize, more)])]
        for bound in ("minimum", "maximum", "enum", "type", "pattern"):
            assert value.get(bound) == part.get(bound), f"{name} {bound}"


def test_every_value_says_what_it_means() -> None:
    for path, part in walk(schema()):
        assert part.get("description"), path


def test_nothing_unknown_is_taken() -> None:
    """At every level whose fields are the chart's own; what is of Kubernetes is open, for the API server to judge."""
    for path, part in walk(schema()):
        if "properties" in part:
            assert part["additionalProperties"] is False, path
    with pytest.raises(ValidationError, match="extra"):
        Values.model_validate({"image": {"name": "x"}})


def test_the_versions_are_those_of_the_distribution() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    about = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (about["version"], about["appVersion"]) == (version, version)


def test_the_rights_are_the_pages() -> None:
    """One file a role; a role that the page names and the chart doesn't use would go unnoticed."""
    used = "".join(path.read_text() for path in (CHART / "templates").rglob("*.yaml"))
    for name in rights.rules(ROOT):
        assert f"files/rights/{name}.yaml" in used


def test_the_schema_is_plain() -> None:
    """Older versions of Helm read references and drafts each in their own way."""
    text = json.dumps(schema())
    assert "$ref" not in text
    assert "anyOf" not in text


def _crds() -> list[Any]:
    return sorted((ROOT / "crds").glob("*.yaml"))


@pytest.mark.parametrize("path", _crds(), ids=lambda path: path.name)
def test_a_crd_has_one_line_for_the_chart_to_add_to(path: Path) -> None:
    """The chart lays labels and `keep` in behind it, as text."""
    assert path.read_text().count("\nmetadata:\n") == 1
