"""A gateway that is open, over real sockets, with a desk that answers all the same."""

import asyncio
import io
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from flowy_operator.adapters.gateway.connections import Caps
from flowy_operator.adapters.gateway.onward import Onward
from flowy_operator.adapters.gateway.server import Gateway, open_socket
from flowy_operator.adapters.gateway.tokens import Tokens
from flowy_operator.core.attempts import Abandoned, Caller, Counts, Differs, Over, Standing, Unknown
from tests.adapters.gateway.reviewer import NOW, Reviewer, jwt, user
from tests.builders import launch_of, scheduled, state_of

STATE = state_of(scheduled())
COUNTS = Counts(STATE.tasks["task-0"], launch_of(STATE).job)
TOKEN = jwt("pod-1")
FOREIGN = 20
"""Pods from this number on are of another namespace."""
PLENTY = Caps(total=100, per_address=50)


@dataclass
class FixedDesk:
    """Answers each pod the same, and remembers what it was told."""

    standing: Standing = COUNTS
    left: str = "null"
    heard: list[tuple[str, str | None]] = field(default_factory=list)
    at_first: Standing = COUNTS
    uploaded: Standing | Differs = COUNTS

    async def heartbeat(self, caller: Caller, details: str | None) -> Standing:
        self.heard.append((caller.pod, details))
        return self.standing

    async def may_upload(self, caller: Caller) -> Standing:
        return self.at_first

    async def upload(self, caller: Caller, text: str) -> Standing | Differs:
        self.heard.append((caller.pod, text))
        return self.uploaded

    async def progress(self, caller: Caller) -> str | Over | Abandoned | Unknown:
        return self.left if isinstance(self.standing, Counts) else self.standing


@dataclass
class Open:
    """A gateway that is open, and a client of it."""

    url: str
    port: int
    client: aiohttp.ClientSession
    gateway: Gateway
    reviewer: Reviewer
    answered: Counter[tuple[str, int]]
    told: asyncio.Event  # that one more was answered
    deaf: list[None]

    async def ask(
        self, method: str, path: str, body: Any = None, token: str | None = TOKEN, **headers: str
    ) -> tuple[int, Any]:
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        data = io.BytesIO(body) if isinstance(body, bytes) else body
        async with self.client.request(method, self.url + path, data=data, headers=headers) as response:
            assert response.content_type == "application/json"
            return response.status, await response.json()

    async def stream(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)


@asynccontextmanager
async def gateway(
    desk: FixedDesk, *, caps: Caps = PLENTY, pods: int = 3, onward: Onward | None = None
) -> AsyncIterator[Open]:
    names = {f"pod-{n}": "ns" if n < FOREIGN else "other" for n in range(pods)}
    reviewer = Reviewer({jwt(pod, namespace): user(pod, namespace) for pod, namespace in names.items()})
    answered: Counter[tuple[str, int]] = Counter()
    told = asyncio.Event()
    deaf: list[None] = []

    def count(path: str, code: int) -> None:
        answered[path, code] += 1
        told.set()

    made = Gateway(
        Tokens(reviewer, audience="flowy", clock=lambda: NOW, knows=reviewer.knows, unheard=reviewer.unheard),
        desk,
        clock=asyncio.get_running_loop().time,
        caps=caps,
        answered=count,
        deaf=lambda: deaf.append(None),
        onward=onward,
    )
    listening = open_socket(0)
    port = listening.getsockname()[1]
    async with made.serving(listening), aiohttp.ClientSession() as client:
        yield Open(f"http://127.0.0.1:{port}", port, client, made, reviewer, answered, told, deaf)
