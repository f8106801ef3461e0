"""How a wait ends for whoever waited: the result on standard output, or the error in words and an exit code."""

from collections.abc import Sequence

import click

from flowy_cli.documents import escaped
from flowy_cli.errors import CliError, ExitCode
from flowy_cli.run import Raw
from flowy_operator.core.conditions import Reason, by_type
from flowy_operator.core.printable import printable


def report(bodies: Sequence[Raw]) -> ExitCode:
    """Print the results of those that have completed, one a line, and tell of the others."""
    code = ExitCode.DONE
    for body in bodies:
        name, status = str(body["metadata"]["name"]), body["status"]
        condition = by_type(status)["Succeeded"]
        if condition.get("reason") == Reason.COMPLETED:
            click.echo(escaped(status.get("result", "null")))
        else:
            code = ExitCode.NO
            CliError(
                f"{name}: {condition.get('reason')}: {condition.get('message', '')}",
                f"`flowy describe {printable(name)}` tells the story",
            ).show()
    return code
