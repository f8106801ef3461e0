"""The command `flowy-operator`."""

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import click
from pydantic import ValidationError

from flowy_operator.app.settings import PREFIX, Settings, own_pod, read_settings

F = Callable[..., None]


def _options(command: F) -> F:
    """One flag for each setting, described once, in the settings."""
    for name, field in reversed(Settings.model_fields.items()):
        many = name == "namespaces"
        flag = "--namespace" if many else "--" + name.replace("_", "-")
        default = "" if many or field.default is None else f" Default: {field.default}."
        text = f"{field.description}{default} [{PREFIX}{name.upper()}]"
        if field.annotation is bool:  # given or not: None leaves it to the variable
            command = click.option(flag, name, is_flag=True, default=None, help=text)(command)
        else:
            command = click.option(flag, name, multiple=many, help=text)(command)
    return command


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="flowy-operator")
def main() -> None:
    """Run workflows written as plain Python as Jobs on Kubernetes."""


@main.command()
@_options
def run(**flags: Any) -> None:
    """Run the operator until SIGTERM or SIGINT.

    Inside a cluster it uses its pod's service account; elsewhere name a kubeconfig. Lists in variables are JSON:
    FLOWY_NAMESPACES='["media"]'.
    """
    try:
        settings = read_settings(flags)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise click.UsageError(f"{name.replace('_', '-')}: {first['msg']}, not {first['input']!r}") from None
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    # Late, so that --help and a wrong flag answer at once: these imports take half a second.
    from flowy_operator.adapters.gateway.server import GatewayError  # noqa: PLC0415
    from flowy_operator.adapters.kube.client import NoClusterError  # noqa: PLC0415
    from flowy_operator.adapters.lease.errors import LeaseLost  # noqa: PLC0415
    from flowy_operator.adapters.probes import ProbesError  # noqa: PLC0415
    from flowy_operator.app import logs  # noqa: PLC0415
    from flowy_operator.app.process import run_operator  # noqa: PLC0415
    from flowy_operator.core.errors import DecisionStalled  # noqa: PLC0415

    logs.set_up(settings.log_level, settings.log_format)
    try:
        asyncio.run(run_operator(settings, own_pod()))
    except (NoClusterError, GatewayError, ProbesError, DecisionStalled, LeaseLost) as error:
        print(f"flowy-operator: {error}", file=sys.stderr)  # noqa: T201  a message for a person, before any log
        sys.exit(1)


@main.command()
@click.option("--socket", "socket_path", required=True, help="Where to listen: in a folder that the operator shares.")
@click.option(
    "--shadow", is_flag=True, help="Keep a second process for shadow replay, as --shadow-share of the operator needs."
)
@click.option(
    "--insecure-decider",
    is_flag=True,
    help="Serve also where the kernel can't filter system calls. The operator has to be started with it, too.",
)
def decider(socket_path: str, *, shadow: bool, insecure_decider: bool) -> None:
    """Run workflow code for an operator in another container, until SIGTERM.

    Give it a user of its own, no service-account token, no network and a read-only root.
    """
    from flowy_operator.adapters.decider.container import SocketRefused, become_zygote  # noqa: PLC0415
    from flowy_operator.adapters.decider.frames import Layout, Strictness  # noqa: PLC0415

    layouts = [Layout.PLAIN, Layout.SCRAMBLED] if shadow else [Layout.PLAIN]
    try:
        become_zygote(socket_path, layouts, Strictness.INSECURE if insecure_decider else Strictness.REQUIRED)
    except SocketRefused as error:
        raise click.UsageError(str(error)) from None
