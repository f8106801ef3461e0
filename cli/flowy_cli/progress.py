"""How Workflows are doing while somebody waits: a live picture on a terminal, a line for each change elsewhere."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from flowy_cli.listing import status_of
from flowy_cli.run import Raw
from flowy_cli.waiting import Seen
from flowy_operator.core.conditions import by_type, has_ended
from flowy_operator.core.printable import printable
from flowy_operator.core.sentences import line

_COLOURS = {"Completed": "green", "Failed": "red", "InvalidCode": "red", "TimedOut": "red", "Stalled": "yellow"}
_BAR = 20


@contextmanager
def shown() -> Iterator[Seen]:
    """Give what is to be told of each state; shows it on standard error until the block ends."""
    if not sys.stderr.isatty():
        yield _Lines().seen
        return
    picture = _Picture()
    with Live(get_renderable=picture.render, console=Console(stderr=True), refresh_per_second=8, transient=True):
        yield picture.seen


def standing(body: Raw) -> str:
    """How a Workflow is doing, in one line."""
    status = body.get("status") or {}
    message = line(str(by_type(status).get("Succeeded", {}).get("message") or ""))
    progress = (status.get("progress") or {}).get("summary")
    words = f"{status_of(body)}: {message}" if message else status_of(body)
    return f"{words} ({progress})" if progress else words


class _Lines:
    """A line whenever a Workflow's standing has changed."""

    def __init__(self) -> None:
        self._told: dict[str, str] = {}

    def seen(self, body: Raw) -> None:
        name, text = str(body["metadata"]["name"]), printable(standing(body), kept="")
        if self._told.get(name) != text:
            self._told[name] = text
            click.echo(f"{name}: {text}", err=True)


class _Picture:
    """All Workflows with a bar each, and below each what it waits for."""

    def __init__(self) -> None:
        self._bodies: dict[str, Raw] = {}
        self._spinner = Spinner("dots")

    def seen(self, body: Raw) -> None:
        self._bodies[str(body["metadata"]["name"])] = body

    def render(self) -> RenderableType:
        return Group(*(self._one(body) for body in self._bodies.values()))

    def _one(self, body: Raw) -> RenderableType:
        status, reason = body.get("status") or {}, status_of(body)
        progress = status.get("progress") or {}
        done = int(progress.get("succeeded", 0)) + int(progress.get("failed", 0))
        head = Table.grid(padding=(0, 1))
        mark: RenderableType = Text("●", _COLOURS.get(reason, "")) if has_ended(status) else self._spinner
        head.add_row(
            mark,
            Text(printable(str(body["metadata"]["name"])), "bold"),
            Text(printable(reason), _COLOURS.get(reason, "cyan")),
            ProgressBar(total=max(int(progress.get("scheduled", 0)), 1), completed=done, width=_BAR),
            Text(printable(str(progress.get("summary", "")))),
        )
        return Group(head, *(_wait(wait) for wait in status.get("waitingOn", ())))


def _wait(wait: Raw) -> Text:
    at = f"line {wait['line']}: " if "line" in wait else ""
    reason = f"  {wait['reason']}" if "reason" in wait else ""
    return Text("    " + printable(line(f"{at}{wait.get('task')}{reason}")), "dim")
