"""The command `flowy`."""

import errno
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import click
from click.shell_completion import ShellComplete

from flowy_cli.commands import completion, drawing, linting, local, logs, looking, replaying, running
from flowy_cli.errors import ExitCode, Unreadable
from flowy_cli.options import where_options

_NOTHING_WRITTEN = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}


class Commands(click.Group):
    """The group of all commands; Ctrl-C has an exit code of its own, since 1 says that a workflow has failed."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo(err=True)
            ctx.exit(ExitCode.INTERRUPTED)
        except OSError as error:
            if error.errno not in _NOTHING_WRITTEN:
                raise  # a closed pipe is click's business, the rest is ours
            raise Unreadable(f"the output can't be written: {error.strerror}") from error

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - the base's signature
        """In the order in which they were added: by purpose, not by name."""
        return list(self.commands)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@where_options
@click.version_option(package_name="flowy-operator")
def flowy(**_: str | None) -> None:  # each command asks for what stands before its name itself
    """Start, follow, stop and replay Workflows: plain Python that runs as Jobs on Kubernetes."""


for _command in (
    local.run,
    running.start,
    running.wait,
    looking.list_workflows,
    looking.get,
    looking.describe,
    logs.logs,
    looking.history,
    looking.definitions,
    looking.export,
    drawing.graph,
    drawing.timeline,
    drawing.report,
    replaying.replay,
    linting.lint,
    running.cancel,
    running.terminate,
    running.suspend,
    running.resume,
    running.retry,
    completion.completion,
):
    flowy.add_command(_command)


def main() -> None:
    """Run what was typed. As `kubectl-flowy` it calls itself what the user has typed: kubectl flowy."""
    name = Path(sys.argv[0]).name
    for stream in (sys.stdout, sys.stderr):
        # A locale from before Unicode has no arrows: they are written as their codes, and nothing is lost.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    flowy.main(prog_name=name.replace("kubectl-", "kubectl ", 1), complete_var="_FLOWY_COMPLETE")


_NO_FILES = 4
"""Cobra's word for: these are all, don't offer files (ShellCompDirectiveNoFileComp)."""


def complete_for_kubectl() -> None:
    """Offer what may follow `kubectl flowy`, in the form in which kubectl asks its plugins: the last argument is what is typed."""
    *args, incomplete = sys.argv[1:] or [""]
    offered = ShellComplete(flowy, {}, "kubectl flowy", "").get_completions(args, incomplete)
    for item in offered:
        if item.type == "plain":
            click.echo(f"{item.value}\t{item.help}" if item.help else item.value)
    click.echo(f":{0 if any(item.type != 'plain' for item in offered) else _NO_FILES}")
