"""The example with a definition: its steps in this machine's shell, and what its two Workflows come to."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.examples.container import EXAMPLES, Containers, factory

FOLDER = EXAMPLES / "definition"
DEFINITION: Mapping[str, Any] = yaml.safe_load((FOLDER / "definition.yaml").read_text())
WORKFLOWS: list[Mapping[str, Any]] = list(yaml.safe_load_all((FOLDER / "workflows.yaml").read_text()))


@pytest.fixture
def there(tmp_path: Path) -> Containers:
    return Containers(DEFINITION, tmp_path, tmp_path)


def test_the_readme_shows_the_code() -> None:
    assert DEFINITION["spec"]["code"]["source"] in (FOLDER / "README.md").read_text()


def test_the_workflows_name_the_definition_and_bring_an_input() -> None:
    assert [w["spec"]["definitionRef"] for w in WORKFLOWS] == [{"name": DEFINITION["metadata"]["name"]}] * 2
    assert [set(w["spec"]) for w in WORKFLOWS] == [
        {"definitionRef", "input"},
        {"definitionRef", "input", "parallelism"},
    ]


def test_what_the_workflows_come_to(there: Containers) -> None:
    workflow = factory(DEFINITION)(**there.functions())
    first, second = (workflow(*w["spec"]["input"]["args"]) for w in WORKFLOWS)
    assert first == {"country": "de", "taxes": [19, 47, 9], "tax": 75}
    assert second["tax"] == 20


def test_an_unknown_country_is_not_tried_again(there: Containers) -> None:
    outcome = there.run("rate_of", "atlantis")
    assert outcome.error == {"type": "UnknownCountry", "message": "no rate is known", "retryable": False}
