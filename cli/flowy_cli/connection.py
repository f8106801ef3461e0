"""The way to the cluster: kubeconfig, context and namespace as kubectl has them; refusals as sentences.

Heavy: it loads the cluster's libraries, so it is imported by commands that run, never by those that are only listed.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from flowy_cli.errors import Cluster, NotThere
from flowy_cli.reading import Reader
from flowy_cli.target import Target
from flowy_operator.adapters.kube.errors import (
    ApiError,
    BadRequest,
    Forbidden,
    Invalid,
    NotFound,
    Unauthorized,
    Unreachable,
)
from flowy_operator.adapters.kube.login import NoClusterError, current_namespace, in_a_pod

T = TypeVar("T")

AGENT = "flowy"


@dataclass(frozen=True, slots=True)
class Connection:
    """A client, and the namespace that is meant: the one that was `named` by an option, or that of the context."""

    client: Reader
    namespace: str
    named: bool = False


Work = Callable[[Connection], Awaitable[T]]


def in_cluster(target: Target, work: Work[T]) -> T:
    """Do something with the cluster. Raises Cluster, in words for people, beside what `work` raises."""
    return asyncio.run(_connected(target, work))


async def _connected(target: Target, work: Work[T]) -> T:
    kubeconfig = target.kubeconfig or _usual_kubeconfig()
    if kubeconfig is None and not in_a_pod():
        raise Cluster(
            "no cluster is known here: $KUBECONFIG isn't set, and there is no ~/.kube/config",
            "name a file with --kubeconfig; without a cluster: flowy run, lint, and all that takes a file",
        )
    try:
        client = await Reader.connect(kubeconfig, target.context, agent=AGENT)
        namespace = target.namespace or current_namespace(kubeconfig, target.context)
    except NoClusterError as error:
        raise Cluster(
            str(error), "name one with --kubeconfig or $KUBECONFIG, and --context if it isn't the current one"
        ) from error
    async with client:
        try:
            return await work(Connection(client, namespace, named=target.namespace is not None))
        except ApiError as error:
            raise explained(error, client.configuration.host) from error


def _usual_kubeconfig() -> str | None:
    """As kubectl: the variable, else the file in the home folder; else the pod that we are in, if we are."""
    if named := os.environ.get("KUBECONFIG"):
        return named
    usual = Path.home() / ".kube" / "config"
    return str(usual) if usual.is_file() else None


def explained(error: ApiError, host: str) -> Cluster | NotThere:
    """What an error of the API server means for whoever typed the command."""
    match error:
        case Unreachable():
            return Cluster(
                f"the cluster at {host} doesn't answer: {error.message}", "is it up, and is the context right?"
            )
        case Unauthorized():
            return Cluster(
                f"the cluster at {host} doesn't know you", "log in again; the kubeconfig's credentials may have expired"
            )
        case Forbidden():
            return Cluster(
                f"not allowed: {error.message}",
                "`kubectl auth can-i` shows what you may do; the namespace's owner can grant it",
            )
        case NotFound() if "could not find the requested resource" in error.message:
            return Cluster(
                "this cluster has no Workflows", "install Flowy's CRDs, or choose another cluster with --context"
            )
        case NotFound():
            return NotThere(error.message)
        case Invalid() | BadRequest():
            return Cluster(f"the API server refuses it: {error.message}")
        case _:
            return Cluster(str(error))
