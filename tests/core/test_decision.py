"""What an answer of the decider means."""

import inspect
import json
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowy.replay.replayer import replay
from flowy.wire.messages import Answer, AnsweredWait, Outcome, Phase
from flowy_operator.core.conditions import Blocker, Reason, Stall
from flowy_operator.core.decision import conclude, says_the_same
from flowy_operator.core.history import (
    CancelReason,
    Fact,
    Restarted,
    TaskCompleted,
    TaskFailed,
    TaskScheduled,
)
from flowy_operator.core.observe import Launching
from flowy_operator.core.request import decision_request
from flowy_operator.core.spec import WorkflowSpec
from flowy_operator.core.state import State
from flowy_operator.core.verdict import End, Verdict
from tests.builders import (
    DIGEST,
    at,
    calls,
    cancelled,
    completed,
    empty_state,
    failed,
    followed,
    scheduled,
    state_of,
    suspended,
    task_spec,
    timed_out,
    waiting,
    workflow_spec,
)
from tests.runtime import programs

ALLOWED, SUSPENDED = Launching
SPEC = workflow_spec(task_spec(), task_spec("red"), input='{"args":[1],"kwargs":{}}', entrypoint="f")
RESTART_INPUT = '{"args":[2],"kwargs":{}}'
ERROR = {"type": "KeyError", "message": "'x'", "line": 3}


def ended(cancels: str) -> Fact:
    return cancelled(cancels, reason=CancelReason.WORKFLOW_ENDED)


ONE_OPEN = state_of(scheduled(), scheduled("red-0"), completed("red-0"))
WAITS = [AnsweredWait(key="task-0", line=3)]

VERDICTS: dict[str, tuple[State, Answer, Verdict]] = {
    "suspended: new calls are scheduled": (
        ONE_OPEN,
        suspended(*calls(2, first=1), waiting_on=["task-0"]),
        Verdict(
            facts=[TaskScheduled(task=f"task-{n}", digest=DIGEST, line=1) for n in (1, 2)],
            waiting_on=WAITS,
            decided=True,
        ),
    ),
    "suspended: calls on record are not scheduled again": (
        ONE_OPEN,
        suspended(*calls(1), waiting_on=["task-0"]),
        Verdict(facts=[], waiting_on=WAITS, decided=True),
    ),
    "completed: what runs is cancelled": (
        ONE_OPEN,
        Answer(outcome=Outcome.COMPLETED, result="7", ignored_errors=[ERROR]),
        Verdict(facts=[ended("task-0")], end=End(reason=Reason.COMPLETED, result="7", ignored_errors=(ERROR,))),
    ),
    "failed: what runs is cancelled": (
        ONE_OPEN,
        Answer(outcome=Outcome.FAILED, error=ERROR),
        Verdict(facts=[ended("task-0")], end=End(reason=Reason.FAILED, error=ERROR)),
    ),
    "the code can't be loaded": (
        empty_state(),
        Answer(outcome=Outcome.FAILED, phase=Phase.LOAD, error=ERROR),
        Verdict(facts=[], end=End(reason=Reason.INVALID_CODE, error=ERROR)),
    ),
    "restarted: what runs is cancelled before": (
        ONE_OPEN,
        Answer(outcome=Outcome.RESTARTED, restart=RESTART_INPUT),
        Verdict(facts=[ended("task-0"), Restarted(run=2, input=RESTART_INPUT)]),
    ),
    "stalled: nothing is touched": (
        ONE_OPEN,
        Answer(outcome=Outcome.STALLED, error={"type": "NonDeterminism", "message": "task-0 was not reached"}),
        Verdict(stall=Stall(Blocker.NON_DETERMINISM, "task-0 was not reached")),
    ),
}


@pytest.mark.parametrize(("state", "answer", "expected"), VERDICTS.values(), ids=VERDICTS)
def test_conclude(state: State, answer: Answer, expected: Verdict) -> None:
    verdict = conclude(SPEC, state, answer, at(5), ALLOWED)
    assert verdict == expected
    after = followed(state, verdict.facts, at(5))
    if answer.outcome is not Outcome.RESTARTED:
        assert not conclude(SPEC, after, answer, at(5), ALLOWED).facts, "again, it adds nothing"


def test_a_restart_with_open_tasks_leaves_none_behind() -> None:
    state = state_of(scheduled("red-0"), waiting("red-1", until=9), after=state_of(scheduled()))
    verdict = conclude(SPEC, state, Answer(outcome=Outcome.RESTARTED, restart=RESTART_INPUT), at(5), ALLOWED)
    after = followed(state, verdict.facts, at(5))
    assert (after.run, after.input, dict(after.tasks)) == (2, RESTART_INPUT, {})
    assert all(launch.ended_at == at(5) for launch in after.launches.values())


def test_what_is_held_back_or_left_for_a_next_answer_is_not_all_that_the_code_has_to_say() -> None:
    held_back = conclude(SPEC, ONE_OPEN, suspended(*calls(2, first=1)), at(5), Launching.SUSPENDED)
    cut = conclude(SPEC, ONE_OPEN, replace(suspended(*calls(2, first=1)), more=True), at(5), ALLOWED)
    assert (held_back.decided, cut.decided) == (False, False)


