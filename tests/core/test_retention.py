"""What is deleted, and when."""

from datetime import datetime
from typing import Any

import pytest

from flowy_operator.core.history import CancelReason, Fact, Restarted
from flowy_operator.core.records import JobRecord
from flowy_operator.core.retention import Tidying, abandoned_runs_on, may_run_on, tidy, workflow_expires_at
from flowy_operator.core.spec import OnEnd
from flowy_operator.core.state import Launch
from tests.builders import (
    START,
    at,
    cancelled,
    completed,
    disrupted,
    failed,
    job_record,
    pod_record,
    scheduled,
    state_of,
    timed_out,
    view,
    workflow_spec,
)

SPEC = workflow_spec(keep_succeeded_s=300, keep_failed_s=86_400)

ABANDONED = cancelled(reason=CancelReason.ABANDONED)

LONG_AGO = at(-(10**6))
"""Since when nothing can be made anew."""

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
        assert tidy(SPEC, state, seen, at(10**9), LONG_AGO) == Tidying([], None)
        return
    if due > 10:
        assert tidy(SPEC, state, seen, at(due - 0.001), LONG_AGO) == Tidying([], at(due))
    assert tidy(SPEC, state, seen, at(due), LONG_AGO) == Tidying([job], None)


@pytest.mark.parametrize(("end", "due"), CASES.values(), ids=CASES)
def test_what_has_run_stays_while_it_could_be_made_anew(end: Fact | None, due: float | None) -> None:
    state = state_of(scheduled(), 10, *([] if end is None else [end]))
    job = job_record(next(iter(state.launches)))
    found = tidy(SPEC, state, view(job), at(10**6), at(10**6 + 7))
    is_stopped = due is not None and due <= 10
    assert found == Tidying([job] if is_stopped else [], at(10**6 + 7) if due is not None and not is_stopped else None)


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
    assert tidy(SPEC, state, view(job), at(20), LONG_AGO) == Tidying([], None if due is None else at(due))
    if due is not None:
        assert tidy(SPEC, state, view(job), at(due), LONG_AGO) == Tidying([job], None)


def test_only_an_abandoned_job_runs_on() -> None:
    state = state_of(scheduled("a-0"), scheduled("b-0"), cancelled("b-0"))
    jobs = [job_record(name) for name in state.launches]
    assert not abandoned_runs_on(SPEC, state, view(*jobs, job_record("somebody-elses")))


RUNNING, COMPLETE = job_record("running"), job_record("complete", complete=True)
MAY_RUN_ON: dict[str, tuple[OnEnd, list[JobRecord], bool]] = {
    "it runs, and ends abandon": (OnEnd.ABANDON, [COMPLETE, RUNNING], True),
    "it runs, and ends cancel": (OnEnd.CANCEL, [RUNNING], False),
    "nothing runs": (OnEnd.ABANDON, [COMPLETE], False),
    "nothing is there": (OnEnd.ABANDON, [], False),
}


@pytest.mark.parametrize(("on_end", "jobs", "expected"), MAY_RUN_ON.values(), ids=MAY_RUN_ON)
def test_what_may_have_been_abandoned(on_end: OnEnd, jobs: list[JobRecord], *, expected: bool) -> None:
    assert may_run_on(workflow_spec(on_end=on_end), view(*jobs)) == expected


LEFT_OVER: dict[str, tuple[OnEnd, dict[str, Any], str | None, float | None]] = {
    "runs, and nobody wants it": (OnEnd.CANCEL, {}, "Running", 0),
    "runs, abandoned": (OnEnd.ABANDON, {}, "Running", None),
    "complete": (OnEnd.CANCEL, {"complete": True, "ended_at": at(50)}, None, 350),
    "failed": (OnEnd.CANCEL, {"failed_reason": "BackoffLimitExceeded", "ended_at": at(50)}, None, 86_450),
    "its pod has succeeded": (OnEnd.CANCEL, {}, "Succeeded", 340),
    "its pod has failed": (OnEnd.ABANDON, {}, "Failed", 86_440),
    "ended, nobody knows when": (OnEnd.CANCEL, {"complete": True}, None, 300),
}


@pytest.mark.parametrize("is_restarted", [True, False], ids=["of an older run", "of an ended workflow"])
@pytest.mark.parametrize(("on_end", "fields", "phase", "due"), LEFT_OVER.values(), ids=LEFT_OVER)
def test_a_job_whose_launch_nobody_remembers(
    on_end: OnEnd, fields: dict[str, Any], phase: str | None, due: float | None, *, is_restarted: bool
) -> None:
    spec = workflow_spec(keep_succeeded_s=300, keep_failed_s=86_400, on_end=on_end)
    job = job_record(run=1, **fields)
    pods = [] if phase is None else [pod_record(phase=phase, finished_at=None if phase == "Running" else at(40))]
    state = state_of(Restarted(run=2, input="{}")) if is_restarted else None
    assert tidy(spec, state, view(job, *pods), at(10**9), LONG_AGO) == Tidying([] if due is None else [job], None)
    if due:
        assert tidy(spec, state, view(job, *pods), at(due - 0.001), LONG_AGO) == Tidying([], at(due))
    assert abandoned_runs_on(spec, state, view(job, *pods)) == (on_end is OnEnd.ABANDON and not fields)


def test_jobs_of_others_and_jobs_that_go_already_are_left_alone() -> None:
    state = state_of(scheduled(), cancelled())
    first = next(iter(state.launches.values()))
    seen = view(job_record("somebody-elses"), job_record(first.job, deleting=True))
    assert tidy(SPEC, state, seen, at(0), LONG_AGO) == Tidying([], None)


def test_the_next_one_is_the_earliest() -> None:
    state = state_of(scheduled("a-0"), scheduled("b-0"), scheduled("c-0"), 5, completed("a-0"), 2000, failed("b-0"))
    jobs = [job_record(launch.job) for launch in state.launches.values()]
    assert tidy(SPEC, state, view(*jobs), at(6), LONG_AGO) == Tidying([], at(305))
    assert tidy(SPEC, state, view(*jobs), at(305), LONG_AGO) == Tidying([jobs[0]], at(88_400))


EXPIRY: dict[str, tuple[int | None, datetime | None]] = {"never": (None, None), "after its time": (60, at(60))}


@pytest.mark.parametrize(("ttl_s", "expected"), EXPIRY.values(), ids=EXPIRY)
def test_the_workflow_goes(ttl_s: int | None, expected: datetime | None) -> None:
    assert workflow_expires_at(workflow_spec(ttl_s=ttl_s), START) == expected
