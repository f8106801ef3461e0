"""An operator's way to the API server, and how it hears of Workflows: both can be hampered."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import aclosing, suppress
from datetime import timedelta
from typing import Any

from flowy_operator.adapters.host import Changed
from flowy_operator.adapters.kube import paths
from flowy_operator.adapters.kube.client import WatchEvent
from flowy_operator.adapters.kube.errors import ApiError, Unreachable
from flowy_operator.adapters.kube.paths import resource_of
from flowy_operator.core.key import Key
from tests.fakes.api import Api
from tests.fakes.client import LocalClient
from tests.fakes.store import Json

WRITES = {"create", "patch", "delete"}
REWATCH_S = 0.5


class Line(LocalClient):
    """One operator's way to the API server: `latency` gives the seconds that a request, an answer, an event takes."""

    def __init__(self, api: Api, latency: Callable[[], float], may_write: Callable[[], bool] | None = None) -> None:
        super().__init__(api, may_write)
        self._latency = latency
        self.is_cut = False
        """Nothing gets through, in either direction, until an operator that knows nothing of it gives up."""
        self.wrote: Callable[[], None] = lambda: None
        """Called at the moment when a write is applied."""
        self.writes_left: int | None = None
        """The operator dies at the write after so many; before it is applied, or after it: `dies_after`."""
        self.dies_after = False
        self.dead = asyncio.Event()
        self.is_deaf = False
        """What is sent arrives, and nothing comes back."""
        self.delay_s = 0.0
        """Added to each way."""
        self.held_until: dict[str, float] = {}
        """Until when, by the loop's clock, nothing arrives that happens to a resource."""
        self.goes_back: dict[str, int] = {}
        """By so many versions the next watch of a resource begins too early: what is known is told again."""
        self.skew = timedelta()
        """By so much its machine's clock differs from all others."""

    @property
    def writes(self) -> dict[tuple[str, str], int]:
        """What was written, Events apart: how often, by (verb, resource)."""
        counts: dict[tuple[str, str], int] = {}
        for (verb, resource, code), count in self.requests.items():
            if verb in WRITES and resource != "events" and 0 < code < 400:
                counts[verb, resource] = counts.get((verb, resource), 0) + count
        return counts

    async def _events(self, path: str, query: Mapping[str, str]) -> AsyncGenerator[WatchEvent, None]:
        resource = resource_of(path)
        version, back = int(query["resourceVersion"]), self.goes_back.pop(resource, 0)
        if version >= self._local.store.floor:
            version = max(version - back, self._local.store.floor)
        stream = super()._events(path, {**query, "resourceVersion": str(version)})
        clock, read_at = asyncio.get_running_loop().time, -1.0
        async with aclosing(stream) as events:
            async for event in events:
                if clock() > read_at:  # what happened together arrives together, in one read
                    held_s = self.held_until.get(resource, 0.0) - clock()
                    await asyncio.sleep(self._latency() + self.delay_s + max(held_s, 0.0))
                    read_at = clock()
                self._pass()
                self._hear()
                yield event

    async def get_end(self, path: str, *, query: Mapping[str, str], most_bytes: int) -> tuple[bytes, int]:
        await asyncio.sleep(self._latency() + self.delay_s)
        found = await super().get_end(path, query=query, most_bytes=most_bytes)
        await asyncio.sleep(self._latency() + self.delay_s)
        return found

    async def _call(self, verb: str, *args: Any, **options: Any) -> Json:
        is_last = False
        if verb in WRITES and self.writes_left is not None:
            is_last = self.writes_left == 0
            self.writes_left -= 1
            if is_last and not self.dies_after:
                await self._die()
        clock, takes_s = asyncio.get_running_loop().time, self._latency() + self.delay_s
        sent_at = clock()
        await asyncio.sleep(takes_s)
        was_frozen = clock() - sent_at > takes_s + 0.01
        self._pass()
        try:
            answer = await super()._call(verb, *args, **options)
            if (
                verb in WRITES and not was_frozen
            ):  # else it was on its way while it still led: no lease helps against that
                self.wrote()
            self._pass()
            self._hear()
            return answer
        finally:
            if is_last:
                await self._die()
            await asyncio.sleep(self._latency() + self.delay_s)

    def _pass(self) -> None:
        if self.is_cut:
            raise Unreachable("the network is away")

    def _hear(self) -> None:
        if self.is_deaf:
            raise Unreachable("nothing comes back")

    async def _die(self) -> None:
        self.dead.set()
        await asyncio.get_running_loop().create_future()


def host(line: Line) -> Callable[[Changed, asyncio.Event], Coroutine[Any, Any, None]]:
    """A watch of Workflows as kopf does it: no word of what was deleted while nobody watched."""

    async def watch(changed: Changed, stop: asyncio.Event) -> None:
        following = asyncio.create_task(_follow(line, changed))
        await stop.wait()
        following.cancel()

    return watch


async def _follow(line: Line, changed: Changed) -> None:
    while True:
        with suppress(ApiError):
            items, version = await line.list(paths.workflows())
            for item in items:
                changed(_key(item), item["metadata"]["uid"], item)
            async with aclosing(line.watch(paths.workflows(), resource_version=version)) as events:
                async for event in events:
                    if event.type != "BOOKMARK":
                        body = event.object
                        changed(_key(body), body["metadata"]["uid"], None if event.type == "DELETED" else body)
        await asyncio.sleep(REWATCH_S)


def _key(body: Json) -> Key:
    return Key(body["metadata"]["namespace"], body["metadata"]["name"])
