"""What heartbeats cost the operator: 1,000 pods, one a second each, over real sockets.

    this process: Operator and gateway over the fake API server ◀── HTTP ── a child: 1,000 pods

The pods are records in the caches and their tokens are reviewed by a stand-in, once each, as in a cluster: what is left is
what a heartbeat costs in the long run. `python -m tests.bench.heartbeats` measures this alone.
"""

import asyncio
import gc
import json
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flowy_operator.adapters.gateway.connections import Caps
from flowy_operator.adapters.gateway.server import Gateway, open_socket
from flowy_operator.adapters.gateway.tokens import Tokens
from flowy_operator.adapters.metrics import Metrics
from tests.adapters.gateway.reviewer import NOW, Reviewer, jwt
from tests.app.kubelet import NEVER_ENDS, NEVER_STARTS
from tests.app.world import NAMESPACE, World, world
from tests.bench import report
from tests.bench.figures import Figure, figure
from tests.fakes.tokens import bearer

WORKFLOWS, TASKS = 10, 100
PODS = WORKFLOWS * TASKS
TIMEOUT_S = 30
"""Of the tasks: the deadlines come round several times while it is measured."""
MEASURED_S = 20.0
DESCRIPTORS = 8_192
PODS_PER_ADDRESS = 4

SOURCE = """
    def w(t):
        def run():
            return [t(n) for n in range({tasks})]
        return run
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a number of heartbeats took: CPU of the operator in percent of a core, and calls of the API server."""

    beats_per_s: float
    core_percent: float
    api_calls: int
    slowest_ms: float


def figures() -> list[Figure]:
    """The figures of the report, for just 1,000 heartbeats a second."""
    kept, closed = asyncio.run(measure())
    values = [
        (
            "heartbeats-1000-per-s-kept-connections",
            kept.core_percent / kept.beats_per_s * 1000,
            "% of a core",
            "< 30 %",
        ),
        (
            "heartbeats-1000-per-s-new-connections",
            closed.core_percent / closed.beats_per_s * 1000,
            "% of a core",
            "< 30 %",
        ),
        ("heartbeats-api-calls", kept.api_calls + closed.api_calls, "calls", "0"),
    ]
    return [figure(*row) for row in values]


async def measure() -> tuple[Cost, Cost]:
    """With connections that are kept, and with a new one for each heartbeat."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, DESCRIPTORS), hard), hard))
    async with world(lambda call: NEVER_STARTS, latency=lambda: 0.0) as w:
        timeouts = {"heartbeatSeconds": TIMEOUT_S}
        for n in range(WORKFLOWS):
            w.submit(SOURCE.format(tasks=TASKS), {"name": "t", "timeouts": timeouts}, name=f"w{n}")
        tokens = await _tokens(w)
        reviewer = Reviewer({token: bearer(NAMESPACE, "default", pod) for token, pod in tokens.items()})
        desk = w.operators[0].operator.attempts
        checked = Tokens(reviewer, audience="flowy", clock=lambda: NOW, knows=desk.knows, unheard=desk.unheard)
        caps, answered = Caps.of_this_process(), Metrics().answered
        gateway = Gateway(checked, desk, clock=time.monotonic, caps=caps, answered=answered, deaf=_deaf, onward=None)
        listening = open_socket(0)
        port = listening.getsockname()[1]
        # The stand-in keeps every version of every object in this process; the operator shall not be charged for that.
        gc.collect()
        gc.freeze()
        async with gateway.serving(listening):
            kept = await _cost(w, port, list(tokens), "kept")
            closed = await _cost(w, port, list(tokens), "closed")
        assert len(reviewer.reviews) == PODS, "each token is reviewed once"
        history = sum(len(w.history(f"w{n}")) for n in range(WORKFLOWS))
        assert history == PODS, "a heartbeat is no event, and nobody fell silent"
    return kept, closed


async def _tokens(w: World) -> dict[str, dict[str, Any]]:
    """A token for each pod, once all are there."""
    await w.until(lambda: len(w.objects("pods")) == PODS)
    pods = w.objects("pods")
    for pod in pods:  # all at once: those that were made first would otherwise have been silent for too long
        w.kubelet.begin(pod, NEVER_ENDS)
    known = w.operators[0].operator._pods.records
    while sum(record.started_at is not None for record in known.values()) < PODS:  # noqa: ASYNC110 - no event of its own
        await asyncio.sleep(0.2)
    # That so many launches have been made is written once they are open for a while: no heartbeat's doing.
    await w.until(lambda: all("launchedThrough" in w.status(f"w{n}") for n in range(WORKFLOWS)))
    return {jwt(pod["name"], NAMESPACE, uid=pod["uid"]): pod for pod in (pod["metadata"] for pod in pods)}


def _deaf() -> None:
    raise AssertionError("a connection was refused")


async def _cost(w: World, port: int, tokens: Sequence[str], how: str) -> Cost:
    """Let the child beat; count from when every pod has been heard."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.heartbeats", how, str(port),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(json.dumps(tokens).encode() + b"\n")
    await child.stdin.drain()
    assert await child.stdout.readline() == b"all heard\n"
    calls, cpu_s, began = sum(w.api.calls.values()), time.process_time(), time.monotonic()
    counted = json.loads(await child.stdout.readline())
    wall_s = time.monotonic() - began
    cost = Cost(
        beats_per_s=counted["beats"] / wall_s,
        core_percent=100 * (time.process_time() - cpu_s) / wall_s,
        api_calls=sum(w.api.calls.values()) - calls,
        slowest_ms=counted["slowest_ms"],
    )
    assert await child.wait() == 0
    return cost


