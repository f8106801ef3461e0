"""The names that a shell offers when a user asks for them."""

from flowy_cli.connection import Connection, in_cluster
from flowy_cli.errors import CliError
from flowy_cli.options import Target
from flowy_operator.adapters.kube import paths

MOST = 500
"""More names than that help nobody, and a shell waits for them."""


def names_of(target: Target) -> list[str]:
    """The Workflows of a namespace; none where the cluster doesn't say, since a prompt is no place for errors."""

    async def names(connection: Connection) -> list[str]:
        found = await connection.client.list_metadata(paths.workflows(connection.namespace), label_selector="")
        return [str(item["metadata"]["name"]) for item in found][:MOST]

    try:
        return in_cluster(target, names)
    except CliError:
        return []
