"""What happens to a namespace's Jobs and Pods, stamped by one clock: that of this process as the watch tells it.

The API server's own stamps have whole seconds, too coarse for figures in milliseconds.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any

from flowy_operator.adapters.kube import paths
from flowy_operator.adapters.kube.client import KubeClient
from flowy_operator.adapters.kube.errors import ApiError


class Watcher:
    """When each Job was first seen (`created`), and each Job's Pod seen ended (`ended`), in seconds, by the Job's name."""

    def __init__(self) -> None:
        self.created: dict[str, float] = {}
        self.ended: dict[str, float] = {}
        self.phases: dict[str, str] = {}
        self._news = asyncio.Event()

    async def until(self, holds: Callable[[], bool], limit_s: float = 300) -> None:
        """Wait until `holds`, which is asked at each event."""
        async with asyncio.timeout(limit_s):
            while not holds():
                self._news.clear()
                await self._news.wait()

    async def follow(self, client: KubeClient, path: str, see: Callable[[dict[str, Any]], None]) -> None:
        while True:
            items, version = await client.list(path)
            for item in items:
                see(item)
            self._news.set()
            with suppress(ApiError):  # the API server lets go of watches that lag behind a thousand pods
                await self._watch(client, path, version, see)

    async def _watch(self, client: KubeClient, path: str, version: str, see: Callable[[dict[str, Any]], None]) -> None:
        async with aclosing(client.watch(path, resource_version=version, timeout_s=3600)) as events:
            async for event in events:
                if event.type in {"ADDED", "MODIFIED"}:
                    see(event.object)
                    self._news.set()

    def see_job(self, job: dict[str, Any]) -> None:
        self.created.setdefault(job["metadata"]["name"], time.monotonic())

    def see_pod(self, pod: dict[str, Any]) -> None:
        job = pod["metadata"]["labels"].get("batch.kubernetes.io/job-name", "")
        phase = pod.get("status", {}).get("phase", "")
        if phase in {"Succeeded", "Failed"} and job not in self.ended:
            self.ended[job] = time.monotonic()
            self.phases[job] = phase


@asynccontextmanager
async def watching(client: KubeClient, namespace: str) -> AsyncIterator[Watcher]:
    """Watch a namespace until left."""
    watcher = Watcher()
    tasks = [
        asyncio.create_task(watcher.follow(client, paths.jobs(namespace), watcher.see_job)),
        asyncio.create_task(watcher.follow(client, paths.pods(namespace), watcher.see_pod)),
    ]
    try:
        yield watcher
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task