# -- the pods ---------------------------------------------------------------------------------------------------------


class Pods:
    """All pods in one process: raw sockets, since a client library would cost more than what is measured."""

    def __init__(self, port: int, tokens: Sequence[str], *, keeps: bool) -> None:
        self._port = port
        self._keeps = keeps
        self._heads = [self._head(token) for token in tokens]
        self.beats = 0
        self.slowest_s = 0.0

    def _head(self, token: str) -> bytes:
        connection = "keep-alive" if self._keeps else "close"
        lines = [
            "POST /heartbeat HTTP/1.1",
            "Host: gateway",
            f"Authorization: Bearer {token}",
            f"Connection: {connection}",
        ]
        return "\r\n".join([*lines, "Content-Length: 12", "", '{"frame": 7}']).encode()

    async def run(self, seconds: float) -> None:
        """One heartbeat a second of each pod, evenly spread."""
        began = asyncio.get_running_loop().time()
        await asyncio.gather(*(self._pod(n, head, began, seconds) for n, head in enumerate(self._heads)))

    async def _pod(self, number: int, head: bytes, began: float, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        at, stream = began + number / len(self._heads), None
        while at < began + seconds:
            await asyncio.sleep(max(at - loop.time(), 0))
            sent_at = loop.time()
            stream = stream or await self._open(number)
            stream[1].write(head)
            await self._true(stream[0])
            self.beats += 1
            self.slowest_s = max(self.slowest_s, loop.time() - sent_at)
            if not self._keeps:
                stream[1].close()
                stream = None
            at += 1
        if stream is not None:
            stream[1].close()

    async def _open(self, number: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        # Pods have addresses of their own.
        third, fourth = divmod(number // PODS_PER_ADDRESS, 250)
        return await asyncio.open_connection("127.0.0.1", self._port, local_addr=(f"127.0.{third}.{fourth + 2}", 0))

    @staticmethod
    async def _true(reader: asyncio.StreamReader) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        (length,) = (line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
        answer = json.loads(await reader.readexactly(int(length)))
        assert answer == {"continue": True}, answer


async def _beat(how: str, port: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, DESCRIPTORS), hard), hard))
    pods = Pods(port, json.loads(sys.stdin.readline()), keeps=how == "kept")
    await pods.run(2)
    print("all heard", flush=True)
    pods.beats, pods.slowest_s = 0, 0.0
    await pods.run(MEASURED_S)
    print(json.dumps({"beats": pods.beats, "slowest_ms": pods.slowest_s * 1000}), flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        asyncio.run(_beat(sys.argv[1], int(sys.argv[2])))
    else:
        measured = figures()
        report.write(measured)
        print(report.page(measured))
