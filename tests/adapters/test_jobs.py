"""Jobs of the API -> JobRecord."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowy_operator.adapters.jobs import parse_job
from flowy_operator.core.records import JobRecord
from tests.adapters.objects import spoiled

OWNER = {"kind": "Workflow", "name": "w", "uid": "u-w", "controller": True}


def job(*conditions: dict[str, str], **metadata: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "namespace": "ns",
            "name": "j",
            "uid": "u-j",
            "resourceVersion": "12",
            "creationTimestamp": "2026-11-24T10:00:00Z",
            "labels": {"flowy.dev/workflow": "w"},
            "ownerReferences": [OWNER],
            **metadata,
        },
        "status": {"conditions": list(conditions)},
    }


def record(**fields: Any) -> JobRecord:
    return JobRecord(
        namespace="ns",
        name="j",
        uid="u-j",
        resource_version=12,
        workflow="w",
        created_at=datetime(2026, 11, 24, 10, tzinfo=UTC),
        **({"owner_uid": "u-w"} | fields),
    )


FAILED = {"type": "Failed", "status": "True", "reason": "PodFailurePolicy", "message": "m"}

CASES = {
    "a new one": (job(), record()),
    "complete": (job({"type": "Complete", "status": "True"}), record(complete=True)),
    "failed": (job(FAILED), record(failed_reason="PodFailurePolicy", failed_message="m")),
    "about to fail": (job(FAILED | {"type": "FailureTarget"}), record()),
    "no longer complete": (job({"type": "Complete", "status": "False"}), record()),
    "failed for no reason": (job({"type": "Failed", "status": "True"}), record(failed_reason="Failed")),
    "going": (job(deletionTimestamp="2026-11-24T10:00:00Z"), record(deleting=True)),
    "with arguments beside it": (
        job(annotations={"flowy.dev/input-configmap": "j-input"}),
        record(has_input_map=True),
    ),
    "with annotations of an odd type": (job(annotations=["flowy.dev/input-configmap"]), record()),
    "without an owner": (job(ownerReferences=None), record(owner_uid=None)),
    "with an owner that is no controller": (
        job(ownerReferences=[OWNER | {"controller": False}]),
        record(owner_uid=None),
    ),
    "without our label": (job(labels={}), None),
    "without a uid": (job(uid=None), None),
    "without an age": (job(creationTimestamp="soon"), None),
    "with an odd version": (job(resourceVersion="x"), None),
    "without a status": ({"metadata": job()["metadata"]}, record()),
    "no Job at all": ({}, None),
}


@pytest.mark.parametrize(("found", "expected"), CASES.values(), ids=CASES)
def test_table(found: dict[str, Any], expected: JobRecord | None) -> None:
    assert parse_job(found) == expected


@given(st.data())
def test_no_odd_field_raises(data: st.DataObject) -> None:
    assert isinstance(parse_job(data.draw(spoiled(job(FAILED)))), JobRecord | None)
