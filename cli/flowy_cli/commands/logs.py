"""`logs`."""

import click

from flowy_cli.options import cluster_options, workflow_argument
from flowy_cli.target import Target


@click.command(short_help="Print what the containers of a Workflow's tasks print.")
@workflow_argument
@click.argument("task", metavar="[KEY|TASK]", required=False)
@click.option("--attempt", type=click.IntRange(min=1), help="Only this attempt.")
@click.option("--tail", type=click.IntRange(min=0), metavar="LINES", help="Only the last lines of each.")
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, until the Workflow has ended.")
@cluster_options
def logs(name: str, task: str | None, attempt: int | None, tail: int | None, follow: bool, target: Target) -> None:  # noqa: FBT001
    """Print what the containers of a Workflow's tasks print.

    Of one call (encode-1), of all calls of a task (encode), or of all. A pod stays for a while after its end, see
    spec.jobs; of a pod that is gone nothing can be shown.
    """
    from flowy_cli import logs as module
    from flowy_cli.connection import Connection, in_cluster
    from flowy_operator.core.printable import printable

    wanted = module.Wanted(task, attempt, tail)

    async def work(connection: Connection) -> None:
        if follow:
            await module.follow(connection, name, wanted, lambda block: click.echo(block, nl=False))
        else:
            await module.show(
                connection,
                name,
                wanted,
                lambda block: click.echo(block, nl=False),
                lambda text: click.echo(printable(text), err=True),
            )

    in_cluster(target, work)
