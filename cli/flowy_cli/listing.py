"""Workflows and definitions in rows."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from flowy_cli.connection import Connection
from flowy_cli.documents import DEFINITION_KIND
from flowy_cli.errors import NotThere
from flowy_cli.run import Raw, instant
from flowy_cli.tables import age, table
from flowy_operator.adapters.kube import paths
from flowy_operator.adapters.kube.errors import NotFound
from flowy_operator.core.conditions import by_type, has_ended
from flowy_operator.core.job import API_VERSION, KIND, UID_LABEL

HEAD = ("NAME", "STATUS", "PROGRESS", "RUNNING", "WAITING", "DEFINITION", "AGE")


async def workflows(
    connection: Connection,
    *,
    everywhere: bool,
    selector: str | None,
    definition: str | None,
    status: str | None,
    is_open: bool,
    children: bool,
) -> list[dict[str, Any]]:
    """The Workflows that are asked for, newest first; children of others only if `children`."""
    namespace = None if everywhere else connection.namespace
    found, _ = await connection.client.list(paths.workflows(namespace), label_selector=selector)
    chosen = [
        {"apiVersion": API_VERSION, "kind": KIND, **body}
        for body in found
        if (children or UID_LABEL not in (body["metadata"].get("labels") or {}))
        and definition in {None, _definition(body)}
        and (status is None or status.lower() == status_of(body).lower())
        and not (is_open and has_ended(body.get("status") or {}))
    ]
    # The API server gives them by name; with the same age, names go on deciding.
    return sorted(chosen, key=lambda body: str(body["metadata"]["creationTimestamp"]), reverse=True)


def rows(bodies: Sequence[Raw], now: datetime, *, everywhere: bool = False) -> str:
    """A table of Workflows."""
    if not bodies:
        return ""
    head = ("NAMESPACE", *HEAD) if everywhere else HEAD
    return table(head, [_row(body, now, everywhere=everywhere) for body in bodies])


def _row(body: Raw, now: datetime, *, everywhere: bool) -> list[str]:
    metadata, status = body["metadata"], body.get("status") or {}
    progress = status.get("progress") or {}
    waits = status.get("waitingOn") or [{}]
    row = [
        str(metadata["name"]),
        status_of(body),
        str(progress.get("summary", "")),
        str(progress.get("running", "")),
        str(waits[0].get("task", "")),
        _definition(body) or "",
        age(instant(str(metadata["creationTimestamp"])), now),
    ]
    return [str(metadata["namespace"]), *row] if everywhere else row


def status_of(body: Raw) -> str:
    """The STATUS column; Pending before the operator has taken the Workflow up."""
    return str(by_type(body.get("status") or {}).get("Succeeded", {}).get("reason") or "Pending")


def _definition(body: Raw) -> str | None:
    return ((body.get("spec") or {}).get("definitionRef") or {}).get("name")


def definition_rows(bodies: Sequence[Raw], runs: Sequence[Raw], now: datetime) -> str:
    """A table of WorkflowDefinitions, with how many Workflows of each there are and are open."""
    if not bodies:
        return ""
    of_each: dict[str | None, list[Raw]] = {}
    for run in runs:
        of_each.setdefault(_definition(run), []).append(run)
    found = []
    for body in bodies:
        name = str(body["metadata"]["name"])
        own = of_each.get(name, [])
        is_open = [run for run in own if not has_ended(run.get("status") or {})]
        tasks = ", ".join(str(task.get("name")) for task in (body.get("spec") or {}).get("tasks") or ())
        found.append(
            [
                name,
                str(len(own)),
                str(len(is_open)),
                age(instant(str(body["metadata"]["creationTimestamp"])), now),
                tasks,
            ]
        )
    return table(("NAME", "WORKFLOWS", "OPEN", "AGE", "TASKS"), found)


async def definitions(
    connection: Connection, names: Sequence[str]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The WorkflowDefinitions of these names, or all of the namespace, and the Workflows beside them."""
    client, namespace = connection.client, connection.namespace
    if names:
        found = [await get_definition(connection, name) for name in names]
    else:
        listed, _ = await client.list(paths.workflowdefinitions(namespace))
        found = [{"apiVersion": API_VERSION, "kind": DEFINITION_KIND, **body} for body in listed]
    runs, _ = await client.list(paths.workflows(namespace))
    return found, runs


async def get_definition(connection: Connection, name: str) -> dict[str, Any]:
    """The WorkflowDefinition of this name. Raises NotThere."""
    try:
        return await connection.client.get(paths.workflowdefinitions(connection.namespace, name))
    except NotFound:
        raise NotThere(
            f"there is no WorkflowDefinition {name!r} in the namespace {connection.namespace!r}",
            "`flowy definitions` lists them; a file's name ends in .yaml, or has a slash",
        ) from None
