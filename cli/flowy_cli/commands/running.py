"""`start`, `wait`, `retry`, and what may be changed of a Workflow that runs: `cancel`, `terminate`, `suspend`, `resume`."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from flowy_cli.options import (
    Output,
    cluster_options,
    definitions_or_files,
    workflow_argument,
    workflows_argument,
)
from flowy_cli.target import Target

if TYPE_CHECKING:
    from flowy_cli.changing import Change

_timeout = click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Wait no longer. Default: as long as it takes.",
)
_output = click.option(
    "-o",
    "--output",
    type=click.Choice([Output.JSON, Output.YAML], case_sensitive=False),
    help="Print the new object instead of its name.",
)


@click.command(short_help="Start a Workflow, of a definition or of a manifest.")
@click.argument("source", metavar="DEFINITION|FILE|-", shell_complete=definitions_or_files)
@click.argument("args", metavar="[ARGUMENT]...", nargs=-1)
@click.option(
    "-k", "--kwarg", "kwargs", metavar="NAME=VALUE", multiple=True, help="A keyword argument. May be repeated."
)
@click.option(
    "--name", metavar="NAME", help="Of the new Workflow. Default: that of the file; of a definition, with a suffix."
)
@click.option("-w", "--wait", "waits", is_flag=True, help="Wait for the end, as `flowy wait` does.")
@_timeout
@_output
@cluster_options
def start(
    source: str,
    args: Sequence[str],
    kwargs: Sequence[str],
    name: str | None,
    waits: bool,  # noqa: FBT001 - click passes flags so
    timeout_s: float | None,
    output: Output | None,
    target: Target,
) -> None:
    """Start a Workflow: of a WorkflowDefinition, by its name, or of a manifest in a file.

    An ARGUMENT is JSON, or text if it isn't; what begins with {, [ or " must be JSON. Arguments given here replace all of the
    manifest's input. Prints the name of the new Workflow.
    """
    from flowy_cli import starting
    from flowy_cli.arguments import argument, keyword_arguments
    from flowy_cli.connection import in_cluster

    given, named = [argument(text) for text in args], keyword_arguments(kwargs)
    body = in_cluster(target, lambda connection: starting.start(connection, source, given, named, name))
    _tell_created(body, output, err=waits)
    if waits:
        _wait([body["metadata"]["name"]], timeout_s, replace(target, namespace=body["metadata"]["namespace"]))


@click.command()
@workflows_argument
@_timeout
@cluster_options
def wait(names: Sequence[str], timeout_s: float | None, target: Target) -> None:
    """Wait until Workflows have ended, and print their results.

    Exit code 0 if all have completed, 1 if one hasn't, 5 after --timeout. Progress goes to standard error.
    """
    _wait(names, timeout_s, target)


def _wait(names: Sequence[str], timeout_s: float | None, target: Target) -> None:
    from flowy_cli import ending, progress, waiting
    from flowy_cli.connection import in_cluster

    with progress.shown() as seen:
        bodies = in_cluster(target, lambda connection: waiting.until_ended(connection, names, seen, timeout_s))
    click.get_current_context().exit(ending.report(bodies))


@click.command(short_help="Run an ended Workflow again, as a new one.")
@workflow_argument
@click.option("-w", "--wait", "waits", is_flag=True, help="Wait for the end, as `flowy wait` does.")
@_timeout
@_output
@cluster_options
def retry(name: str, waits: bool, timeout_s: float | None, output: Output | None, target: Target) -> None:  # noqa: FBT001
    """Run an ended Workflow again: a new one, NAME-2 and so on, with the same code and input.

    It begins from nothing: all tasks run again. The old one stays as it is. Prints the name of the new one.
    """
    from flowy_cli import starting
    from flowy_cli.connection import in_cluster

    body = in_cluster(target, lambda connection: starting.retry(connection, name))
    _tell_created(body, output, err=waits)
    if waits:
        _wait([body["metadata"]["name"]], timeout_s, replace(target, namespace=body["metadata"]["namespace"]))


def _tell_created(body: dict[str, Any], output: Output | None, *, err: bool) -> None:
    """Print the name or the object; to standard error where standard output is for a result."""
    from flowy_cli import documents

    if output is None:
        text = f"{body['metadata']['name']}\n"
    else:
        text = documents.to_json(body) if output is Output.JSON else documents.to_yaml(body)
    click.echo(text, nl=False, err=err)


@click.command(short_help="Ask Workflows to stop; their code may clean up.")
@workflows_argument
@cluster_options
def cancel(names: Sequence[str], target: Target) -> None:
    """Ask Workflows to stop: their tasks are cancelled, their code may clean up. It can't be taken back."""
    from flowy_cli import changing

    _change(names, changing.CANCEL, target)


@click.command(short_help="End Workflows at once; none of their code runs.")
@workflows_argument
@cluster_options
def terminate(names: Sequence[str], target: Target) -> None:
    """End Workflows at once: no more of their code runs, nothing is cleaned up. It can't be taken back."""
    from flowy_cli import changing

    _change(names, changing.TERMINATE, target)


@click.command()
@workflows_argument
@cluster_options
def suspend(names: Sequence[str], target: Target) -> None:
    """Pause Workflows: what runs goes on, nothing new starts. Their timers go on too."""
    from flowy_cli import changing

    _change(names, changing.SUSPEND, target)


@click.command()
@workflows_argument
@cluster_options
def resume(names: Sequence[str], target: Target) -> None:
    """Let suspended Workflows go on."""
    from flowy_cli import changing

    _change(names, changing.RESUME, target)


def _change(names: Sequence[str], wanted: "Change", target: Target) -> None:
    from flowy_cli.changing import change
    from flowy_cli.connection import Connection, in_cluster

    async def all_of_them(connection: Connection) -> None:
        for name in names:
            click.echo(await change(connection, name, wanted), err=True)

    in_cluster(target, all_of_them)
