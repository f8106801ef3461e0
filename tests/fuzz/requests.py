"""The gateway over bytes that a pod may send: it answers in whole, or hangs up; and another pod is answered all the same."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

from flowy_operator.adapters.gateway.connections import Caps, Connection
from flowy_operator.adapters.gateway.server import OTHER_PATH, Gateway
from flowy_operator.adapters.gateway.tokens import Tokens
from tests.adapters.gateway.opened import FixedDesk
from tests.adapters.gateway.reviewer import NOW, Reviewer, jwt, user
from tests.fuzz.cluster import Fuelled, logs
from tests.fuzz.texts import MARK, octets, texts

PATHS = ("/heartbeat", "/progress", "/result")
GOOD = b"POST /heartbeat HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: 0\r\n\r\n"
PATIENCE_S = 120.0

_latin = texts.map(lambda text: text.encode().decode("latin-1"))
_token = st.sampled_from(["$token", "$token", "$other", "e30.e30.", "a.b.c", "$token" * 400]) | _latin
_headers = st.lists(
    st.one_of(
        st.tuples(st.just("Authorization"), st.sampled_from(["Bearer ", "bearer  ", "Basic ", ""]).flatmap(
            lambda scheme: _token.map(lambda token: scheme + token))),
        st.tuples(st.just("Content-Length"), st.sampled_from(["0", "2", "4", "-1", "+4", "4, 4", "9" * 30, "0x4", "1048577"])),
        st.tuples(st.just("Transfer-Encoding"), st.sampled_from(["chunked", "gzip, chunked", "identity", "Chunked "])),
        st.tuples(st.just("Content-Encoding"), st.sampled_from(["gzip", "br", MARK])),
        st.tuples(st.just("Expect"), st.sampled_from(["100-continue", MARK])),
        st.tuples(st.just("Connection"), st.sampled_from(["close", "keep-alive", "Upgrade", "upgrade, close"])),
        st.tuples(st.just("Upgrade"), st.sampled_from(["websocket", "h2c"])),
        st.tuples(st.just("Host"), _latin),
        st.tuples(st.just("Content-Type"), st.sampled_from(["application/json", "text/plain; charset=utf-7", MARK])),
        st.tuples(_latin, _latin),
    ).map(list),
    max_size=5,
)  # fmt: skip
_requests = st.fixed_dictionaries(
    {
        "method": st.sampled_from(["GET", "POST", "PUT", "PUT", "HEAD", "OPTIONS", "CONNECT", "PRI", "get", ""])
        | _latin,
        "path": st.sampled_from(
            [*PATHS, *PATHS, "*", "//result", "/result?x=1", "/%72esult", "http://x/result", f"/{MARK}"]
        )
        | _latin,
        "version": st.sampled_from(["HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/9.9", ""]),
        "headers": _headers,
        "body": st.sampled_from(["", "{}", "null", "[1e999]", "NaN", '"\\ud800"', "4\r\nnull\r\n0\r\n\r\n", "[" * 3000])
        | octets,
    },
    optional={"cut": st.integers(0, 400), "honest": st.just(True)},
)
requests = st.lists(_requests | octets.map(lambda raw: {"raw": raw}), min_size=1, max_size=4)
"""What one connection sends. `$token` is a good one, `$other` that of another pod; `honest` adds the right length."""


def check(case: list[Mapping[str, Any]]) -> None:
    """Raises if an answer is torn, a stranger's text steers something, or the neighbour isn't answered."""
    with logs(), asyncio.Runner(loop_factory=Fuelled) as runner:
        runner.run(_talk([_bytes(one) for one in case], is_head=any(one.get("method") == "HEAD" for one in case)))


def _bytes(one: Mapping[str, Any]) -> bytes:
    if "raw" in one:
        return str(one["raw"]).encode("latin-1")
    headers = list(one["headers"])
    if "honest" in one:
        headers += [["Content-Length", str(len(one["body"]))], ["Authorization", "Bearer $token"], ["Host", "x"]]
    head = [f"{one['method']} {one['path']} {one['version']}", *(f"{name}: {value}" for name, value in headers)]
    text = "\r\n".join([*head, "", str(one["body"])])
    for name, pod in (("$token", "pod-1"), ("$other", "pod-2")):
        text = text.replace(name, jwt(pod))
    return text.encode("latin-1")


class _Wire(asyncio.Transport):
    """The other end of a connection."""

    def __init__(self) -> None:
        super().__init__()
        self.said = b""
        self.is_closed = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("10.0.0.1", 4711) if name == "peername" else default

    def write(self, data: Any) -> None:
        self.said += bytes(data)

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.is_closed = True

    def abort(self) -> None:
        self.is_closed = True

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...


async def _talk(sent: list[bytes], *, is_head: bool) -> None:
    reviewer = Reviewer({jwt(pod): user(pod) for pod in ("pod-0", "pod-1", "pod-2")})
    answered: list[tuple[str, int]] = []
    gateway = Gateway(
        Tokens(reviewer, audience="flowy", clock=lambda: NOW, knows=reviewer.knows, unheard=reviewer.unheard),
        FixedDesk(),
        clock=asyncio.get_running_loop().time,
        caps=Caps(total=100, per_address=50),
        answered=lambda path, code: answered.append((path, code)),
        deaf=lambda: None,
        onward=None,
    )
    sweeping = asyncio.create_task(gateway._connections.sweep())
    try:
        said, connection = await _send(gateway, sent)
        assert connection.transport is None or connection.transport.is_closing(), "it is open for ever"
        _check_answers(said, is_head=is_head)
        whole, _ = await _send(gateway, [GOOD % jwt("pod-0").encode()])
        assert whole.startswith(b"HTTP/1.1 200 OK\r\n"), whole
    finally:
        sweeping.cancel()
        await gateway._connections.close()
    for path, code in answered:
        assert path in {*PATHS, OTHER_PATH}, path
        assert code < 500 or code == 503, code


async def _send(gateway: Gateway, sent: list[bytes]) -> tuple[bytes, Connection]:
    wire, connection = _Wire(), gateway._connections()
    connection.connection_made(wire)
    for part in sent:
        if wire.is_closed:
            break
        connection.data_received(part)
        await asyncio.sleep(0.01)
    await asyncio.sleep(PATIENCE_S)
    if wire.is_closed:
        connection.connection_lost(None)
        await asyncio.sleep(0)
    return wire.said, connection


def _check_answers(said: bytes, *, is_head: bool) -> None:
    """Answers stand one behind the other, each of a known form; what was sent is at most quoted in JSON."""
    while said:
        head, found, said = said.partition(b"\r\n\r\n")
        assert found, head
        status, *lines = head.decode("ascii").split("\r\n")
        version, code = status.split(" ")[:2]
        assert version.startswith("HTTP/"), status  # aiohttp repeats whatever version was asked with
        assert MARK not in head.decode(), head
        if code == "100":
            continue
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        size = int(headers["content-length"])
        if is_head and (not said or said.startswith(b"HTTP/1.")):
            continue
        body, said = said[:size], said[size:]
        json.loads(body)
