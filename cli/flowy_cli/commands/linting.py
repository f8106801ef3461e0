"""`lint`."""

from collections.abc import Sequence

import click

from flowy_cli.options import Output


@click.command(short_help="Look for mistakes in workflow code, without running it.")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(allow_dash=True))
@click.option(
    "-o",
    "--output",
    type=click.Choice([Output.TABLE, Output.JSON], case_sensitive=False),
    default=Output.TABLE,
    show_default=Output.TABLE.value,
    help="How to print it.",
)
def lint(files: Sequence[str], output: Output) -> None:
    """Look for mistakes in the code of manifests or .py files, without running it and without a cluster.

    Errors are what fails or is refused: tasks that code and manifest don't agree on, imports that the decider lacks, files
    and waiting. Warnings are what works otherwise than it looks: clocks, the order of sets, `is` on a result. The exit code
    is 1 if there is an error.
    """
    from flowy_cli import documents
    from flowy_cli.errors import CliError, ExitCode
    from flowy_cli.linting.findings import Severity
    from flowy_cli.linting.linter import data, lint_file, told

    found = []
    unread: CliError | None = None
    for file in files:
        try:
            found += [(file, source, finding) for source, all_of_it in lint_file(file) for finding in all_of_it]
        except CliError as error:  # said at the end: it must not hide what is to be said of the others
            if unread is not None:
                unread.show()
            unread = error
    if output is Output.JSON:
        click.echo(documents.to_json([data(*each) for each in found]), nl=False)
    else:
        for each in found:
            click.echo(told(*each))
        if not found and unread is None:
            click.echo("nothing to say", err=True)
    if unread is not None:
        raise unread
    if any(finding.severity is Severity.ERROR for _, _, finding in found):
        click.get_current_context().exit(ExitCode.NO)
