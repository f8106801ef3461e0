"""What people are told of a pass, after it is on record: Kubernetes Events and a log line.

Transitions of the workflow and final failures of tasks only; whoever wants each event has the history.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from flowy_operator.adapters.recorder import Recorder
from flowy_operator.app.tracked import Version, Workflow
from flowy_operator.core.history import Fact, Restarted, TaskFailed, TaskTimedOut
from flowy_operator.core.sentences import attempts, failure_sentence
from flowy_operator.core.spec import TaskSpec
from flowy_operator.core.state import task_name

_log = logging.getLogger(__name__)


class _Headline(NamedTuple):
    """What a Kubernetes Event says of a workflow's standing."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


def announce(
    recorder: Recorder,
    workflow: Workflow,
    before: Version,
    after: Version,
    facts: Sequence[Fact],
    tasks: Mapping[str, TaskSpec],
) -> None:
    """Tell what has changed from one version to the next, which these facts led to. `tasks` are the spec's."""
    for fact in facts:
        match fact:
            case TaskFailed(final=True, error=failure):
                words = f"{_attempts(tasks, after, fact)}: {failure_sentence(failure)}"
                recorder.event(workflow.reference, "Warning", "TaskFailed", words)
            case TaskTimedOut(final=True, timer=timer, message=cause):
                words = f"{_attempts(tasks, after, fact)}: {timer}" + (f": {cause}" if cause else "")
                recorder.event(workflow.reference, "Warning", "TaskTimedOut", words)
            case Restarted():
                recorder.event(workflow.reference, "Normal", "Restarted", f"run {fact.run} begins")
            case _:
                pass
    was, headline = _headline(before.status), _headline(after.status)
    if headline.reason != was.reason:
        _log.info("workflow changed state", extra=workflow.log_fields | {"reason": headline.reason})
        recorder.event(workflow.reference, headline.type, headline.reason, headline.message)


def _attempts(tasks: Mapping[str, TaskSpec], version: Version, fact: TaskFailed | TaskTimedOut) -> str:
    """The task and how often it was tried."""
    spec = tasks.get(task_name(fact.task))
    task = None if version.state is None else version.state.tasks.get(fact.task)
    # A restart in the same pass has emptied the tasks; then the event's own number is near enough.
    return f"{fact.task}, {attempts(spec, fact.attempt if task is None else task.attempts_made)}"


def _headline(status: Mapping[str, Any] | None) -> _Headline:
    found = {c.get("type"): c for c in (status or {}).get("conditions", ())}
    succeeded, stalled = found.get("Succeeded", {}), found.get("Stalled", {})
    shown = stalled if stalled.get("status") == "True" else succeeded
    kind: Literal["Normal", "Warning"] = "Warning" if shown is stalled else "Normal"
    return _Headline(kind, shown.get("reason", ""), shown.get("message", ""))
