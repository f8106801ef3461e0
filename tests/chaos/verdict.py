"""The judgement: each workflow as its oracle says, each attempt once, nothing left. All that is wrong, as sentences."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from flowy_operator.core.conditions import by_type
from flowy_operator.core.history import (
    Event,
    HistoryInvalid,
    Restarted,
    TaskCancelled,
    TaskCompleted,
    TaskDisrupted,
    TaskFailed,
    TaskScheduled,
    parse_history,
)
from flowy_operator.core.naming import job_name
from flowy_operator.core.pages import join
from tests.chaos.observer import Seen
from tests.chaos.plan import Deed, Load

Json = Mapping[str, Any]


class Started(NamedTuple):
    """A container that began, as its line says. `job` is the Job's name."""

    workflow: str
    run: int
    task: str
    attempt: int
    job: str


@dataclass(frozen=True, slots=True)
class Recorded:
    """An attempt's launch on record. `must_run`: an outcome is recorded that only a container can have."""

    started: Started
    at: float
    must_run: bool


def read_started(folder: Path) -> list[Started]:
    """Both logs: that of the fake nodes names the Job, that of the real one the pod, whose name is the Job's and a suffix."""
    found = []
    for name in ("fake", "real"):
        path = folder / name
        for line in path.read_text().splitlines() if path.exists() else ():
            workflow, run, task, attempt, job = line.split()
            found.append(
                Started(workflow, int(run), task, int(attempt), job.rpartition("-")[0] if name == "real" else job)
            )
    return found


def outcome_of(load: Load, seen: Seen | None) -> str | None:
    """What is wrong with a workflow's end."""
    if load.deed is Deed.DELETE:
        return None if seen is None or seen.is_gone else f"{load.name} was deleted, and is still there"
    if seen is None:
        return f"{load.name} was never seen"
    if not seen.has_ended:
        return f"{load.name} has not ended: {json.dumps(by_type(seen.body.get('status') or {}).get('Succeeded'))}"
    status = seen.body["status"]
    reason = by_type(status)["Succeeded"]["reason"]
    error = status.get("error", {})
    if load.deed in {Deed.CANCEL, Deed.TERMINATE} and reason in {"Cancelled", "Terminated"}:
        return None
    if reason == "Completed" == load.outcome and json.loads(status["result"]) == load.value:
        return None
    # Of two tasks that fail for the same, the first to end tells by which name.
    if reason == "Failed" == load.outcome and error.get("message") == load.value[1]:
        return None
    found = status.get("result") if reason == "Completed" else error
    return f"{load.name} is {reason} with {found!r}, and the sequential run {load.outcome} with {load.value!r}"


def whole_history(body: Json, pages: Sequence[Json]) -> list[Event]:
    """All events of a Workflow that there are. HistoryInvalid if they aren't one history."""
    uid = body["metadata"]["uid"]
    own = [page for page in pages if page["metadata"]["labels"]["flowy.dev/workflow-uid"] == uid]
    events = join(own, body.get("status") or {})
    ids = [event.id for event in events]
    if ids and ids != list(range(ids[0], ids[0] + len(ids))):
        raise HistoryInvalid(f"the events are {ids}")
    return events


def recorded(body: Json, events: Sequence[Event]) -> Iterator[Recorded]:
    """What these events say was launched, by the run they begin with."""
    name, uid = body["metadata"]["name"], body["metadata"]["uid"]
    run = 1
    launches: dict[tuple[str, int], list[Event]] = {}
    ends: dict[Started, bool] = {}
    found: dict[Started, float] = {}
    current: dict[tuple[str, int], Started] = {}

    def launch(task: str, attempt: int, at: float) -> None:
        number = len(launches.setdefault((task, attempt), []))
        job = job_name(workflow=name, uid=uid, run=run, task=task, attempt=attempt, launch=number)
        started = Started(name, run, task, attempt, job)
        found[started], current[task, attempt] = at, started

    for event in events:
        match event.fact:
            case Restarted(run=number):
                run, launches, current = number, {}, {}
            case TaskScheduled(task=task, attempt=attempt):
                launch(task, attempt, event.time.timestamp())
            case TaskDisrupted(task=task, attempt=attempt):
                launches[task, attempt].append(event)
                launch(task, attempt, event.time.timestamp())
            case TaskCompleted(task=task, attempt=attempt) | TaskFailed(task=task, attempt=attempt):
                if (task, attempt) in current:
                    ends[current[task, attempt]] = True
            case TaskCancelled():
                pass
    for started, at in found.items():
        yield Recorded(started, at, ends.get(started, False))


def each_once(
    started: Sequence[Started], histories: Mapping[str, Sequence[Recorded]], children: frozenset[str]
) -> Iterator[str]:
    """What ran more than once, what ran and is on no record, what is on record and didn't run.

    `histories` by the workflow's name, of those that can still be read whole; `children` are names of Workflows, which are
    launched as Jobs are.
    """
    for line, count in Counter(started).items():
        if count > 1:
            yield f"{line} ran {count} times"
    ran = set(started)
    by_name: dict[str, set[Started]] = {}
    for line in ran:
        by_name.setdefault(line.workflow, set()).add(line)
    for name, records in histories.items():
        first = min((record.started.run for record in records), default=1)
        known = {record.started for record in records}
        for line in sorted(by_name.get(name, set()) - known):
            if line.run >= first:
                yield f"{line} ran, and is on no record"
        for record in records:
            if record.must_run and record.started not in ran and record.started.job not in children:
                yield f"{record.started} has an outcome, and never ran"


def parsed(events: Mapping[int, Any]) -> list[Event]:
    """What a watch has seen of a history; nothing if it has missed an event."""
    ids = range(1, len(events) + 1)
    return list(parse_history([events[n] for n in ids], 1)) if set(ids) == set(events) else []
