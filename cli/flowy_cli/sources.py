"""What a NAME|FILE|- argument means, read."""

from collections.abc import Sequence

from flowy_cli.documents import run_of_file
from flowy_cli.errors import NotThere, Unreadable
from flowy_cli.run import Run
from flowy_cli.target import Target
from flowy_cli.texts import is_file
from flowy_operator.core.history import Event


def run_of_source(
    source: str, name: str | None, target: Target, *, children: bool = False, values: bool = False
) -> Run:
    """The run of a Workflow in the cluster or in a file; with all its descendants, with its long results, if asked for.

    A file has what it has. Raises CliError.
    """
    if is_file(source):
        return run_of_file(source, name)
    if name is not None:
        raise Unreadable(f"--name tells Workflows of a file apart, and {source!r} is a name")
    return _of_cluster(source, target, children=children, values=values)


def _of_cluster(name: str, target: Target, *, children: bool, values: bool) -> Run:
    # A file needs none of this, and it takes half a second to load.
    from dataclasses import replace  # noqa: PLC0415

    from flowy_cli.cluster import load_values, read_run  # noqa: PLC0415
    from flowy_cli.connection import Connection, in_cluster  # noqa: PLC0415

    async def read(connection: Connection) -> Run:
        run = await read_run(connection.client, connection.namespace, name, children=children)
        return await with_values(connection, run) if values else run

    async def with_values(connection: Connection, run: Run) -> Run:
        below = {name: await with_values(connection, child) for name, child in run.children.items()}
        return replace(run, children=below, values=await load_values(connection.client, run))

    return in_cluster(target, read)


def events_of(run: Run, number: int | None) -> Sequence[Event]:
    """The events of one run of a Workflow, None being the current one. Raises NotThere."""
    runs = dict(run.runs())
    if number is None:
        return next(reversed(runs.values()), ())
    if number not in runs:
        there = ", ".join(map(str, runs)) or "none"
        raise NotThere(f"{run.name} has no events of run {number}", f"there are those of: {there}")
    return runs[number]
