"""The ConfigMap that holds a value: exact to the byte, and nothing else passes for one."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowy_operator.core.config_map import config_map_manifest, text_of
from flowy_operator.core.values import input_name, reference
from tests.builders import OWNER, UID


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_text_comes_back(text: str) -> None:
    assert text_of(config_map_manifest(OWNER, "v", text, run=1)) == text


def test_the_manifest() -> None:
    manifest = config_map_manifest(OWNER, "talk-42-encode-1-abc", '"é"', run=3)
    assert manifest == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": "talk-42-encode-1-abc",
            "namespace": "media",
            "labels": {
                "app.kubernetes.io/managed-by": "flowy",
                "flowy.dev/workflow": "talk-42",
                "flowy.dev/workflow-uid": UID,
                "flowy.dev/run": "3",
            },
            "ownerReferences": [
                {
                    "apiVersion": "flowy.dev/v1alpha1",
                    "kind": "Workflow",
                    "name": "talk-42",
                    "uid": UID,
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "immutable": True,
        "binaryData": {"value": "IsOpIg=="},
    }


NO_VALUES: dict[str, Any] = {
    "nothing": {},
    "text": {"data": {"value": "1"}},
    "another key": {"binaryData": {"v": "MQ=="}},
    "no base64": {"binaryData": {"value": "M?=="}},
    "no UTF-8": {"binaryData": {"value": "/w=="}},
    "no string": {"binaryData": {"value": 1}},
    "no object": {"binaryData": None},
}


@pytest.mark.parametrize("body", NO_VALUES.values(), ids=NO_VALUES)
def test_what_is_no_value(body: dict[str, Any]) -> None:
    assert text_of(body) is None


def test_a_reference_tells_size_and_digest_of_the_bytes() -> None:
    ref = reference("a", '"é"')
    assert ref.bytes == 4
    # printf '"é"' | sha256sum
    assert ref.digest == "f2886017e9c7abacf804b54d64787dce2b611c9544ba21f3affdd126a6e50086"


def test_arguments_and_result_of_a_job_have_two_names() -> None:
    longest = "j" * 63
    assert input_name(longest) != longest
    assert len(input_name(longest)) <= 253
