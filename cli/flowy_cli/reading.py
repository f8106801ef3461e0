"""The cluster's objects with what is taken for granted of them, looked at where they come in.

An API server holds its objects to their schema, but it may be that of an older or a newer Flowy, and what stands between may
be a proxy or an aggregated server. So whoever reads an object here gets one of its shape, or a sentence that names the field.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from flowy_cli.errors import Cluster
from flowy_cli.shapes import Misshapen, placed, shaped
from flowy_operator.adapters.kube.client import Json, KubeClient, Objects, WatchEvent
from flowy_operator.adapters.kube.paths import resource_of
from flowy_operator.core.job import KIND
from flowy_operator.core.pages import PAGE_KIND

_KINDS = {
    "workflows": KIND,
    "workflowdefinitions": "WorkflowDefinition",
    "historypages": PAGE_KIND,
    "pods": "Pod",
    "configmaps": "ConfigMap",
}

_STATES = frozenset(("ADDED", "MODIFIED", "DELETED"))
"""Watch events that tell of an object. Bookmarks are for who opens a watch again where it ended, and we list anew."""


class Reader(KubeClient):
    """A client for the commands. Beside the errors of `kube.errors` it raises Cluster for what can't be read."""

    async def get(self, path: str) -> Json:
        return _read(path, await super().get(path))

    async def create(self, path: str, body: Mapping[str, Any]) -> Json:
        return _read(path, await super().create(path, body))

    async def _list(self, path: str, selected: Mapping[str, str], chunk: int, accept: str) -> tuple[Objects, str]:
        found, version = await super()._list(path, selected, chunk, accept)
        return [_read(path, item) for item in found], version

    async def _events(self, path: str, query: Mapping[str, str]) -> AsyncGenerator[WatchEvent, None]:
        async with aclosing(super()._events(path, query)) as events:
            async for event in events:
                if event.type in _STATES:
                    yield WatchEvent(event.type, _read(path, event.object))


def _read(path: str, body: Mapping[str, Any]) -> Json:
    resource = resource_of(path)
    kind = _KINDS[resource]
    try:
        found = shaped(body, kind)
        placed(found)
    except Misshapen as error:
        metadata = body.get("metadata")
        name = metadata.get("name") if isinstance(metadata, dict) else None
        which = f" {name!r}" if isinstance(name, str) and name else ""
        raise Cluster(
            f"the API server's {kind}{which} can't be read: {error}",
            "if a newer version of Flowy is installed there, update this one; `kubectl get -o yaml` shows it as it is",
        ) from error
    return found
