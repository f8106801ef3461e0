"""What the containers of a Workflow's tasks print: of those whose pods are there, as they are; or as it comes."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any

from flowy_cli.cluster import get_workflow, read_run
from flowy_cli.connection import Connection
from flowy_cli.errors import NotThere
from flowy_cli.run import Raw, Run
from flowy_cli.waiting import until_ended
from flowy_operator.adapters.kube import paths
from flowy_operator.adapters.kube.errors import BadRequest, Gone, NotFound, ServerError, TooManyRequests, Unreachable
from flowy_operator.core.history import TaskCompleted
from flowy_operator.core.job import ATTEMPT_LABEL, MAIN, TASK_ANNOTATION, TASK_LABEL, UID_LABEL
from flowy_operator.core.printable import printable
from flowy_operator.core.state import Task, task_name

_STARTED = ("Running", "Succeeded", "Failed")
_PAUSE_S = 1.0

Write = Callable[[bytes], None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Whose logs: of a key, or of all calls of a task; None is all. `tail` is a number of lines, None is all of them."""

    task: str | None = None
    attempt: int | None = None
    tail: int | None = None

    def takes(self, pod: Raw) -> bool:
        key, attempt = identity(pod)
        return self.task in {None, key, task_name(key)} and self.attempt in {None, attempt}


def identity(pod: Raw) -> tuple[str, int]:
    """The key of the task and the number of the attempt that a pod is of."""
    metadata = pod["metadata"]
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    attempt = str(labels.get(ATTEMPT_LABEL, "1"))
    return str(annotations.get(TASK_ANNOTATION) or labels.get(TASK_LABEL, "")), int(
        attempt
    ) if attempt.isdecimal() else 1


async def show(connection: Connection, name: str, wanted: Wanted, write: Write, tell: Callable[[str], None]) -> None:
    """Write what there is. `tell` is given what a person should know beside. Raises NotThere if no such pod is there."""
    body = await get_workflow(connection.client, connection.namespace, name)
    found, _ = await connection.client.list(paths.pods(connection.namespace), label_selector=_selector(body))
    pods = sorted(filter(wanted.takes, found), key=lambda pod: str(pod["metadata"].get("creationTimestamp")))
    if not pods:
        raise _no_pods(await read_run(connection.client, connection.namespace, name), wanted)
    for pod in pods:
        if _phase(pod) in _STARTED:
            printer = _Printer(write, _prefix(pod) if len(pods) > 1 else b"")
            await _stream(connection, pod, wanted, printer, follow=False)
        else:
            tell(f"{_named(pod)} hasn't started; `flowy describe {name}` may say why")


async def follow(connection: Connection, name: str, wanted: Wanted, write: Write) -> None:
    """Write what there is and what comes, of pods that are there and that will be, until the Workflow has ended."""
    body = await get_workflow(connection.client, connection.namespace, name)
    try:
        async with asyncio.TaskGroup() as group:
            await _follow(connection, body, wanted, write, group)
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None


async def _follow(connection: Connection, body: Raw, wanted: Wanted, write: Write, group: asyncio.TaskGroup) -> None:
    begun: set[str] = set()

    def begin(pod: Raw) -> None:
        uid = str(pod["metadata"]["uid"])
        if uid not in begun and wanted.takes(pod) and _phase(pod) in _STARTED:
            begun.add(uid)
            group.create_task(_stream(connection, pod, wanted, _Printer(write, _prefix(pod)), follow=True))

    watching = group.create_task(_watch(connection, _selector(body), begin))
    await until_ended(connection, [str(body["metadata"]["name"])], lambda _: None, None)
    watching.cancel()
    found, _ = await connection.client.list(paths.pods(connection.namespace), label_selector=_selector(body))
    for pod in found:
        begin(pod)


def _selector(body: Raw) -> str:
    return f"{UID_LABEL}={body['metadata']['uid']},{TASK_LABEL}"


async def _watch(connection: Connection, selector: str, begin: Callable[[Raw], None]) -> None:
    path = paths.pods(connection.namespace)
    while True:
        with suppress(Gone, Unreachable, ServerError, TooManyRequests):
            found, version = await connection.client.list(path, label_selector=selector)
            for pod in found:
                begin(pod)
            stream = connection.client.watch(path, resource_version=version, label_selector=selector)
            async with aclosing(stream) as events:
                async for event in events:
                    if event.type in {"ADDED", "MODIFIED"}:
                        begin(event.object)
            continue
        await asyncio.sleep(_PAUSE_S)


async def _stream(connection: Connection, pod: Raw, wanted: Wanted, printer: "_Printer", *, follow: bool) -> None:
    query = {"container": MAIN}
    if follow:
        query["follow"] = "true"
    if wanted.tail is not None:
        query["tailLines"] = str(wanted.tail)
    path = paths.pod_log(connection.namespace, str(pod["metadata"]["name"]))
    # A pod that is gone, or whose node has lost the log, has nothing more to say.
    with suppress(NotFound, BadRequest):
        async with aclosing(connection.client.stream(path, query=query)) as blocks:
            async for block in blocks:
                printer.take(block)
    printer.end()


class _Printer:
    """Writes lines with what they begin with; without it the bytes as they come."""

    def __init__(self, write: Write, prefix: bytes) -> None:
        self._write = write
        self._prefix = prefix
        self._rest = b""

    def take(self, block: bytes) -> None:
        if not self._prefix:
            self._write(block)
            return
        *lines, self._rest = (self._rest + block).split(b"\n")
        if lines:
            self._write(b"".join(self._prefix + line + b"\n" for line in lines))

    def end(self) -> None:
        if self._rest:
            self._write(self._prefix + self._rest + b"\n")
            self._rest = b""


def _phase(pod: Raw) -> str:
    return str((pod.get("status") or {}).get("phase"))


def _named(pod: Raw) -> str:
    key, attempt = identity(pod)
    return printable(key if attempt == 1 else f"{key}#{attempt}", kept="")


def _prefix(pod: Raw) -> bytes:
    return f"{_named(pod)} | ".encode()


def _no_pods(run: Run, wanted: Wanted) -> NotThere:
    """Why there is nothing to show, and where to look instead."""
    tasks = run.state.tasks
    chosen = [task for task in tasks.values() if wanted.task in {None, task.key, task.name}]
    if not chosen:
        keys = ", ".join(tasks) or "none yet"
        return NotThere(
            f"{run.name} has called no task {wanted.task!r}" if wanted.task else f"{run.name} has called no task",
            f"its tasks: {keys}",
        )
    task = chosen[0]
    if len(chosen) == 1 and _is_workflow(run, task) and task.launch is not None:
        return NotThere(f"{task.key} is a Workflow of its own", f"flowy logs {task.launch.job}")
    which = "" if wanted.attempt is None else f"attempt {wanted.attempt} of "
    return NotThere(
        f"no pod of {which}{wanted.task or run.name} is there" + (" any more" if all(t.final for t in chosen) else ""),
        f"they stay for a while after the end: spec.jobs.{_kept_by(task)}; `flowy describe {run.name}` tells what came of them",
    )


def _kept_by(task: Task) -> str:
    return "keepSucceededSeconds" if isinstance(task.final, TaskCompleted) else "keepFailedSeconds"


def _is_workflow(run: Run, task: Task) -> bool:
    content = run.spec if run.definition is None else run.definition.get("spec") or {}
    specs: Sequence[Any] = content.get("tasks") or ()
    return any(spec.get("name") == task.name and "workflow" in spec for spec in specs)
