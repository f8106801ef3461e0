"""A list and watch that goes on whatever happens to the API server."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing, suppress

from flowy_operator.adapters.kube.client import Json, KubeClient
from flowy_operator.adapters.kube.errors import ApiError

PAUSE_S = 0.2


async def follow(
    client: KubeClient,
    path: str,
    see: Callable[[Json], None],
    gone: Callable[[Json], None],
    selector: str | None = None,
) -> None:
    """Tell of each object as often as it is seen, and once that it is gone. Never ends by itself."""
    known: dict[str, Json] = {}

    def saw(item: Json) -> None:
        known[item["metadata"]["uid"]] = {"metadata": item["metadata"]}
        see(item)

    while True:
        with suppress(ApiError):  # it is away: what was missed is in the next list
            items, version = await client.list(path, label_selector=selector)
            there = {item["metadata"]["uid"] for item in items}
            for uid in [uid for uid in known if uid not in there]:
                gone(known.pop(uid))
            for item in items:
                saw(item)
            events = client.watch(path, resource_version=version, label_selector=selector, timeout_s=3600)
            async with aclosing(events):
                async for event in events:
                    if event.type in {"ADDED", "MODIFIED"}:
                        saw(event.object)
                    elif event.type == "DELETED":
                        known.pop(event.object["metadata"]["uid"], None)
                        gone(event.object)
        await asyncio.sleep(PAUSE_S)
