"""The names that a shell offers when a user asks for them."""

from collections.abc import Callable

from flowy_cli.connection import Connection, in_cluster
from flowy_cli.errors import CliError
from flowy_cli.target import Target
from flowy_operator.adapters.kube import paths

MOST = 500
"""More names than that help nobody, and a shell waits for them."""


def names_of(target: Target, path: Callable[[str], str] = paths.workflows) -> list[str]:
    """The Workflows of a namespace; none where the cluster doesn't say, since a prompt is no place for errors.

    `path` is where the API server has them, or what else is wanted.
    """

    async def names(connection: Connection) -> list[str]:
        found = await connection.client.list_metadata(path(connection.namespace), label_selector="")
        return [str(item["metadata"]["name"]) for item in found][:MOST]

    try:
        return in_cluster(target, names)
    except CliError:
        return []
