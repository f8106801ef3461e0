"""A process that goes on from its barrier says what a replay would say, or gives up."""

import contextlib
import importlib
import inspect
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowy.replay import steps
from flowy.replay.replayer import replay
from flowy.replay.steps import Steps
from flowy.wire import values
from flowy.wire.messages import Answer, AnsweredCall, Outcome, Record, RecordState, Request
from tests.runtime.programs import TASKS, outcome_of, programs, weigh

STARTED_AT = 1_700_000_000.0
MOST_TURNS = 400


class Left(BaseException):
    """The process answered and ended."""


class Evicted(BaseException):
    """Somebody ended the process while it waited."""


class GaveUp(BaseException):
    """The process asked for a replay."""


@dataclass
class History:
    """What is recorded of one run, and what its decisions have said."""

    source: str
    chance: random.Random
    fails: bool = False
    most_at_once: int = 3
    parallelism: int = 100
    records: dict[str, Record] = field(default_factory=dict)
    ended: int = 0
    calls: dict[str, AnsweredCall] = field(default_factory=dict)
    answers: list[Answer] = field(default_factory=list)
    stayed: int = 0  # to be given records
    gave_up: int = 0  # having been given some
    max_calls: int = 1000
    text: str | None = None  # what each task gives, instead of something by its arguments

    def request(self) -> Request:
        return Request(
            source=self.source,
            entrypoint="main",
            tasks=TASKS,
            input='{"args": [], "kwargs": {}}',
            records=tuple(self.records.values()),
            started_at=STARTED_AT,
            max_calls=self.max_calls,
        )

    def take(self, answer: Answer) -> None:
        """Check it against a replay of all, launch what it schedules, and let something end."""
        again = replay(self.request())
        assert answer == again
        assert answer.outcome is not Outcome.STALLED, answer.error
        self.answers.append(answer)
        running = [key for key, record in self.records.items() if record.state is RecordState.RUNNING]
        for call in answer.scheduled[: max(0, self.parallelism - len(running))]:
            self.calls[call.key] = call
            self.records[call.key] = Record(call.key, RecordState.RUNNING, call.digest, call.line)
            running.append(call.key)
        if answer.outcome is Outcome.SUSPENDED:
            for key in self.chance.sample(running, min(len(running), self.chance.randint(1, self.most_at_once))):
                self.records[key] = self.end_of(self.calls[key])

    def end_of(self, call: AnsweredCall) -> Record:
        given: Any = values.decode(call.arguments)
        value, luck = outcome_of(call.task, given["args"], given["kwargs"])
        self.ended += 1
        known = (call.digest, call.line)
        rank, at = self.ended - 1, STARTED_AT + self.ended
        if self.fails and luck == 0:
            error = {"type": "ValueError", "message": f"{call.key} failed"}
            return Record(call.key, RecordState.FAILED, *known, None, error, rank, at)
        text = json.dumps(value) if self.text is None else self.text
        return Record(call.key, RecordState.COMPLETED, *known, text, None, rank, at)

    def decide(self, evicts: float = 0.0) -> Answer:
        """Run to the end, in as few processes as it can be done; each is ended by chance where it waits."""

        def leave(answer: Answer) -> NoReturn:
            self.take(answer)
            raise Left

        def go_on(answer: Answer) -> Sequence[Record]:
            before = dict(self.records)
            self.take(answer)
            if self.chance.random() < evicts:
                self.gave_up -= 1
                raise Evicted  # as all that goes wrong there, it comes to `give_up`
            self.stayed += 1
            return [record for key, record in self.records.items() if before.get(key) != record]

        def give_up() -> NoReturn:
            self.gave_up += 1
            raise GaveUp

        for _ in range(MOST_TURNS):
            with contextlib.suppress(Left, GaveUp):
                replay(self.request(), leave, Steps(go_on, give_up))
            if self.answers and self.answers[-1].outcome is not Outcome.SUSPENDED:
                return self.answers[-1]
        raise AssertionError("the run does not end")


def source_of(program: str) -> str:
    """A program of the generator as the text of a workflow."""
    parts = [
        "from typing import Any",
        "from flowy import *",
        inspect.getsource(weigh),
        "def call(task, *args, **kwargs): return task(*args, **kwargs)",
        "def finished(value): return value",
        program.replace("def factory(", "def main("),
    ]
    return "\n".join(parts)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(
    program=programs(),
    seed=st.integers(0, 2**32),
    fails=st.booleans(),
    most_at_once=st.integers(1, 4),
    parallelism=st.integers(1, 5),
    evicts=st.sampled_from([0.0, 0.2]),
)
def test_each_step_says_what_a_replay_says(
    program: str, seed: int, *, fails: bool, most_at_once: int, parallelism: int, evicts: float
) -> None:
    history = History(source_of(program), random.Random(seed), fails, most_at_once, parallelism)
    history.decide(evicts)


def run_of(*lines: str, **how: Any) -> History:
    inner = "\n".join(f"        {line}" for line in lines)
    source = f"from flowy import *\ndef main(task, red, other):\n    def run():\n{inner}\n    return run\n"
    history = History(source, random.Random(1), **how)
    history.decide()
    return history


