"""What the command `run` leaves: the result or the error, the logs, the record."""

import json
from pathlib import Path

import click

from flowy.local.engine import Finished
from flowy.local.launch import Launch
from flowy_cli.documents import to_json, to_yaml
from flowy_cli.errors import ExitCode, Unreadable
from flowy_cli.local.manifest import Manifest
from flowy_cli.local.recording import recorded
from flowy_operator.core.printable import printable


def print_log(launch: Launch, text: str) -> None:
    """Print what an attempt has printed, each line behind its task's key."""
    for said in text.splitlines():
        click.echo(f"{launch.task} | {printable(said)}", err=True)


def keep_quiet(launch: Launch, text: str) -> None:
    """Print nothing."""


def tell(finished: Finished) -> None:
    """Print the result on standard output, or the error on standard error, which is exit code 1."""
    root, end = finished.root, finished.end
    for said in root.log:
        click.echo(printable(said), err=True)
    for error in end.ignored_errors:
        told = f"nobody looked at the error of {error.get('task')}: {error.get('type')}: {error.get('message')}"
        click.echo(printable(told), err=True)
    if end.result is not None:
        click.echo(to_json(json.loads(end.result)), nl=False)
        return
    failed = end.error or {}
    click.echo(f"flowy: {printable(str(failed.get('type')))}: {printable(str(failed.get('message')))}", err=True)
    if "task" in failed:
        click.echo(f"  in {printable(str(failed['task']))}, attempt {failed.get('attempt', 1)}", err=True)
    origin = root.traceback_of(failed)
    if origin is None and "line" in failed:
        click.echo(f"  line {failed['line']} of the code", err=True)
    if origin is not None:
        click.echo(printable(origin.rstrip()), err=True)
    click.get_current_context().exit(ExitCode.NO)


def write_record(path: str, finished: Finished, manifest: Manifest) -> None:
    """Write the objects of a run into a file. Raises Unreadable."""
    owner = manifest.owner
    objects = recorded(finished.root, owner.name, owner.namespace, manifest.body["spec"])
    try:
        Path(path).write_text("---\n".join(to_yaml(body) for body in objects), encoding="utf-8")
    except OSError as error:
        raise Unreadable(f"{path} can't be written: {error.strerror}") from error
