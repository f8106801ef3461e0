"""The gateway over real sockets: what it answers, and whom it doesn't let spoil it for the others."""

import asyncio
import io
import json
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest

from flowy_operator.adapters.gateway import connections, server
from flowy_operator.adapters.gateway.connections import Caps
from flowy_operator.adapters.gateway.server import BURST, Gateway, GatewayError, _Paces, open_socket, own_url
from flowy_operator.adapters.gateway.tokens import Tokens
from flowy_operator.core.attempts import DETAILS_BYTES, Abandoned, Caller, Counts, Differs, Over, Standing, Unknown
from flowy_operator.core.values import MAX_VALUE_BYTES
from tests.adapters.gateway.reviewer import NOW, Reviewer, jwt, user
from tests.builders import launch_of, scheduled, state_of

STATE = state_of(scheduled())
COUNTS = Counts(STATE.tasks["task-0"], launch_of(STATE).job)
TOKEN = jwt("pod-1")
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
    answered: Counter[tuple[str, int]]
    told: asyncio.Event  # that one more was answered

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
async def gateway(desk: FixedDesk, *, caps: Caps = PLENTY, pods: int = 3) -> AsyncIterator[Open]:
    reviewer = Reviewer({jwt(f"pod-{n}"): user(f"pod-{n}") for n in range(pods)})
    answered: Counter[tuple[str, int]] = Counter()
    told = asyncio.Event()

    def count(path: str, code: int) -> None:
        answered[path, code] += 1
        told.set()

    made = Gateway(
        Tokens(reviewer, audience="flowy", clock=lambda: NOW, deaf=reviewer.deaf),
        desk,
        clock=asyncio.get_running_loop().time,
        caps=caps,
        answered=count,
    )
    listening = open_socket(0)
    port = listening.getsockname()[1]
    async with made.serving(listening), aiohttp.ClientSession() as client:
        yield Open(f"http://127.0.0.1:{port}", port, client, made, answered, told)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HELD_S", 0.0)


# -- answers ----------------------------------------------------------------------------------------------------------

BODIES: dict[str, tuple[Any, str | None]] = {
    "nothing": (None, None),
    "white space": (b" \n", None),
    "a number, exactly": (b"1.0", "1.0"),
    "an object": (b' {"frame": 7}\n', '{"frame": 7}'),
    "null": (b"null", "null"),
    "text beyond ASCII": ('"é"'.encode(), '"é"'),
    "as long as may be": (b'"' + b"x" * (DETAILS_BYTES - 2) + b'"', '"' + "x" * (DETAILS_BYTES - 2) + '"'),
}


@pytest.mark.parametrize(("body", "details"), BODIES.values(), ids=BODIES)
async def test_a_heartbeat_may_have_details(body: Any, details: str | None) -> None:
    desk = FixedDesk()
    async with gateway(desk) as there:
        assert await there.ask("POST", "/heartbeat", body) == (200, {"continue": True})
    assert desk.heard == [("pod-1", details)]


async def test_what_no_longer_counts_is_told_to_stop_and_why() -> None:
    async with gateway(FixedDesk(Over("the workflow w has ended"))) as there:
        answer = {"continue": False, "reason": "the workflow w has ended"}
        assert await there.ask("POST", "/heartbeat") == (200, answer)
        assert await there.ask("GET", "/progress") == (409, {"error": "the workflow w has ended"})


async def test_what_was_left_behind_goes_on() -> None:
    async with gateway(FixedDesk(Abandoned("nobody waits"))) as there:
        assert await there.ask("POST", "/heartbeat") == (200, {"continue": True})
        assert await there.ask("GET", "/progress") == (409, {"error": "nobody waits"})


async def test_what_is_not_known_is_to_be_asked_again() -> None:
    async with gateway(FixedDesk(Unknown("the pod isn't known yet"))) as there:
        for method, path in (("POST", "/heartbeat"), ("GET", "/progress")):
            async with there.client.request(
                method, there.url + path, headers={"Authorization": f"Bearer {TOKEN}"}
            ) as response:
                assert (response.status, response.headers["Retry-After"]) == (503, "1")
                assert await response.json() == {"error": "the pod isn't known yet: try again"}


@pytest.mark.parametrize("left", ["null", '{"frame": 1.0}', "[]"])
async def test_what_was_left_comes_back_as_it_was(left: str) -> None:
    async with gateway(FixedDesk(left=left)) as there:
        headers = {"Authorization": f"bearer {TOKEN}"}
        async with there.client.get(f"{there.url}/progress", headers=headers) as response:
            assert (await response.text()).strip() == left


