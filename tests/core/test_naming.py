"""Names of Jobs and children: valid, short enough, different where they must be, the same where they must be."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowy_operator.adapters.crd.rules import MAX_WORKFLOW_NAME
from flowy_operator.core.naming import job_name
from tests.builders import UID

LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")


def name(workflow: str = "talk", task: str = "encode-1", *, run: int = 1, attempt: int = 1, launch: int = 0) -> str:
    return job_name(workflow=workflow, uid=UID, task=task, run=run, attempt=attempt, launch=launch)


NAMES = {
    "readable": ("talk-42", "encode-1", "talk-42-encode-1-"),
    "dots and capitals": ("talk.v2", "Encode_HD-1", "talk-v2-encode-hd-1-"),
    "nothing readable": ("a", "___-0", "a-0-"),
    "cut": ("w" * 52, "t" * 40 + "-1", "w" * 22 + "-" + "t" * 18 + "-"),
    "cut at a dash": ("w" * 21 + "-x", "t" * 17 + "_-1", "w" * 21 + "-" + "t" * 17 + "-"),
}


@pytest.mark.parametrize(("workflow", "task", "expected"), NAMES.values(), ids=NAMES)
def test_a_name_is_recognized(workflow: str, task: str, expected: str) -> None:
    found = name(workflow, task)
    assert found[:-10] == expected
    assert LABEL.fullmatch(found)


def test_a_name_never_changes() -> None:
    # Names on record in running clusters: another name would launch everything a second time.
    assert name() == "talk-encode-1-cvqqztw67c"


OTHERS = {
    "another run": name(run=2),
    "another attempt": name(attempt=2),
    "another launch": name(launch=1),
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_each_launch_has_its_own(other: str) -> None:
    assert other != name()


def test_tasks_that_read_the_same_have_different_jobs() -> None:
    assert len({name(task=task) for task in ("a_b-0", "A_b-0", "_a_b-0", "a__b-0")}) == 4


def test_numbers_do_not_run_into_each_other() -> None:
    assert name(attempt=1, launch=11) != name(attempt=11, launch=1)
    assert name(run=1, attempt=1) != name(run=11, attempt=0)


@settings(deadline=None)
@given(
    st.from_regex(r"[a-z0-9]([-a-z0-9.]{0,50}[a-z0-9])?", fullmatch=True),
    st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,39}-[0-9]{1,6}", fullmatch=True),
)
def test_every_name_is_a_label_short_enough_for_a_workflow(workflow: str, task: str) -> None:
    found = name(workflow, task)
    assert LABEL.fullmatch(found)
    assert len(found) <= MAX_WORKFLOW_NAME
