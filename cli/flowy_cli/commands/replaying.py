"""`replay`."""

import click

from flowy_cli.options import Output, cluster_options, source_argument
from flowy_cli.target import Target


@click.command(short_help="Run the code again over the recorded history.")
@source_argument
@click.option(
    "--run", "number", type=click.IntRange(min=1), help="Which run, where the code has restarted. Default: the last."
)
@click.option("--code", metavar="FILE", help="Replay this code instead: a .py file, or a manifest with its tasks.")
@click.option("--entrypoint", metavar="NAME", help="The factory in the code, if it is another.")
@click.option(
    "--pdb", "where", metavar="KEY|TASK", help="Open the debugger at this call, or at each call of this task."
)
@click.option("--unlocked", is_flag=True, help="Run the code with your own rights, where it can't be locked in.")
@click.option(
    "-o",
    "--output",
    type=click.Choice([Output.TABLE, Output.JSON], case_sensitive=False),
    default=Output.TABLE,
    show_default=Output.TABLE.value,
    help="How to print it.",
)
@cluster_options
def replay(
    source: str,
    name: str | None,
    number: int | None,
    code: str | None,
    entrypoint: str | None,
    where: str | None,
    unlocked: bool,  # noqa: FBT001 - click passes flags so
    output: Output,
    target: Target,
) -> None:
    """Run the code of a Workflow again over its recorded history: decision by decision, what it called and waited for.

    Nothing is started, nothing is changed. Where the code does something else than the history says, the line is shown with
    what was expected, and the exit code is 1. With --code it says whether other code would go on where the run is.

    The code runs in a process that can reach nothing, as in the operator; with --pdb and --unlocked it has your own rights.
    """
    from flowy_cli import documents
    from flowy_cli.errors import ExitCode
    from flowy_cli.replaying import debugging, decider, replacing, story, telling
    from flowy_cli.sources import events_of, run_of_source
    from flowy_cli.specs import spec_of
    from flowy_cli.texts import STDIN

    run = run_of_source(source, name, target, values=True)
    events = events_of(run, number)
    recorded = spec_of(run)
    spec = recorded if code is None and entrypoint is None else replacing.with_code(recorded, code, entrypoint)
    if where is not None:
        if source == STDIN:
            raise click.UsageError("--pdb needs standard input for itself: write the run to a file")
        debugging.debug_run(run, events, spec, where)
        return
    steps = []
    with decider.unlocked() if unlocked else decider.locked() as within:
        decide = within(spec.decision_timeout_s)
        for step in story.story(run, events, spec, decide, recorded=None if spec is recorded else recorded):
            steps.append(step)
            if output is Output.TABLE:
                click.echo(telling.told(step, spec.source), nl=False)
    if output is Output.JSON:
        click.echo(documents.to_json(telling.data(steps)), nl=False)
    if steps[-1].divergence is not None:
        click.get_current_context().exit(ExitCode.NO)