TOO_LONG = b'"' + b"x" * (DETAILS_BYTES - 1) + b'"'
REFUSED: dict[str, tuple[str, str, Any, str | None, int, str]] = {
    "one byte too many": ("POST", "/heartbeat", TOO_LONG, TOKEN, 413, "has 4,096 bytes: at most 4,095 bytes are taken"),
    "no JSON": ("POST", "/heartbeat", b"{", TOKEN, 400, "the details of the heartbeat is no JSON"),
    "NaN": ("POST", "/heartbeat", b"NaN", TOKEN, 400, "NaN"),
    "no UTF-8": ("POST", "/heartbeat", b'"\xff"', TOKEN, 400, "no UTF-8 at byte 1"),
    "too deep": ("POST", "/heartbeat", b"[" * 2000 + b"]" * 2000, TOKEN, 400, "too deep"),
    "a lone surrogate": ("POST", "/heartbeat", b'"\\ud800"', TOKEN, 400, "surrogate"),
    "without a token": ("POST", "/heartbeat", None, None, 401, "FLOWY_TOKEN_FILE"),
    "with a wrong token": ("POST", "/heartbeat", None, jwt("wrong"), 401, "doesn't accept"),
    "the wrong token is said before the long body": ("POST", "/heartbeat", b"x" * 10**7, jwt("wrong"), 401, "accept"),
    "another method": ("GET", "/heartbeat", None, TOKEN, 405, "takes POST, not GET"),
    "another path": ("GET", "/etc/passwd", None, TOKEN, 404, "POST /heartbeat, GET /progress, PUT /result"),
}


@pytest.mark.parametrize(("method", "path", "body", "token", "status", "words"), REFUSED.values(), ids=REFUSED)
async def test_refusals_say_why(method: str, path: str, body: Any, token: str | None, status: int, words: str) -> None:
    desk = FixedDesk()
    async with gateway(desk) as there:
        found, answer = await there.ask(method, path, body, token)
        assert (found, list(answer)) == (status, ["error"])
        assert words in answer["error"]
        assert not desk.heard
        assert await there.ask("POST", "/heartbeat") == (200, {"continue": True}), "and the next one is served"


async def test_a_body_of_unknown_length_is_bounded_too() -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b" " * 10_000
            await asyncio.sleep(0)

    async with gateway(FixedDesk()) as there:
        status, answer = await there.ask("POST", "/heartbeat", endless())
        assert status == 413
        assert "more than 4,095 bytes" in answer["error"]


async def test_a_compressed_body_is_refused() -> None:
    async with gateway(FixedDesk()) as there:
        status, answer = await there.ask("POST", "/heartbeat", b"x", **{"Content-Encoding": "gzip"})
        assert (status, answer) == (415, {"error": "the body is compressed: send it as it is"})


async def test_what_is_no_http_is_told_so_in_json() -> None:
    async with gateway(FixedDesk()) as there:
        reader, writer = await there.stream()
        writer.write(b"EHLO mail\r\n\r\n")
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        assert b" 400 " in head.splitlines()[0]
        assert list(json.loads(body)) == ["error"]
        writer.close()


NO_UTF_8: dict[str, tuple[bytes, bytes]] = {
    "in the token": (b"POST /heartbeat HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xff\r\n\r\n", b" 401 "),
    "in the path": (b"POST /\xff HTTP/1.1\r\nHost: x\r\n\r\n", b" 400 "),
    "in the path, escaped": (b"POST /%ff HTTP/1.1\r\nHost: x\r\n\r\n", b" 404 "),
}


