"""How a local run goes, for whoever sits before it: a live picture on a terminal, a line for each event elsewhere."""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from flowy.local.around import Watcher
from flowy.wire.messages import AnsweredWait
from flowy_operator.core.printable import printable
from flowy_operator.core.sentences import line

_SHOWN = 12  # tasks that run, on the picture: more would not fit beside what scrolls by


@contextmanager
def watched() -> Iterator[Watcher]:
    """Who is told of a run, which is shown on standard error until the block ends."""
    console = Console(stderr=True)
    if not sys.stderr.isatty():
        yield Lines()
        return
    picture = Picture(console)
    with Live(get_renderable=picture.render, console=console, refresh_per_second=8, transient=True):
        yield picture


def sentence(path: str, event: Mapping[str, Any]) -> str | None:
    """What an event says in one line; None for those that say nothing new."""
    name = f"{path}/{event['task']}" if path and "task" in event else str(event.get("task", path or "the workflow"))
    attempt = event.get("attempt", 1)
    match event["type"]:
        case "TaskScheduled":
            return None if attempt == 1 else f"{name}: attempt {attempt}"
        case "TaskCompleted":
            return f"{name}: completed, {line(str(event.get('result', 'null')))}"
        case "TaskFailed":
            error = event["error"]
            told = f"{name}: {'failed' if event.get('final') else f'attempt {attempt} failed'}, {error['type']}: "
            return told + line(str(error["message"]))
        case "TaskTimedOut":
            return f"{name}: {'timed out' if event.get('final') else f'attempt {attempt} timed out'} ({event['timer']})"
        case "TaskCancelled":
            return f"{name}: cancelled ({event['reason']})"
        case "RetryScheduled":
            return f"{name}: attempt {attempt} at {event['at']}"
        case "StopRequested":
            return f"{name}: stop requested ({event['mode']})"
        case "Restarted":
            return f"{name}: run {event['run']} begins"
    return None


class Lines:
    """A line for each start and each event."""

    def happened(self, path: str, event: Mapping[str, Any]) -> None:
        told = sentence(path, event)
        if told is not None:
            self._tell(told)

    def started(self, path: str, task: str, attempt: int) -> None:
        del attempt  # of a second one the event has told
        self._tell(f"{path}/{task}: started" if path else f"{task}: started")

    def waits(self, path: str, waiting_on: Sequence[AnsweredWait]) -> None:
        """Nothing is printed: what it waits for is seen to run."""

    def _tell(self, text: str) -> None:
        click.echo(printable(text), err=True)


@dataclass(slots=True)
class _Open:
    since: float
    is_running: bool = False


class Picture:
    """What runs now and what the code waits for; above it, what is over scrolls by."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._open: dict[str, _Open] = {}
        self._waits = ""
        self._over = 0
        self._spinner = Spinner("dots")

    def happened(self, path: str, event: Mapping[str, Any]) -> None:
        name = f"{path}/{event.get('task')}" if path else str(event.get("task"))
        told = sentence(path, event)
        if told is not None:
            self._console.print(Text(printable(told), style=_style(event)), highlight=False)
        if event["type"] == "TaskScheduled":
            self._open[name] = _Open(time.monotonic())
        elif "task" in event:
            self._over += self._open.pop(name, None) is not None

    def started(self, path: str, task: str, attempt: int) -> None:
        del attempt
        self._open[f"{path}/{task}" if path else task] = _Open(time.monotonic(), is_running=True)

    def waits(self, path: str, waiting_on: Sequence[AnsweredWait]) -> None:
        if not path and waiting_on:
            first = waiting_on[0]
            more = f" and {len(waiting_on) - 1} more" if len(waiting_on) > 1 else ""
            place = f"line {first.line} " if first.line else ""
            self._waits = f"; {place}waits for {first.key}{more}"

    def render(self) -> RenderableType:
        """The picture of this moment."""
        running = [(name, o) for name, o in list(self._open.items()) if o.is_running]
        queued = len(self._open) - len(running)
        now = time.monotonic()
        rows: list[RenderableType] = [Text(f"  {name}  {now - o.since:.0f} s") for name, o in running[:_SHOWN]]
        if len(running) > _SHOWN:
            rows.append(Text(f"  and {len(running) - _SHOWN} more"))
        self._spinner.update(text=Text(f"{self._over} over, {len(running)} running, {queued} scheduled{self._waits}"))
        return Group(self._spinner, *rows)


def _style(event: Mapping[str, Any]) -> str:
    if event["type"] == "TaskCompleted":
        return "green"
    return "red" if event["type"] in {"TaskFailed", "TaskTimedOut"} else "dim"
