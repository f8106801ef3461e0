"""All objects of a run, as a List: what a file needs so that the run can be read and replayed without the cluster."""

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from flowy_cli.cluster import get_workflow
from flowy_cli.connection import Connection
from flowy_operator.adapters.kube import paths
from flowy_operator.adapters.kube.errors import NotFound
from flowy_operator.adapters.kube.fields import is_owned
from flowy_operator.core.config_map import text_of
from flowy_operator.core.job import API_VERSION, KIND, UID_LABEL
from flowy_operator.core.pages import PAGE_KIND

_CHUNK = 32


async def exported(connection: Connection, name: str) -> dict[str, Any]:
    """The List. Raises NotThere."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    ahead = [await get_workflow(connection.client, connection.namespace, name)]
    while ahead:
        body = ahead.pop(0)
        for item in [item async for item in _of_workflow(connection, body)]:
            known = (str(item["kind"]), str(item["metadata"]["name"]))
            if known not in found:
                found[known] = _without_managers(item)
                if item["kind"] == KIND and item is not body:
                    ahead.append(item)
    return {"apiVersion": "v1", "kind": "List", "items": list(found.values())}


async def _of_workflow(connection: Connection, body: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    client, namespace, uid = connection.client, connection.namespace, str(body["metadata"]["uid"])
    selector = f"{UID_LABEL}={uid}"
    yield body
    reference = ((body.get("spec") or {}).get("definitionRef") or {}).get("name")
    if reference is not None:
        with suppress(NotFound):
            yield await client.get(paths.workflowdefinitions(namespace, str(reference)))
    pages, _ = await client.list(paths.historypages(namespace), label_selector=selector, chunk=_CHUNK)
    for page in pages:
        if is_owned(page, uid):
            yield {"apiVersion": API_VERSION, "kind": PAGE_KIND, **page}
    maps, _ = await client.list(paths.configmaps(namespace), label_selector=selector, chunk=_CHUNK)
    for item in maps:
        if is_owned(item, uid) and text_of(item) is not None:
            yield {"apiVersion": "v1", "kind": "ConfigMap", **item}
    children, _ = await client.list(paths.workflows(namespace), label_selector=selector)
    for child in children:
        yield {"apiVersion": API_VERSION, "kind": KIND, **child}


def _without_managers(item: dict[str, Any]) -> dict[str, Any]:
    """Without what tells of writers and not of the run; it is half of many an object."""
    metadata = {name: value for name, value in item["metadata"].items() if name != "managedFields"}
    return {**item, "metadata": metadata}
