"""The page for whoever watches a run: its tables name all that the code can say, and nothing else."""

from dataclasses import MISSING
from enum import StrEnum
from pathlib import Path

import pytest
import yaml

from flowy.policy.timeout import Timer
from flowy_operator.adapters.crd import status as model
from flowy_operator.app import announce, decisions, obstacles, reconciler
from flowy_operator.core import history
from flowy_operator.core.conditions import Blocker, Reason
from flowy_operator.core.errors import StallReason
from flowy_operator.core.history import CancelReason, FailureClass, StopMode
from flowy_operator.core.job import ATTEMPT_LABEL, TASK_LABEL, UID_LABEL, WORKFLOW_LABEL
from flowy_operator.core.spec import OnEnd, WorkflowSpec
from flowy_operator.core.status import SHOWN_ERRORS, SHOWN_WAITS
from flowy_operator.core.values import ValueRef
from tests.docs.pages import DOCS, codes, page, rows, section, table

PAGE = "following-a-run.md"


def test_the_conditions_and_every_reason_are_there() -> None:
    kinds = {"Succeeded", "Reconciling", "Stalled"}
    # `Stalled` is a condition and a reason: the last row of that name counts, so both tables are looked at.
    first_cells = [codes(row[0])[0] for row in rows(section(PAGE, "Conditions"))]
    assert set(first_cells) == kinds | set(Reason) | set(Blocker) | set(StallReason)
    assert len(first_cells) == len(kinds) + len(Reason) + len(Blocker) + len(StallReason)


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("`class`", FailureClass),
        ("`reason` of `TaskCancelled`", CancelReason),
        ("`timer`", Timer),
        ("`mode`", StopMode),
    ],
)
def test_the_values_in_the_history_are_there(field: str, values: type[StrEnum]) -> None:
    listed = [codes(row[1])[0] for row in rows(section(PAGE, "The history")) if row[0] == field]
    assert sorted(listed) == sorted(values)


def test_every_event_is_there_with_all_its_fields() -> None:
    listed = {
        name: rest[1] for name, rest in table(PAGE, "The history").items() if len(rest) == 2 and name[0].isupper()
    }
    assert set(listed) == set(history._TYPES)
    for name, cls in history._TYPES.items():
        named = set(codes(listed[name]))
        for field in history._FIELDS[cls]:
            assert field.key in named, f"{name} has {field.key}"
            if field.default not in {MISSING, None} and field.name != "failure_class":
                assert f"`{field.key}` (" in listed[name], f"{name}.{field.key} has a default"
        inner = history._KEYS[history.Failure] if "error" in named else set()
        inner |= history._KEYS[ValueRef] if "resultRef" in named else set()
        others = {"null"} | set(FailureClass)
        assert named <= history._KEYS[cls] | inner | others


def test_the_columns_are_those_of_the_crd() -> None:
    crd = yaml.safe_load((DOCS.parent / "crds/workflows.flowy.dev.yaml").read_text())
    columns = [column["name"].upper() for column in crd["spec"]["versions"][0]["additionalPrinterColumns"]]
    assert [row[0] for row in rows(section(PAGE, "At a glance"))] == columns
    assert ["NAME", *columns] == page(PAGE).split("$ kubectl get fwf -o wide\n")[1].splitlines()[0].split()


def test_the_fields_of_an_error_are_those_of_the_status() -> None:
    listed = [name for row in rows(section(PAGE, "Errors")) for name in codes(row[0])]
    outside = [field.alias or name for name, field in model.Error.model_fields.items()]
    assert sorted(listed) == sorted(outside)


def test_the_numbers_and_labels() -> None:
    text = page(PAGE)
    defaults = WorkflowSpec(source="")
    for said in (
        f"up to {SHOWN_WAITS} tasks",
        f"the first {SHOWN_ERRORS} errors",
        f"`spec.timeouts.cancelSeconds`, {defaults.cancel_timeout_s} unless set",
        f"`{defaults.on_end}`, the default",
        f"`spec.jobs.keepSucceededSeconds`, {defaults.keep_succeeded_s} unless set",
        f"`spec.jobs.keepFailedSeconds`, {defaults.keep_failed_s} unless set",
        f"after {decisions.FIRST_STALL_S:g} s, 2 s, 4 s … up to {decisions.LONGEST_STALL_S / 60:g} minutes",
        f"`{StallReason.UNAVAILABLE}` every {decisions.UNAVAILABLE_AGAIN_S:g} s",
        f"looked for every {reconciler.PAGES_AGAIN.total_seconds():g} s",
        *(f"`{label}`" for label in (WORKFLOW_LABEL, UID_LABEL, TASK_LABEL, ATTEMPT_LABEL)),
    ):
        assert said in text, said


def test_the_kubernetes_events_are_those_that_are_posted() -> None:
    source = Path(announce.__file__).read_text()
    text = section(PAGE, "Logs, Jobs, Kubernetes Events")
    for reason in ("TaskFailed", "TaskTimedOut", "TasksFailed", "Restarted"):
        assert reason in source
        assert f"`{reason}`" in text
    assert f"the first {announce.TOLD_FAILURES} of a run" in text
    assert announce.TOLD_RESTARTS == 10
    assert "up to the tenth, then every hundredth" in text


def test_how_long_a_pod_may_be_late() -> None:
    late, often = obstacles.PATIENCE.total_seconds(), obstacles.ASK_EVERY.total_seconds()
    assert f"when a pod is {late:g} s late, and then\nevery {often:g} s;" in section(PAGE, "What it waits for")


def test_every_way_to_end_is_there() -> None:
    assert list(table(PAGE, "What still runs at the end")) == list(OnEnd)
    assert all(f"`stop: {mode}`" in section(PAGE, "Stopping a run") for mode in StopMode)
