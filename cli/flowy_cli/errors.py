"""What a command ends with when it can't do what it was asked: one sentence, what to do about it, an exit code.

    CliError
    ├── NotThere       3
    ├── Cluster        4   it can't be reached, or refuses
    ├── TimedOut       5   the wait was over before the workflow was
    └── Unreadable     2   a file, an argument, an object that isn't what it should be

Exit codes are for scripts, hence never changed. 2 is also click's own, for a command that can't be understood.
"""

import sys
from enum import IntEnum
from typing import IO, Any, ClassVar

import click


class ExitCode(IntEnum):
    """What a script can tell apart."""

    DONE = 0
    NO = 1  # it worked, and the answer is no: the workflow failed, the code diverges, the linter found errors
    USAGE = 2
    NOT_THERE = 3
    CLUSTER = 4
    TIMED_OUT = 5
    INTERRUPTED = 130  # by Ctrl-C, as shells say it


class CliError(click.ClickException):
    """`message` says what happened, `advice` what to do, if there is something to do."""

    exit_code: ClassVar[int] = ExitCode.NO

    def __init__(self, message: str, advice: str | None = None) -> None:
        super().__init__(message)
        self.advice = advice

    def show(self, file: IO[Any] | None = None) -> None:
        """Print it, for a person, to standard error."""
        from flowy_operator.core.printable import printable, printable_below  # noqa: PLC0415 - late: `--help` loads this module

        stream = sys.stderr if file is None else file
        # No line of a stranger's text is to look like one of ours.
        click.echo(printable_below(f"flowy: {self.message}"), file=stream)
        if self.advice:
            click.echo(f"  {printable(self.advice)}", file=stream)


class Unreadable(CliError):
    exit_code: ClassVar[int] = ExitCode.USAGE


class NotThere(CliError):
    exit_code: ClassVar[int] = ExitCode.NOT_THERE


class Cluster(CliError):
    exit_code: ClassVar[int] = ExitCode.CLUSTER


class TimedOut(CliError):
    exit_code: ClassVar[int] = ExitCode.TIMED_OUT
