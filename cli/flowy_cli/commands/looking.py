"""`list`, `get`, `describe`, `history`, `export`, `definitions`."""

from collections.abc import Sequence
from typing import Any

import click

from flowy_cli.options import (
    Desk,
    Output,
    cluster_options,
    output_option,
    output_option_or_name,
    pass_desk,
    source_argument,
    workflow_argument,
    workflows_argument,
)
from flowy_cli.target import Target


@click.command("list")
@click.option("-A", "--all-namespaces", "everywhere", is_flag=True, help="Of all namespaces.")
@click.option("-l", "--selector", metavar="LABELS", help="Only those with these labels.")
@click.option("--definition", metavar="NAME", help="Only those of this WorkflowDefinition.")
@click.option("--status", metavar="WORD", help="Only those with this STATUS, such as Running.")
@click.option("--open", "is_open", is_flag=True, help="Only those that haven't ended.")
@click.option("--children", is_flag=True, help="Those that other Workflows have started, too.")
@output_option_or_name
@cluster_options
@pass_desk
def list_workflows(desk: Desk, /, output: Output, target: Target, **chosen: Any) -> None:
    """List the Workflows of a namespace, newest first."""
    from flowy_cli import listing
    from flowy_cli.connection import in_cluster

    found = in_cluster(target, lambda connection: listing.workflows(connection, **chosen))
    if output is Output.TABLE:
        if not found:
            click.echo("no Workflow", err=True)
        click.echo(listing.rows(found, desk.now(), everywhere=chosen["everywhere"]), nl=False)
    elif output is Output.NAME:
        click.echo("".join(f"{body['metadata']['name']}\n" for body in found), nl=False)
    else:
        _print_objects(found, output)


@click.command()
@workflows_argument
@output_option
@cluster_options
@pass_desk
def get(desk: Desk, names: Sequence[str], output: Output, target: Target) -> None:
    """Show Workflows as rows, or whole with -o yaml or -o json."""
    from flowy_cli import listing
    from flowy_cli.cluster import get_workflow
    from flowy_cli.connection import Connection, in_cluster

    async def read(connection: Connection) -> list[dict[str, Any]]:
        return [await get_workflow(connection.client, connection.namespace, name) for name in names]

    found = in_cluster(target, read)
    if output is Output.TABLE:
        click.echo(listing.rows(found, desk.now()), nl=False)
    else:
        _print_objects(found, output)


@click.command(short_help="Tell the story of a run.")
@source_argument
@cluster_options
@pass_desk
def describe(desk: Desk, source: str, name: str | None, target: Target) -> None:
    """Tell the story of a run: how it stands, what it waits for, what became of each task.

    A name means a Workflow of the cluster; what ends in .yaml or .json, or has a slash, a file; - standard input.
    """
    from flowy_cli.describing import description
    from flowy_cli.sources import run_of_source

    click.echo(description(run_of_source(source, name, target, children=True), desk.now()), nl=False)


@click.command(short_help="Print every event of a Workflow, wherever it lies.")
@source_argument
@click.option("--run", "number", type=click.IntRange(min=1), help="Only this run, where the code has restarted.")
@output_option
@cluster_options
def history(source: str, name: str | None, number: int | None, output: Output, target: Target) -> None:
    """Print the history: every event of a Workflow, from wherever it lies."""
    from flowy_cli import documents
    from flowy_cli.describing import history_rows, no_events
    from flowy_cli.sources import events_of, run_of_source

    run = run_of_source(source, name, target)
    events = run.events if number is None else events_of(run, number)
    if output is Output.TABLE:
        if not events:
            click.echo(no_events(run), err=True)
        click.echo(history_rows(events), nl=False)
    else:
        found = documents.events_json(events)
        click.echo(documents.to_json(found) if output is Output.JSON else documents.to_yaml(found), nl=False)


@click.command(short_help="Write all that belongs to a run into one file.")
@workflow_argument
@cluster_options
def export(name: str, target: Target) -> None:
    """Write all that belongs to a run as one YAML file: for `flowy replay`, and for a bug report.

    That is the Workflow, its HistoryPages, its WorkflowDefinition, its long results, and all of its children.
    """
    from flowy_cli import documents
    from flowy_cli.connection import in_cluster
    from flowy_cli.exporting import exported

    click.echo(documents.to_yaml(in_cluster(target, lambda connection: exported(connection, name))), nl=False)


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@output_option
@cluster_options
@pass_desk
def definitions(desk: Desk, names: Sequence[str], output: Output, target: Target) -> None:
    """List WorkflowDefinitions, and how many Workflows run each."""
    from flowy_cli import listing
    from flowy_cli.connection import in_cluster

    found, runs = in_cluster(target, lambda connection: listing.definitions(connection, names))
    if output is Output.TABLE:
        if not found:
            click.echo("no WorkflowDefinition", err=True)
        click.echo(listing.definition_rows(found, runs, desk.now()), nl=False)
    else:
        _print_objects(found, output)


def _print_objects(found: Sequence[Any], output: Output) -> None:
    from flowy_cli import documents

    value = found[0] if len(found) == 1 else {"apiVersion": "v1", "kind": "List", "items": list(found)}
    click.echo(documents.to_json(value) if output is Output.JSON else documents.to_yaml(value), nl=False)