def test_suspended_by_the_spec_everything_is_held_back() -> None:
    verdict = conclude(SPEC, ONE_OPEN, suspended(*calls(2, first=1)), at(5), SUSPENDED)
    assert (list(verdict.facts), verdict.held_back) == ([], 2)


# -- decisions that needn't be made -----------------------------------------------------------------------------------

OPEN: list[Fact | float] = [scheduled(), scheduled("task-1"), scheduled("red-0")]
PAIR = [["task-0", "task-1"]]

SAME: dict[str, tuple[Sequence[Sequence[str]] | None, list[Fact], bool]] = {
    "nothing is known": (None, [completed("red-0")], False),
    "nothing is needed of what has ended": (PAIR, [completed("red-0")], True),
    "an error that nobody looks at": (PAIR, [failed("red-0")], True),
    "one of two": (PAIR, [completed()], True),
    "the second of two": (PAIR, [completed("task-1"), completed()], False),
    "one of two, and it failed": (PAIR, [failed("task-1")], False),
    "one of two, and it timed out": (PAIR, [timed_out("task-1")], False),
    "one of two, and it was cancelled": (PAIR, [cancelled("task-1")], False),
    "a failure after which another attempt follows": (PAIR, [failed("task-1", final=False)], True),
    "all of one group of several": ([["task-0"], ["red-0"]], [completed("red-0")], False),
    "a call that isn't made yet is missing": ([["red-0", "red-1"]], [completed("red-0")], True),
}


@pytest.mark.parametrize(("needs", "facts", "expected"), SAME.values(), ids=SAME)
def test_a_decision_that_says_the_same(
    needs: Sequence[Sequence[str]] | None, facts: list[Fact], expected: bool
) -> None:
    state = state_of(*OPEN, 3, *facts)
    ended = {key for key, task in state.tasks.items() if task.final is not None}
    assert says_the_same(replace(suspended(), needs=needs), state, ended) is expected


def test_what_had_ended_before_counts_too() -> None:
    state = state_of(*OPEN, completed(), 3, completed("task-1"))
    assert not says_the_same(replace(suspended(), needs=PAIR), state, {"task-1"})


def test_the_end_of_the_code_is_asked_for_again() -> None:
    assert not says_the_same(Answer(outcome=Outcome.COMPLETED, result="1"), state_of(*OPEN, completed()), {"task-0"})


PRELUDE = """\
from flowy import *


def call(task, *args, **kwargs):
    return task(*args, **kwargs)


def finished(value):
    return value


{weigh}

""".format(weigh=inspect.getsource(programs.weigh).replace("value: Any", "value").replace(") -> int:", "):"))


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(programs.programs(), st.booleans(), st.integers(0, 2**32), st.sampled_from([1, 2, 3]), st.sampled_from([2, 64]))
def test_a_decision_that_is_spared_would_have_led_to_the_same(
    program: str, fails: bool, seed: int, at_once: int, parallelism: int
) -> None:
    tasks = [task_spec(name) for name in programs.TASKS]
    spec = replace(workflow_spec(*tasks, parallelism=parallelism), source=PRELUDE + program, entrypoint="factory")
    chance, state, ended = random.Random(seed), empty_state(), set[str]()
    answer: Answer | None = None
    arguments: dict[str, Any] = {}
    while True:
        asked = replay(decision_request(spec, state, ()))
        if answer is not None and says_the_same(answer, state, ended):
            assert concluded(spec, state, answer) == concluded(spec, state, asked)
        else:
            answer = asked
            arguments |= {call.key: json.loads(call.arguments) for call in answer.scheduled}
        verdict = conclude(spec, state, answer, at(5), ALLOWED)
        if answer.outcome is not Outcome.SUSPENDED:
            assert answer.outcome is not Outcome.STALLED
            return
        state = followed(state, verdict.facts, at(5))
        running = [task.key for task in state.open()]
        facts = [
            ended_as(key, arguments[key], fails=fails)
            for key in chance.sample(running, min(len(running), chance.randint(1, at_once)))
        ]
        state, ended = followed(state, facts, at(6)), {fact.task for fact in facts}


def concluded(spec: WorkflowSpec, state: State, answer: Answer) -> tuple[Verdict, list[str]]:
    """What follows from an answer, and the awaited tasks that have not ended, as the status has them."""
    verdict = conclude(spec, state, answer, at(5), ALLOWED)
    waits = [wait for wait in verdict.waiting_on if (task := state.tasks.get(wait.key)) is None or task.final is None]
    return replace(verdict, waiting_on=waits), [call.key for call in answer.scheduled if call.key not in state.tasks]


def ended_as(key: str, given: Any, *, fails: bool) -> TaskCompleted | TaskFailed:
    value, luck = programs.outcome_of(key.rpartition("-")[0], given["args"], given["kwargs"])
    return failed(key) if fails and luck == 0 else completed(key, json.dumps(value))
