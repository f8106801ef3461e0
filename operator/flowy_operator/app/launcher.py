"""Creating the Jobs and children that the history says should exist. Repeating it is harmless: names are deterministic."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

from flowy_operator.adapters.kube import paths
from flowy_operator.adapters.kube.client import Json, KubeClient
from flowy_operator.adapters.kube.errors import (
    AlreadyExists,
    ApiError,
    BadRequest,
    Conflict,
    Forbidden,
    Invalid,
    NotAuthorized,
    NotFound,
    PayloadTooLarge,
    QuotaExceeded,
)
from flowy_operator.adapters.kube.fields import controller
from flowy_operator.app.late import is_unheard
from flowy_operator.app.values import ValueInTheWay
from flowy_operator.core.job import KIND, UID_LABEL

CREATES_AT_ONCE = 20
"""In flight at the API server together. 50 were no faster, and each is a connection: its handshake costs both sides as much
as two creates, and after a quarter of a minute without one it is made anew."""


Store = Callable[[], Awaitable[None]]

NOTHING_FIRST: Mapping[str, Store] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Created:
    """What is there now: its uid, and where the API server has it."""

    uid: str
    path: str


@dataclass(slots=True)
class Launched:
    """What became of a set of launches, by their names. `later`: not now, and why; `refused`: never, and why.

    `unheard`: some of them may come to pass all the same.
    """

    created: dict[str, Created] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    later: dict[str, str] = field(default_factory=dict)
    after_s: float | None = None
    unheard: bool = False


class Launcher:
    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._slots = asyncio.Semaphore(CREATES_AT_ONCE)

    async def launch(self, manifests: Sequence[dict[str, Any]], first: Mapping[str, Store] = NOTHING_FIRST) -> Launched:
        """Create these Jobs and Workflows side by side. `first` stores what a Job mounts, by its name."""
        launched = Launched()
        await asyncio.gather(
            *(self._create(manifest, first.get(manifest["metadata"]["name"]), launched) for manifest in manifests)
        )
        return launched

    async def _create(self, manifest: dict[str, Any], store: Store | None, launched: Launched) -> None:
        metadata, kind = manifest["metadata"], manifest["kind"]
        name, namespace = metadata["name"], metadata["namespace"]
        async with self._slots:
            try:
                if store is not None:
                    await store()
                try:
                    created = await self._made(kind, namespace, manifest)
                except AlreadyExists:
                    # Ours from a pass that was cut short, as a rule.
                    created = await self._found(kind, namespace, name)
                    if _parent(created["metadata"]) != _parent(metadata):
                        launched.refused[name] = (
                            f"a {kind} {name!r} that belongs to somebody else is in the way: delete it"
                        )
                        return
                path = (paths.workflows if kind == KIND else paths.jobs)(namespace, name)
                launched.created[name] = Created(created["metadata"]["uid"], path)
            except ValueInTheWay as error:
                launched.refused[name] = str(error)
            except (BadRequest, Invalid, PayloadTooLarge) as error:
                launched.refused[name] = error.message
            except (QuotaExceeded, NotAuthorized) as error:
                # Not the activity's fault, and it passes: room is made, the operator's role is mended.
                launched.later[name] = error.message
            except Forbidden as error:
                if error.namespace_terminating:
                    launched.later[name] = error.message
                else:
                    launched.refused[name] = error.message
            except Conflict as error:
                # A create conflicts only with a quota's bookkeeping, which passes; but many an admission webhook refuses
                # with a bare 422, which is a conflict of a patch otherwise.
                told = launched.refused if error.status == HTTPStatus.UNPROCESSABLE_ENTITY else launched.later
                told[name] = error.message
            except NotFound as error:
                # The namespace went, or the Job between the two calls above.
                launched.later[name] = error.message
            except ApiError as error:
                launched.later[name] = str(error)
                launched.unheard |= is_unheard(error)
                if error.retry_after_s is not None:
                    launched.after_s = max(launched.after_s or 0.0, error.retry_after_s)

    async def _made(self, kind: str, namespace: str, manifest: dict[str, Any]) -> Json:
        if kind == KIND:
            return await self._client.create(paths.workflows(namespace), manifest)
        return await self._client.create(paths.jobs(namespace), manifest)

    async def _found(self, kind: str, namespace: str, name: str) -> Json:
        if kind == KIND:
            return await self._client.get(paths.workflows(namespace, name))
        return await self._client.get(paths.jobs(namespace, name))


def _parent(metadata: Mapping[str, Any]) -> object:
    """Which Workflow a launch is of: its controller, or where it has none, and is to have none, what its label says."""
    uid = controller(metadata).get("uid")
    return uid, None if uid is not None else metadata.get("labels", {}).get(UID_LABEL)