GOES_ON = {
    "a chain of looks": ["n = 0", "for i in range(20): n += len(str(task(i)))", "return n"],
    "a call that is returned": ["return task(1)"],
    "calls that are returned together": ["return [task(1), {'k': task(2)}]"],
    "a chain of arguments": ["return task(red(other(1)))"],
    "a call that waits for two": ["a, b = task(1), red(2)", "c = other([a, b], x=a)", "return str(c)"],
    "a wait for several": ["a = [task(i) for i in range(5)]", "wait(a, {'k': red(1)})", "return a"],
    "a look from within a library": ["return sorted([task(i) for i in range(4)], key=str)"],
    "a look in a generator": ["return [str(x) for x in (task(i) for i in range(4))]"],
    "a look under finally": ["try:", "    str(task(1))", "finally:", "    str(red(1))", "return 1"],
    "a look deep in a recursion": ["def f(n): return str(task(1)) if n == 0 else f(n - 1)", "return f(200)"],
    "restart with what is pending": ["return restart(task(1))"],
    "an operation from the right": ["try: return 2 + task(1)", "except TypeError: return 1"],
}


@pytest.mark.parametrize("lines", GOES_ON.values(), ids=GOES_ON)
def test_goes_on(lines: Sequence[str]) -> None:
    history = run_of(*lines, most_at_once=1)
    assert (history.stayed, history.gave_up) == (len(history.answers) - 1, 0)
    assert history.stayed > 0


GIVES_UP = {
    "a race": ["return str(first(task(1), red(2)))"],
    "an order of finishing": ["return [str(x) for x in finish_order(task(1), red(2))]"],
    "a fold": ["return parallel_reduce(lambda a, b: red(a, b), [task(1), task(2), task(3)])"],
    "the repr of what is pending": ["a = task(1)", "shown = repr(a)", "str(a)", "return str(other(shown)) and 1"],
    "a look in the middle of a walk": ["return red(str(x) for x in [task(1), task(2)])"],
}


@pytest.mark.parametrize("lines", GIVES_UP.values(), ids=GIVES_UP)
def test_leaves_to_a_replay(lines: Sequence[str]) -> None:
    history = run_of(*lines, most_at_once=1)
    assert history.stayed - history.gave_up < len(history.answers) - 1


def test_an_error_is_left_to_a_replay() -> None:
    """Who is blamed, and which errors were seen, is decided where all of them are known."""
    lines = ["for i in range(12):", "    try: str(task(i))", "    except TaskError: pass", "return 1"]
    history = run_of(*lines, fails=True, most_at_once=1)
    failed = sum(record.state is RecordState.FAILED for record in history.records.values())
    assert 0 < failed == history.gave_up


NO_VALUE = '"\\ud800"'  # JSON can hold half a character, and nobody can pass it on


@pytest.mark.parametrize("line", ["return str(red(task(1)))", "return [task(1)]"])
def test_what_can_not_be_passed_on_fails_in_a_replay(line: str) -> None:
    history = run_of(line, text=NO_VALUE)
    assert (history.answers[-1].error or {}).get("type") == "ValueRefused"
    assert history.gave_up == 1


def test_more_calls_than_an_answer_holds_are_left_to_replays() -> None:
    history = run_of("return [task(i) for i in range(5)]", max_calls=2)
    assert sum(answer.more for answer in history.answers) == 2
    assert history.stayed == len(history.answers) - 1 - 2


def test_calls_that_become_ready_in_one_step_and_have_no_room_are_left_to_a_replay() -> None:
    lines = ["a = task(1)", "b = [red(a, i) for i in range(3)]", "return b"]
    history = run_of(*lines, max_calls=2)
    assert history.gave_up == 1


def test_records_that_are_no_continuation_are_refused() -> None:
    """The other side is to give only what follows; what does not is no reason to say something wrong."""
    source = "def main(task, red, other):\n    def run():\n        return str(task(1)) + str(red(2))\n    return run\n"
    other_digest = Record("task-0", RecordState.RUNNING, "0" * 16, 3)
    unknown = Record("task-1", RecordState.RUNNING, None, 3)
    not_called = Record("red-0", RecordState.RUNNING, None, 3)
    gave_up: list[bool] = []

    def leave(_: Answer) -> NoReturn:
        raise Left

    def give_up() -> NoReturn:
        gave_up.append(True)
        raise GaveUp

    for record in (other_digest, unknown, not_called):
        request = History(source, random.Random(1)).request()
        gave_up.clear()
        with contextlib.suppress(GaveUp):
            replay(request, leave, Steps(lambda _, record=record: [record], give_up))  # type: ignore[misc]
        assert gave_up


def test_frames_that_may_be_gone_on_from_exist() -> None:
    """A name that is outdated would make all processes leave, which nobody would notice."""
    for module, name in steps.RESUMABLE:
        found: Any = importlib.import_module(module)
        for part in name.partition(".<locals>")[0].split("."):
            found = getattr(found, part)
        if "<locals>" in name:
            inner = [constant.co_qualname for constant in found.__code__.co_consts if hasattr(constant, "co_qualname")]
            assert name in inner
