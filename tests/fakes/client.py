"""KubeClient without a socket, over the same fake API server: for tests in virtual time."""

from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Any

from flowy_operator.adapters.kube.client import METADATA_LIST, Json, KubeClient, WatchEvent
from flowy_operator.adapters.kube.errors import ApiError, Unreachable, from_status
from flowy_operator.adapters.kube.paths import resource_of
from tests.fakes.api import Api, LostError, only_metadata
from tests.fakes.patches import copied
from tests.fakes.store import Refusal


class LocalClient(KubeClient):
    """Everything above the transport is the real one's: paging, preconditions, the mapping of errors."""

    def __init__(self, api: Api, may_write: Callable[[], bool] | None = None) -> None:
        self.requests: Counter[tuple[str, str, int]] = Counter()
        self._may_write = may_write
        self._local = api

    async def close(self) -> None:
        pass

    async def authorization(self) -> str | None:
        return None

    async def _events(self, path: str, query: Mapping[str, str]) -> AsyncGenerator[WatchEvent, None]:
        try:
            async with aclosing(await self._local.watch(path, query)) as events:
                self.requests["watch", resource_of(path), 200] += 1
                async for event in events:
                    if event["type"] == "ERROR":
                        raise from_status(event["object"])
                    yield WatchEvent(event["type"], event["object"])
        except Refusal as refusal:
            raise self._refused("watch", path, refusal) from refusal
        except LostError as error:
            raise Unreachable(f"watch of {path}: cut") from error

    async def get_end(self, path: str, *, query: Mapping[str, str], most_bytes: int) -> tuple[bytes, int]:
        try:
            content = await self._local.log(path, query)
        except Refusal as refusal:
            raise self._refused("get", path, refusal) from refusal
        except LostError as error:
            self.requests["get", resource_of(path), 0] += 1
            raise Unreachable(f"get {path}: lost") from error
        self.requests["get", resource_of(path), 200] += 1
        return content[-most_bytes:], len(content)

    async def _call(
        self,
        verb: str,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> Json:
        try:
            status, answer = await self._local.request(
                "get" if verb == "list" else verb, path, query or {}, body if verb == "create" else copied(body)
            )
        except Refusal as refusal:
            raise self._refused(verb, path, refusal) from refusal
        except LostError as error:
            self.requests[verb, resource_of(path), 0] += 1
            raise Unreachable(f"{verb} {path}: lost") from error
        self.requests[verb, resource_of(path), status] += 1
        return only_metadata(answer) if accept == METADATA_LIST else answer

    def _refused(self, verb: str, path: str, refusal: Refusal) -> ApiError:
        self.requests[verb, resource_of(path), refusal.code] += 1
        return from_status(refusal.status)
