"""What may be changed of a Workflow: its stop, and whether it goes on."""

from dataclasses import dataclass
from typing import Any

from flowy_cli.cluster import get_workflow
from flowy_cli.connection import Connection
from flowy_cli.errors import CliError
from flowy_operator.adapters.kube import paths
from flowy_operator.core.conditions import by_type, has_ended
from flowy_operator.core.history import StopMode


@dataclass(frozen=True, slots=True)
class Change:
    """A field of the spec, the value that it is to have, and what is said when it has."""

    field: str
    value: object
    done: str


CANCEL = Change("stop", str(StopMode.CANCEL), "is asked to stop: its code may clean up")
TERMINATE = Change("stop", str(StopMode.TERMINATE), "is told to end at once")
SUSPEND = Change("suspend", True, "is suspended: what runs goes on, nothing new starts")
RESUME = Change("suspend", False, "goes on")


async def change(connection: Connection, name: str, wanted: Change) -> str:
    """Make the change, and give the sentence that tells of it. Raises NotThere, CliError, ApiError."""
    body = await get_workflow(connection.client, connection.namespace, name)
    if has_ended(body.get("status") or {}):
        reason = by_type(body["status"])["Succeeded"].get("reason")
        raise CliError(
            f"{name} has ended already ({reason})",
            f"`flowy describe {name}` tells how; `flowy retry {name}` runs it again",
        )
    spec: dict[str, Any] = body.get("spec") or {}
    if wanted is CANCEL and spec.get("stop") == StopMode.TERMINATE:
        raise CliError(f"{name} is told to end at once already", "a Terminate can't be taken back")
    if (spec.get(wanted.field) or False) != wanted.value:
        operation = {"op": "add", "path": f"/spec/{wanted.field}", "value": wanted.value}
        await connection.client.json_patch(paths.workflows(connection.namespace, name), [operation])
    return f"{name} {wanted.done}"
