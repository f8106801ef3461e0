"""What the page for authors says of definitions: its manifests can be run, its table is that of the rules."""

import re
from typing import Any

import yaml

from flowy.testing import decide
from flowy_operator.adapters.crd.definition import parse_definition
from flowy_operator.adapters.crd.rules import OWN_FIELDS
from flowy_operator.adapters.crd.spec import spec_or_reference
from flowy_operator.core.definition import resolve
from flowy_operator.core.spec import WorkflowSpec
from tests.docs.pages import blocks, codes, rows, section

PAGE = "writing-workflows.md"


def manifests() -> tuple[dict[str, Any], dict[str, Any]]:
    (block,) = [b for b in blocks(PAGE, "yaml") if "kind: WorkflowDefinition" in b.text]
    definition, workflow = yaml.safe_load_all(block.text)
    return definition, workflow


def test_the_manifests_are_a_definition_and_a_run_of_it() -> None:
    definition, workflow = manifests()
    definition["metadata"] |= {"namespace": "ns", "resourceVersion": "1"}
    reference = spec_or_reference(workflow)
    assert not isinstance(reference, WorkflowSpec)
    spec = resolve(reference, parse_definition(definition), "ns", None)
    assert isinstance(spec, WorkflowSpec)
    decision = decide((spec.source, None), args=workflow["spec"]["input"]["args"])
    assert [(call.key, call.args) for call in decision.scheduled] == [("say-0", ("Hello, Anna!",))]


def test_the_table_names_every_field_of_a_workflows_own() -> None:
    listed = {name for row in rows(section(PAGE, "Definitions")) for name in codes(row[0])}
    assert listed == {*re.split(", | and ", OWN_FIELDS), "definitionRef.entrypoint"}