@pytest.mark.parametrize(("head", "status"), NO_UTF_8.values(), ids=NO_UTF_8)
async def test_bytes_that_are_no_utf_8_are_refused_like_others(
    head: bytes, status: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with gateway(FixedDesk()) as there:
        reader, writer = await there.stream()
        writer.write(head.replace(b"Host: x", b"Host: x\r\nConnection: close"))
        first, _, body = (await reader.read()).partition(b"\r\n\r\n")
        assert status in first.splitlines()[0]
        assert list(json.loads(body)) == ["error"]
        writer.close()
    assert not caplog.records


WITHOUT_A_TOKEN: dict[str, tuple[str, str, dict[str, str]]] = {
    "no such path": ("GET", "/", {}),
    "no such method": ("DELETE", "/result", {}),
    "a compressed body": ("POST", "/heartbeat", {"Content-Encoding": "gzip"}),
    "a wrong token": ("POST", "/heartbeat", {}),
}


@pytest.mark.parametrize(("method", "path", "headers"), WITHOUT_A_TOKEN.values(), ids=WITHOUT_A_TOKEN)
async def test_what_needs_no_good_token_is_answered_late(
    method: str, path: str, headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "HELD_S", 3600.0)
    async with gateway(FixedDesk()) as there:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(there.ask(method, path, token=None, **headers), 0.2)


async def test_a_fault_of_ours_is_an_answer_and_a_log_line(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(FixedDesk):
        async def heartbeat(self, caller: Caller, details: str | None) -> Standing:
            raise ZeroDivisionError

    async with gateway(Broken()) as there:
        status, answer = await there.ask("POST", "/heartbeat")
        assert (status, list(answer)) == (500, ["error"])
        assert "ZeroDivisionError" not in json.dumps(answer)
    assert [record.getMessage() for record in caplog.records] == ["a gateway call failed"]


# -- results ----------------------------------------------------------------------------------------------------------

LONGEST = b'"' + b"x" * (MAX_VALUE_BYTES - 2) + b'"'
RESULTS: dict[str, tuple[Any, str]] = {
    "exactly as it was sent": (
        '{"é": 1.0, "n": 12345678901234567890}'.encode(),
        '{"é": 1.0, "n": 12345678901234567890}',
    ),
    "as long as may be": (LONGEST, LONGEST.decode()),
    "nothing is null": (None, "null"),
}


@pytest.mark.parametrize("method", ["PUT", "POST"])
@pytest.mark.parametrize(("body", "text"), RESULTS.values(), ids=RESULTS)
async def test_a_result_is_stored_before_it_is_acknowledged(method: str, body: Any, text: str) -> None:
    desk = FixedDesk()
    async with gateway(desk) as there:
        assert await there.ask(method, "/result", body) == (200, {"bytes": len(text.encode())})
    assert desk.heard == [("pod-1", text)]


async def test_a_result_that_is_too_long_is_refused_with_size_and_limit() -> None:
    desk = FixedDesk()
    async with gateway(desk) as there:
        status, answer = await there.ask("PUT", "/result", LONGEST + b" ")
        assert (status, answer) == (
            413,
            {"error": "the result has 1,048,577 bytes: at most 1,048,576 bytes are taken"},
        )
        assert (await there.ask("PUT", "/result", b"[NaN]"))[0] == 400
    assert not desk.heard


UPLOADS: dict[str, tuple[FixedDesk, int, str, bool]] = {
    "late, and its body isn't even read": (FixedDesk(at_first=Over("it is over")), 409, "it is over", False),
    "left behind": (FixedDesk(at_first=Abandoned("nobody waits")), 409, "nobody waits", False),
    "over while it was sent": (FixedDesk(uploaded=Over("it is over")), 409, "it is over", True),
    "another than before": (FixedDesk(uploaded=Differs("it has another")), 409, "it has another", True),
    "not stored": (FixedDesk(uploaded=Unknown("etcd has left")), 503, "etcd has left: try again", True),
}


@pytest.mark.parametrize(("desk", "status", "why", "is_read"), UPLOADS.values(), ids=UPLOADS)
async def test_a_result_is_refused_when_it_does_not_count(
    desk: FixedDesk, status: int, why: str, is_read: bool
) -> None:
    async with gateway(desk) as there:
        assert await there.ask("PUT", "/result", b"7") == (status, {"error": why})
    assert bool(desk.heard) is is_read


async def test_uploads_at_once_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "UPLOADS_AT_ONCE", 1)
    more = asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield b"1"
        await more.wait()

    async with gateway(FixedDesk()) as there:
        first = asyncio.create_task(there.ask("PUT", "/result", slowly()))
        await asyncio.sleep(0.1)
        assert (await there.ask("PUT", "/result", b"2"))[0] == 429
        assert (await there.ask("PUT", "/result", b"2", jwt("pod-2")))[0] == 503
        more.set()
        assert await first == (200, {"bytes": 1})
        assert (await there.ask("PUT", "/result", b"2", jwt("pod-2")))[0] == 200


# -- bounds -----------------------------------------------------------------------------------------------------------


async def test_who_sends_nothing_or_slowly_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_S", 0.2)
    monkeypatch.setattr(connections, "ANSWER_S", 0.2)
    head = b"POST /heartbeat HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + TOKEN.encode()
    async with gateway(FixedDesk()) as there:
        for begin in (b"", b"POST /heartbeat HTTP/1.1\r\nA: b\r\n", head + b"\r\nContent-Length: 9\r\n\r\n1"):
            reader, writer = await there.stream()
            writer.write(begin)
            async with asyncio.timeout(5):
                while True:  # a byte now and then doesn't buy more time
                    try:
                        if not await asyncio.wait_for(reader.read(1000), 0.05):
                            break
                    except TimeoutError:
                        writer.write(b"x" if begin else b"")
                    except ConnectionError:
                        break
            writer.close()


async def test_one_address_cannot_take_all_connections() -> None:
    async with gateway(FixedDesk(), caps=Caps(total=6, per_address=4)) as there:
        silent = [await there.stream() for _ in range(9)]
        await asyncio.sleep(0.05)
        assert there.gateway._connections.refused == 5
        other = aiohttp.TCPConnector(local_addr=("127.0.0.2", 0))
        async with aiohttp.ClientSession(connector=other) as client:
            headers = {"Authorization": f"Bearer {TOKEN}"}
            async with client.post(f"{there.url}/heartbeat", headers=headers) as response:
                assert response.status == 200
        for _, writer in silent:
            writer.close()


async def test_the_address_with_the_most_gives_way() -> None:
    async with gateway(FixedDesk(), caps=Caps(total=4, per_address=4)) as there:
        silent = [await there.stream() for _ in range(4)]
        await asyncio.sleep(0.05)
        other = aiohttp.TCPConnector(local_addr=("127.0.0.2", 0))
        async with aiohttp.ClientSession(connector=other) as client:
            headers = {"Authorization": f"Bearer {TOKEN}"}
            async with client.post(f"{there.url}/heartbeat", headers=headers) as response:
                assert response.status == 200
        for _, writer in silent:
            writer.close()


async def test_idle_connections_make_room_for_new_ones() -> None:
    async with gateway(FixedDesk(), caps=Caps(total=3, per_address=3)) as there:
        kept = [aiohttp.ClientSession() for _ in range(10)]
        for session in kept:
            headers = {"Authorization": f"Bearer {TOKEN}"}
            async with session.post(f"{there.url}/heartbeat", headers=headers) as response:
                assert response.status == 200
                await response.read()
            assert there.gateway._connections._count <= 3
        assert there.gateway._connections.refused == 0
        for session in kept:
            await session.close()


def test_a_pod_that_asks_without_a_pause_is_slowed_down_and_nobody_else() -> None:
    now = 1000.0
    paces = _Paces(lambda: now)
    waits = [paces.wait_s("hostile") for _ in range(1000)]
    assert waits[: BURST + 1] == [0.0] * (BURST + 1)
    assert waits[BURST + 20] == pytest.approx(1.0)
    assert max(waits) == pytest.approx(server.MOST_HELD_BACK_S, abs=0.1)
    assert paces.wait_s("honest") == 0.0
    now += 60
    assert [paces.wait_s("hostile") for _ in range(BURST + 2)][-2:] == [0.0, pytest.approx(0.05)]


async def test_a_pod_that_asks_far_too_often_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MOST_HELD_BACK_S", -1.0)
    async with gateway(FixedDesk()) as there:
        status, answer = await there.ask("POST", "/heartbeat")
        assert status == 429
        assert "20 times a second" in answer["error"]


# -- what is told of it -----------------------------------------------------------------------------------------------


async def test_each_answer_is_told_by_its_path_and_status() -> None:
    async with gateway(FixedDesk()) as there:
        await there.ask("POST", "/heartbeat")
        await there.ask("POST", "/heartbeat", token=None)
        await there.ask("GET", "/progress")
        await there.ask("GET", "/etc/passwd")
        await there.ask("GET", "/etc/shadow")
        assert there.answered == {
            ("/heartbeat", 200): 1,
            ("/heartbeat", 401): 1,
            ("/progress", 200): 1,
            (server.OTHER_PATH, 404): 2,  # else whoever invents paths would invent series
        }


async def test_a_caller_that_goes_away_is_told_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HELD_S", 60.0)
    async with gateway(FixedDesk()) as there:
        _, writer = await there.stream()
        writer.write(b"POST /heartbeat HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.sleep(0.2)
        writer.close()
        async with asyncio.timeout(10):
            await there.told.wait()
        assert there.answered == {("/heartbeat", 0): 1}


# -- where it is ------------------------------------------------------------------------------------------------------


def test_a_port_that_is_taken_is_said() -> None:
    with socket.create_server(("", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(GatewayError, match=f"port {port}.*--gateway-port"):
            open_socket(port)


def test_pods_find_this_host_where_the_api_server_does(caplog: pytest.LogCaptureFixture) -> None:
    assert own_url("https://127.0.0.1:6443", 8082) == "http://127.0.0.1:8082"
    assert "--gateway-url" in caplog.text
    assert own_url("https://no-such-host.invalid", 1) == "http://127.0.0.1:1"


async def test_it_ends_soon_though_pods_hold_on() -> None:
    began = time.monotonic()
    async with gateway(FixedDesk()) as there:
        _, writer = await there.stream()
        await there.ask("POST", "/heartbeat")
    assert time.monotonic() - began < 5
    writer.close()
