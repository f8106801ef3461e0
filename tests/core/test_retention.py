"""What is deleted, and when."""

from datetime import datetime
from typing import Any

import pytest

from flowy_operator.core.history import CancelReason, Fact
from flowy_operator.core.retention import Tidying, abandoned_runs_on, tidy, workflow_expires_at
from flowy_operator.core.state import Launch
from tests.builders import (
    START,
    at,
    cancelled,
    completed,
    disrupted,
    failed,
    job_record,
    scheduled,
    state_of,
    timed_out,
    view,
    workflow_spec,
)

SPEC = workflow_spec(keep_succeeded_s=300, keep_failed_s=86_400)

ABANDONED = cancelled(reason=CancelReason.ABANDONED)

CASES: dict[str, tuple[Fact | None, float | None]] = {
    "open": (None, None),
    "succeeded": (completed(), 310),
    "failed": (failed(), 86_410),
    "F25: disrupted": (disrupted(), 86_410),
    "timed out: nobody wants it any more": (timed_out(), 10),
    "cancelled": (cancelled(), 10),
    "abandoned: it runs on": (ABANDONED, None),
}


@pytest.mark.parametrize(("end", "due"), CASES.values(), ids=CASES)
def test_a_job_stays_so_long(end: Fact | None, due: float | None) -> None:
    state = state_of(scheduled(), 10, *([] if end is None else [end]))
    first: Launch = next(iter(state.launches.values()))
    job = job_record(first.job)
    seen = view(job)
    if due is None:
        assert tidy(SPEC, state, seen, at(10**9)) == Tidying([], None)
        return
    if due > 10:
        assert tidy(SPEC, state, seen, at(due - 0.001)) == Tidying([], at(due))
    assert tidy(SPEC, state, seen, at(due)) == Tidying([job], None)


ABANDONED_JOBS: dict[str, tuple[dict[str, Any], float | None]] = {
    "still runs": ({}, None),
    "complete": ({"complete": True, "ended_at": at(50)}, 350),
    "failed": ({"failed_reason": "BackoffLimitExceeded", "ended_at": at(50)}, 86_450),
    "ended, nobody knows when": ({"complete": True}, 310),
}


@pytest.mark.parametrize(("fields", "due"), ABANDONED_JOBS.values(), ids=ABANDONED_JOBS)
def test_an_abandoned_job_stays_for_as_long_after_its_own_end(fields: dict[str, Any], due: float | None) -> None:
    state = state_of(scheduled(), 10, ABANDONED)
    (name,) = state.launches
    job = job_record(name, **fields)
    assert abandoned_runs_on(SPEC, state, view(job)) == (due is None)
    assert tidy(SPEC, state, view(job), at(20)) == Tidying([], None if due is None else at(due))
    if due is not None:
        assert tidy(SPEC, state, view(job), at(due)) == Tidying([job], None)


def test_only_an_abandoned_job_runs_on() -> None:
    state = state_of(scheduled("a-0"), scheduled("b-0"), cancelled("b-0"))
    jobs = [job_record(name) for name in state.launches]
    assert not abandoned_runs_on(SPEC, state, view(*jobs, job_record("somebody-elses")))


def test_jobs_of_others_and_jobs_that_go_already_are_left_alone() -> None:
    state = state_of(scheduled(), cancelled())
    first = next(iter(state.launches.values()))
    seen = view(job_record("somebody-elses"), job_record(first.job, deleting=True))
    assert tidy(SPEC, state, seen, at(0)) == Tidying([], None)


def test_the_next_one_is_the_earliest() -> None:
    state = state_of(scheduled("a-0"), scheduled("b-0"), scheduled("c-0"), 5, completed("a-0"), 2000, failed("b-0"))
    jobs = [job_record(launch.job) for launch in state.launches.values()]
    assert tidy(SPEC, state, view(*jobs), at(6)) == Tidying([], at(305))
    assert tidy(SPEC, state, view(*jobs), at(305)) == Tidying([jobs[0]], at(88_400))


EXPIRY: dict[str, tuple[int | None, datetime | None]] = {"never": (None, None), "after its time": (60, at(60))}


@pytest.mark.parametrize(("ttl_s", "expected"), EXPIRY.values(), ids=EXPIRY)
def test_the_workflow_goes(ttl_s: int | None, expected: datetime | None) -> None:
    assert workflow_expires_at(workflow_spec(ttl_s=ttl_s), START) == expected
