"""Options and arguments that several commands share, and what all of them are given: a clock."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import click
from click.shell_completion import CompletionItem

from flowy_cli.target import Target
from flowy_cli.texts import is_file

F = Callable[..., Any]

_PREFIXES = ("workflow.flowy.dev/", "workflows.flowy.dev/")
"""What `kubectl get -o name` puts before a name, and what people type for kubectl."""

_TAKE_FILES = "describe, history, graph, timeline, report, replay"
_WHERE = ("namespace", "context", "kubeconfig")


@dataclass(frozen=True, slots=True)
class Desk:
    """What a command has of the world beside the cluster and its streams. Tests put another clock on it."""

    now: Callable[[], datetime] = lambda: datetime.now(UTC)


pass_desk = click.make_pass_decorator(Desk, ensure=True)


class Output(StrEnum):
    """How objects are printed."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"  # of lists, for scripts


def where_options(command: F) -> F:
    """Add the options that say which cluster and namespace, as they are."""
    for option in (
        click.option("--kubeconfig", metavar="FILE", help="Default: $KUBECONFIG, then ~/.kube/config."),
        click.option("--context", metavar="NAME", help="Context of the kubeconfig. Default: the current one."),
        click.option("-n", "--namespace", metavar="NAME", help="Namespace. Default: that of the context."),
    ):
        command = option(command)
    return command


def cluster_options(command: F) -> F:
    """Add the options that say which cluster and namespace; the command gets them as `target`.

    They may also stand before the command's name, as kubectl's do.
    """

    @where_options
    @functools.wraps(command)
    def with_target(*args: Any, **kwargs: Any) -> Any:
        own = {name: value for name, value in kwargs.items() if name not in _WHERE}
        return command(*args, target=_target_of(click.get_current_context()), **own)

    return with_target


def output_option(command: F) -> F:
    """Add `-o`; the command gets it as `output`."""
    return _output_option(Output.TABLE, Output.JSON, Output.YAML)(command)


def output_option_or_name(command: F) -> F:
    """Add `-o`, by which names alone may be printed."""
    return _output_option(*Output)(command)


def _output_option(*forms: Output) -> Callable[[F], F]:
    return click.option(
        "-o",
        "--output",
        type=click.Choice(forms, case_sensitive=False),
        default=Output.TABLE,
        show_default=Output.TABLE.value,
        help="How to print it.",
    )


def workflow_argument(command: F) -> F:
    """Add the name of one Workflow."""
    return click.argument("name", metavar="NAME", shell_complete=workflow_names, callback=_name)(command)


def workflows_argument(command: F) -> F:
    """Add the names of several Workflows, at least one."""
    return click.argument(
        "names", metavar="NAME...", nargs=-1, required=True, shell_complete=workflow_names, callback=_names
    )(command)


def _names(ctx: click.Context, param: click.Parameter, typed: Sequence[str]) -> Sequence[str]:
    return [_name(ctx, param, one) for one in typed]


def _name(_: click.Context, __: click.Parameter, typed: str) -> str:
    """The name, also out of what kubectl calls it. Raises click.BadParameter for a file."""
    name = _without_kind(typed)
    if is_file(name):
        raise click.BadParameter(
            f"{typed!r} is a file: this is for Workflows in the cluster, by their names. {_TAKE_FILES} take files, too."
        )
    return name


def _source(_: click.Context, __: click.Parameter, typed: str) -> str:
    """A file as it is typed, a name also out of what kubectl calls it."""
    name = _without_kind(typed)
    return typed if is_file(name) else name


def _without_kind(typed: str) -> str:
    return next((typed.removeprefix(prefix) for prefix in _PREFIXES if typed.startswith(prefix)), typed)


def source_argument(command: F) -> F:
    """Add a Workflow by name, or a file that holds one; `--name` tells several apart."""
    named = click.option("--name", metavar="NAME", help="The Workflow to look at, if the file holds several.")(command)
    return click.argument("source", metavar="NAME|FILE|-", shell_complete=names_or_files, callback=_source)(named)


def names_or_files(ctx: click.Context, param: click.Parameter, incomplete: str) -> Sequence[CompletionItem]:
    """Offer files for what can be no name, else the names of Workflows."""
    if _is_path(incomplete):
        return [CompletionItem(incomplete, type="file")]
    return workflow_names(ctx, param, incomplete)


def workflow_names(ctx: click.Context, _: click.Parameter, incomplete: str) -> Sequence[CompletionItem]:
    """Offer the names of the namespace's Workflows, or nothing if the cluster doesn't answer."""
    from flowy_cli.completing import names_of  # noqa: PLC0415 - late, as this module is loaded by each `--help`

    return [CompletionItem(name) for name in names_of(_target_of(ctx)) if name.startswith(incomplete)]


def definitions_or_files(ctx: click.Context, _: click.Parameter, incomplete: str) -> Sequence[CompletionItem]:
    """Offer files for what can be no name, else the names of WorkflowDefinitions."""
    if _is_path(incomplete):
        return [CompletionItem(incomplete, type="file")]
    from flowy_cli.completing import names_of  # noqa: PLC0415 - as above
    from flowy_operator.adapters.kube import paths  # noqa: PLC0415

    found = names_of(_target_of(ctx), paths.workflowdefinitions)
    return [CompletionItem(name) for name in found if name.startswith(incomplete)]


def _is_path(incomplete: str) -> bool:
    return incomplete.startswith(".") or "/" in incomplete


def _target_of(ctx: click.Context) -> Target:
    before = ctx.find_root().params
    return Target(*(ctx.params.get(name) or before.get(name) for name in _WHERE))
