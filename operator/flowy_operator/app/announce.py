"""What is told of a pass, after it is on record: Kubernetes Events and a log line for people, counts for the metrics.

Transitions of the workflow and final failures of tasks only; whoever wants each event has the history. However long a run is,
however often it fails and restarts, it makes few: the API server keeps each of them for an hour, and reads them all when
somebody asks for some.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from flowy_operator.adapters.metrics import Metrics
from flowy_operator.adapters.recorder import Recorder
from flowy_operator.app.tracked import Workflow
from flowy_operator.app.version import Version
from flowy_operator.core.conditions import by_type
from flowy_operator.core.history import Fact, Restarted, StopRequested, TaskFailed, TaskTimedOut, parse_time
from flowy_operator.core.sentences import attempts, duration, failure_sentence
from flowy_operator.core.spec import TaskSpec
from flowy_operator.core.state import State, task_name

TOLD_FAILURES = 20
"""Final failures of one run that get an Event of their own. A batch that goes on after errors may have thousands."""

TOLD_RESTARTS = 10
"""Restarts that are told one by one; after them every hundredth."""

_HUNDRED = 100

_log = logging.getLogger(__name__)


class _Headline(NamedTuple):
    """What a Kubernetes Event says of a workflow's standing. `stalls`: by the condition of this name, which failures have too."""

    stalls: bool
    reason: str
    message: str

    @property
    def type(self) -> Literal["Normal", "Warning"]:
        return "Warning" if self.stalls else "Normal"


def announce(
    recorder: Recorder,
    metrics: Metrics,
    workflow: Workflow,
    before: Version,
    after: Version,
    facts: Sequence[Fact],
    tasks: Mapping[str, TaskSpec],
) -> None:
    """Tell what has changed from one version to the next, which these facts led to. `tasks` are the spec's."""
    metrics.recorded(facts)
    if _log.isEnabledFor(logging.DEBUG):
        for fact in facts:
            _log.debug("event recorded", extra=_log_fields(workflow, fact))
    fails = any(isinstance(fact, TaskFailed | TaskTimedOut) and fact.final for fact in facts)
    # Counted only if there is one more: it takes a look at every task of the run.
    failures = _failures(before.state) if fails and before.state is not None else 0
    for fact in facts:
        match fact:
            case TaskFailed(final=True) | TaskTimedOut(final=True):
                failures += 1
                if failures <= TOLD_FAILURES:
                    _log.info("task failed", extra=_log_fields(workflow, fact))
                    recorder.event(workflow.reference, "Warning", type(fact).__name__, _failure(tasks, after, fact))
                if failures == TOLD_FAILURES:
                    words = f"{failures} tasks have failed; the history tells of the next ones, Events don't"
                    recorder.event(workflow.reference, "Warning", "TasksFailed", words)
            case Restarted(run=run):
                failures = 0
                if run <= TOLD_RESTARTS or run % _HUNDRED == 0:
                    often = "; Events tell of every hundredth from here on" if run == TOLD_RESTARTS else ""
                    recorder.event(workflow.reference, "Normal", "Restarted", f"run {run} begins{often}")
            case _:
                pass
    was, headline = _headline(before.status), _headline(after.status)
    if after.ended and not before.ended:
        metrics.ended(headline.reason)
    elif headline.stalls and headline.reason != was.reason:
        metrics.stalled(headline.reason)
    if headline.reason != was.reason:
        _log.info("workflow changed state", extra=workflow.log_fields | {"reason": headline.reason})
        recorder.event(
            workflow.reference, headline.type, headline.reason, headline.message + _balance(after.status or {})
        )


def _log_fields(workflow: Workflow, fact: Fact) -> dict[str, Any]:
    """What a line about a fact is found by. What a task returned or said of its failure is not for logs."""
    named = {} if isinstance(fact, Restarted | StopRequested) else {"task": fact.task, "attempt": fact.attempt}
    return {**workflow.log_fields, **named, "event": type(fact).__name__}


def _failures(state: State) -> int:
    return sum(isinstance(task.final, TaskFailed | TaskTimedOut) for task in state.tasks.values())


def _failure(tasks: Mapping[str, TaskSpec], version: Version, fact: TaskFailed | TaskTimedOut) -> str:
    tried = _attempts(tasks, version, fact)
    match fact:
        case TaskFailed(error=failure):
            return f"{tried}: {failure_sentence(failure)}"
        case TaskTimedOut(timer=timer, message=cause):
            return f"{tried}: {timer}" + (f": {cause}" if cause else "")


def _balance(status: Mapping[str, Any]) -> str:
    """What came of it all, once it has ended: how many tasks, and in what time."""
    began, ended = status.get("startTime"), status.get("completionTime")
    if began is None or ended is None:
        return ""
    took = duration(max(round((parse_time(ended) - parse_time(began)).total_seconds()), 0))
    progress = status.get("progress", {})
    tasks, failed = progress.get("scheduled", 0), progress.get("failed", 0)
    of_run = f" in run {status['run']}" if status.get("run", 1) > 1 else ""
    return (
        f"; {tasks} task{'' if tasks == 1 else 's'}{of_run}"
        + (f", {failed} without success" if failed else "")
        + f"; took {took}"
    )


def _attempts(tasks: Mapping[str, TaskSpec], version: Version, fact: TaskFailed | TaskTimedOut) -> str:
    """The task and how often it was tried."""
    spec = tasks.get(task_name(fact.task))
    task = None if version.state is None else version.state.tasks.get(fact.task)
    # A restart in the same pass has emptied the tasks; then the event's own number is near enough.
    return f"{fact.task}, {attempts(spec, fact.attempt if task is None else task.attempts_made)}"


def _headline(status: Mapping[str, Any] | None) -> _Headline:
    found = by_type(status or {})
    succeeded, stalled = found.get("Succeeded", {}), found.get("Stalled", {})
    stalls = stalled.get("status") == "True"
    shown = stalled if stalls else succeeded
    return _Headline(stalls, shown.get("reason", ""), shown.get("message", ""))
