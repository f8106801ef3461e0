"""The story of a run for people: how it stands, what it waits for, what became of each task."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from flowy_cli.run import Raw, Run, instant
from flowy_cli.tables import clock, indented, table, took
from flowy_operator.core.conditions import by_type, has_ended
from flowy_operator.core.history import (
    Event,
    RetryScheduled,
    TaskCancelled,
    TaskCompleted,
    TaskDisrupted,
    TaskFailed,
    TaskScheduled,
    TaskTimedOut,
)
from flowy_operator.core.printable import printable, printable_below
from flowy_operator.core.sentences import attempt_sentence, line
from flowy_operator.core.state import Phase, Task

_STATES = {Phase.WAITING: "waiting", Phase.OPEN: "running", Phase.RETRYING: "retrying"}
_WIDTH = 13


def description(run: Run, now: datetime) -> str:
    """All of it."""
    return "".join(_parts(run, now))


def _parts(run: Run, now: datetime) -> Iterator[str]:
    yield _head(run, now)
    if waits := run.status.get("waitingOn"):
        yield "\nWaits for:\n" + indented(table(("TASK", "LINE", "SINCE", "WHY"), [_wait(wait) for wait in waits]))
    tasks = run.state.tasks
    if tasks:
        *_, (_, events) = run.runs()
        yield "\nTasks:\n" + indented(
            table(("TASK", "LINE", "STATE", "ATTEMPTS", "TOOK", "OUTCOME"), _tasks(run, tasks.values(), now))
        )
        if went_wrong := _went_wrong(events):
            yield "\nAttempts that went wrong:\n" + indented(table(("TIME", "TASK", "WHAT"), went_wrong))
    if errors := run.status.get("ignoredErrors"):
        yield "\nErrors that the code never looked at:\n"
        yield from (indented(_error(error)) for error in errors)


def _head(run: Run, now: datetime) -> str:
    status, condition = run.status, run.succeeded
    fields: list[tuple[str, str]] = [("Name", run.name), ("Namespace", run.namespace), ("Status", run.reason)]
    if message := condition.get("message"):
        fields.append(("", str(message)))
    stalled = by_type(status).get("Stalled", {})
    if stalled.get("status") == "True" and condition.get("status") == "Unknown":
        fields.append(("Stalled", str(stalled.get("reason"))))
    if reference := run.spec.get("definitionRef"):
        missing = "" if run.definition is not None else " (not there)"
        fields.append(("Definition", f"{reference.get('name')}{missing}"))
    if parent := _parent(run.body):
        fields.append(("Parent", parent))
    if status.get("run", 1) > 1:
        fields.append(("Run", str(status["run"])))
    if run.has_begun:
        fields.append(("Started", clock(run.started_at) + _took(run, now)))
    if "completionTime" in status:
        fields.append(("Ended", clock(instant(status["completionTime"]))))
    if progress := status.get("progress"):
        counts = (f"{progress[name]} {name}" for name in ("running", "succeeded", "failed") if progress.get(name))
        fields.append(("Tasks", ", ".join([str(progress.get("summary", "")), *counts])))
    if "result" in status:
        fields.append(("Result", str(status["result"])))
    text = "".join(
        f"{f'{name}:' if name else '':<{_WIDTH}}{printable_below(value, _WIDTH)}\n" for name, value in fields
    )
    return text + (f"Error:\n{indented(_error(status['error']))}" if "error" in status else "")


def _took(run: Run, now: datetime) -> str:
    ended = run.status.get("completionTime")
    time = took(run.until(now) - run.started_at)
    return f", took {time}" if ended else f", {time} ago"


def _parent(body: Raw) -> str | None:
    labels, annotations = body["metadata"].get("labels") or {}, body["metadata"].get("annotations") or {}
    parent = labels.get("flowy.dev/workflow")
    return None if parent is None else f"{parent}, task {annotations.get('flowy.dev/task', '?')}"


def _wait(wait: Raw) -> list[str]:
    since = clock(instant(wait["since"])) if "since" in wait else ""
    return [str(wait.get("task")), str(wait.get("line", "")), since, str(wait.get("reason", ""))]


def _tasks(run: Run, tasks: Iterable[Task], now: datetime) -> list[list[str]]:
    rows = []
    for task in tasks:
        state, outcome = outcome_of(task)
        until = task.finished_at or now
        child = run.children.get(task.launch.job) if task.launch is not None else None
        if child is not None and task.final is None:
            outcome = f"Workflow {child.name}: {child.reason}"
        rows.append(
            [
                task.key,
                "" if task.line is None else str(task.line),
                state,
                str(task.attempts_made),
                took(until - task.first_scheduled_at),
                outcome,
            ]
        )
    return rows


def outcome_of(task: Task) -> tuple[str, str]:
    """The state of a task in a word, and what came of it."""
    match task.final:
        case None:
            due = f"attempt {task.attempt} at {clock(task.due_at)}" if task.due_at is not None else ""
            return _STATES.get(task.phase, ""), due
        case TaskCompleted(result=result, result_ref=ref):
            return "completed", line(result) if ref is None else f"{ref.bytes:,} bytes in the ConfigMap {ref.name}"
        case TaskFailed() | TaskTimedOut() as final:
            return "failed" if isinstance(final, TaskFailed) else "timed out", attempt_sentence(final)
        case TaskCancelled(reason=reason):
            return "cancelled", str(reason)


def _went_wrong(events: Sequence[Event]) -> list[list[str]]:
    """The attempts that no outcome tells of: those that were followed by another."""
    rows = []
    for event in events:
        match event.fact:
            case TaskFailed(final=False) | TaskTimedOut(final=False) as fact:
                rows.append([clock(event.time), fact.task, attempt_sentence(fact)])
            case TaskDisrupted() as fact:
                rows.append([clock(event.time), fact.task, f"attempt {fact.attempt} was disrupted: {fact.reason}"])
            case _:
                pass
    return rows


def _error(error: Raw) -> str:
    """An error with all that is known of it, one thing a line."""
    words = [f"{error.get('type', 'Error')}: {error.get('message', '')}"]
    where = [
        f"{name} {error[field]}"
        for field, name in (
            ("task", "task"),
            ("attempt", "attempts"),
            ("exitCode", "exit code"),
            ("timer", "timer"),
            ("reason", "reason"),
            ("line", "line"),
        )
        if field in error
    ]
    if where:
        words.append(", ".join(where))
    if "details" in error:
        words.append(f"details {error['details']}")
    if "traceback" in error:
        words.append(str(error["traceback"]))
    return printable("\n".join(words))


def history_rows(events: Sequence[Event]) -> str:
    """The events of a history, one a line; nothing if there are none."""
    if not events:
        return ""
    return table(("ID", "TIME", "EVENT", "TASK", "WHAT"), [_event(event) for event in events])


def no_events(run: Run) -> str:
    """What is said of a run instead of its events."""
    return f"{printable(run.name)} {'has ended without any event' if has_ended(run.status) else 'has no events yet'}"


def _event(event: Event) -> list[str]:
    fact = event.fact
    task = getattr(fact, "task", "")
    attempt = getattr(fact, "attempt", 1)
    at = event.time.strftime("%Y-%m-%d %H:%M:%S.") + f"{event.time.microsecond // 1000:03d}"
    key = f"{task} #{attempt}" if attempt > 1 else task
    return [str(event.id), at, type(fact).__name__, key, what_of(event)]


def what_of(event: Event) -> str:
    """What an event tells beside its type and its task, in one line."""
    match event.fact:
        case TaskScheduled(line=at):
            return f"line {at}" if at is not None else ""
        case RetryScheduled(at=due):
            return f"at {clock(due)}"
        case TaskCompleted(result=result, result_ref=ref):
            return line(result) if ref is None else f"{ref.bytes:,} bytes in the ConfigMap {ref.name}"
        case TaskFailed() | TaskTimedOut() as fact:
            return attempt_sentence(fact) + (", final" if fact.final else "")
        case TaskDisrupted(launch=launch, reason=reason, message=message):
            return f"launch {launch}: {reason}" + (f": {line(message)}" if message else "")
        case TaskCancelled(reason=reason):
            return str(reason)
        case fact:
            fields = {name: getattr(fact, name) for name in fact.__slots__}
            return ", ".join(f"{name} {line(str(value))}" for name, value in fields.items())
