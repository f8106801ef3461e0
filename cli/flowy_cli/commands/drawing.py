"""`graph`, `timeline`, `report`: pictures of a run."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import click

from flowy_cli.options import Desk, cluster_options, pass_desk, source_argument
from flowy_cli.target import Target

if TYPE_CHECKING:
    from flowy_cli.pictures.execution import Execution

_NARROW = 100  # columns, where there is no terminal


class Form(StrEnum):
    """How a picture is written."""

    TEXT = "text"
    SVG = "svg"
    DOT = "dot"
    MERMAID = "mermaid"


def picture_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what every picture is asked: which run, and where its code may be replayed."""
    unlocked = click.option(
        "--unlocked", is_flag=True, help="Replay the code with your own rights, where it can't be locked in."
    )
    number = click.option(
        "--run",
        "number",
        type=click.IntRange(min=1),
        help="Which run, where the code has restarted. Default: the last.",
    )
    return source_argument(number(unlocked(cluster_options(pass_desk(command)))))


def form_option(*forms: Form) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add `-o` with these forms, the first by default."""
    return click.option(
        "-o",
        "--output",
        "form",
        type=click.Choice(forms, case_sensitive=False),
        default=forms[0],
        show_default=forms[0].value,
        help="How to write it.",
    )


@click.command(short_help="Draw which result went into which task, and what became of each.")
@form_option(Form.TEXT, Form.SVG, Form.DOT, Form.MERMAID)
@click.option("--all", "every", is_flag=True, help="Draw each task, also where many look the same.")
@picture_options
def graph(desk: Desk, form: Form, *, every: bool, **source: Any) -> None:
    """Draw the graph of a run: activities, sub-workflows, and whose result went into whose arguments.

    Dashed arrows lead from what the code had looked at before it made a call. Tasks that look the same are one node, if
    they are more than eight. The code is replayed for it, in a process that can reach nothing.
    """
    with _reading(desk, **source) as read:
        from flowy_cli.pictures import dot, graph_svg, graph_text, mermaid
        from flowy_cli.pictures.graph import STACKED, graph_of

        execution = read()
    drawn = graph_of(execution, stacked=len(execution.calls) if every else STACKED)
    match form:
        case Form.SVG:
            with _layout():
                written = graph_svg.graph_svg(drawn, _heading(execution))
        case Form.DOT:
            written = dot.dot(drawn, _heading(execution))
        case Form.MERMAID:
            written = mermaid.mermaid(drawn)
        case Form.TEXT:
            written = f"{_heading(execution)}\n\n{graph_text.graph_text(drawn, _width())}"
    click.echo(written, nl=False)


@click.command(short_help="Draw when each task waited and ran, and which of them the run had to wait for.")
@form_option(Form.TEXT, Form.SVG)
@picture_options
def timeline(desk: Desk, form: Form, **source: Any) -> None:
    """Draw a run along the clock: waiting, running, retries, the critical path, and when the code moved on."""
    with _reading(desk, **source) as read:
        from flowy_cli.pictures import timeline_svg, timeline_text
        from flowy_cli.pictures.timeline import timeline_of

        execution = read()
    drawn = timeline_of(execution)
    if form is Form.SVG:
        written = timeline_svg.timeline_svg(drawn, _heading(execution))
    else:
        written = f"{_heading(execution)}\n\n{timeline_text.timeline_text(drawn, _width())}"
    click.echo(written, nl=False)


@click.command(short_help="Write all that is known of a run as one HTML page.")
@picture_options
def report(desk: Desk, **source: Any) -> None:
    """Write a run as one HTML page: graph, timeline, and each task with its arguments, results, errors and log commands.

    The page needs nothing but a browser: flowy report talk-42 > talk-42.html
    """
    with _reading(desk, **source) as read:
        from flowy_cli.pictures.reading import Detail
        from flowy_cli.pictures.report import report as page

        execution = read(Detail.ARGUMENTS)
    with _layout():
        written = page(execution)
    click.echo(written, nl=False)


@contextmanager
def _reading(
    desk: Desk, *, source: str, name: str | None, number: int | None, unlocked: bool, target: Target
) -> "Iterator[Callable[..., Execution]]":
    """What reads the run, to be called once in the block: the decider starts while the block loads what it needs to draw."""
    from flowy_cli.pictures.traces import trace_in
    from flowy_cli.replaying import decider
    from flowy_cli.texts import is_file, place_of, read_text

    text = read_text(source) if is_file(source) else None
    trace = None if text is None else trace_in(text)
    if trace is not None:
        from flowy_cli.pictures.local import execution_of_trace

        yield lambda _=None: execution_of_trace(trace, number)
        return
    with decider.unlocked() if unlocked else decider.locked() as within:
        from flowy_cli import documents
        from flowy_cli.errors import Unreadable
        from flowy_cli.pictures.reading import Detail, execution_of
        from flowy_cli.run import history_advice
        from flowy_cli.sources import run_of_source
        from flowy_operator.core.history import HistoryInvalid
        from flowy_operator.core.printable import printable_below

        def read(detail: Detail = Detail.SHAPE) -> "Execution":
            if text is None:
                run = run_of_source(source, name, target, children=True, values=True)
            else:
                where = place_of(source)
                run = documents.run_of(documents.objects(text, where), where, name)
            try:
                execution = execution_of(run, now=desk.now(), replay=within(_WALL_S), number=number, detail=detail)
            except HistoryInvalid as error:
                raise Unreadable(f"the history of {run.name} can't be read: {error}", history_advice(error)) from error
            for each in execution.everything():
                if each.flow:
                    click.echo(printable_below(f"flowy: {each.name}: arrows are missing: {each.flow}"), err=True)
            return execution

        yield read


_WALL_S = 60.0
"""For one replay: more than the operator gives to a decision, since a trace takes longer, and nobody else waits."""


@contextmanager
def _layout() -> Iterator[None]:
    from flowy_cli.errors import CliError
    from flowy_cli.pictures.layout import LayoutMissing

    try:
        yield
    except LayoutMissing as error:
        raise CliError(str(error)) from error


def _heading(execution: "Execution") -> str:
    """`saga: failed, 9.0 s; Failed: …`."""
    from flowy_cli.pictures.words import one_line, spoken
    from flowy_cli.tables import took

    time = took(execution.until - execution.started_at)
    return one_line(f"{execution.name}: {spoken(execution.standing)}, {time}; {execution.reason}")


def _width() -> int:
    import shutil

    return shutil.get_terminal_size((_NARROW, 24)).columns
