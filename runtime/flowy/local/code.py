"""Decisions in this process: a factory replayed over the records."""

from collections.abc import Sequence
from typing import Any

from flowy.local.plan import Decided, Question
from flowy.replay.continuation import Continuation
from flowy.replay.ending import run_to_end
from flowy.replay.loading import Factory, file_of
from flowy.replay.replayer import call_workflow
from flowy.replay.run import Run
from flowy.replay.source import UserSource
from flowy.replay.trace import Tracer
from flowy.replay.verdict import verdict
from flowy.wire import values
from flowy.wire.messages import Outcome


class FactoryCode:
    """The code of a factory that is there as an object. It sees this process, its clock and all: keep to the rules."""

    def __init__(self, factory: Factory, tasks: Sequence[str]) -> None:
        """`tasks` are the names that it is given, as `tasks_of` tells them."""
        self._factory = factory
        self._tasks = tasks
        self._file = file_of(factory)

    def decide(self, question: Question) -> Decided:
        tracer = Tracer() if question.traced else None
        run = Run(question.records, started_at=question.started_at, tracer=tracer)
        run.source = UserSource(self._file)
        given: Any = values.decode(question.input)
        run_to_end(run, lambda: call_workflow(run, self._factory, self._tasks, given["args"], given["kwargs"]))
        answer = verdict(run).answer
        return Decided(answer, Continuation(run) if answer.outcome is Outcome.SUSPENDED else None)
