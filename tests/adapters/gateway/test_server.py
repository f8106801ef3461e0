"""The gateway over real sockets: what it answers."""

import asyncio
import email
import json
import socket
import time
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from flowy.policy.lengths import MAX_VALUE_BYTES
from flowy_operator.adapters.gateway import server
from flowy_operator.adapters.gateway.server import GatewayError, open_socket, own_url
from flowy_operator.core.attempts import DETAILS_BYTES, Abandoned, Caller, Differs, Over, Standing, Unknown
from tests.adapters.gateway.opened import TOKEN, FixedDesk, gateway
from tests.adapters.gateway.reviewer import jwt


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


HEADS: dict[str, tuple[str, str, bool]] = {
    "HTTP/1.1": ("HTTP/1.1", "", True),
    "HTTP/1.1 for the last time": ("HTTP/1.1", "Connection: close\r\n", False),
    "HTTP/1.0": ("HTTP/1.0", "", False),
    "HTTP/1.0 to be kept": ("HTTP/1.0", "Connection: keep-alive\r\n", True),
}


@pytest.mark.parametrize(("version", "header", "is_kept"), HEADS.values(), ids=HEADS)
async def test_a_connection_is_kept_for_those_who_want_that(version: str, header: str, is_kept: bool) -> None:
    desk = FixedDesk()
    async with gateway(desk) as there, asyncio.timeout(10):
        reader, writer = await there.stream()
        for _ in range(2 if is_kept else 1):
            writer.write(
                f"POST /heartbeat {version}\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n{header}\r\n".encode()
            )
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            assert head.startswith(f"{version} 200 OK\r\n")
            fields = email.message_from_string(head.partition("\r\n")[2])
            assert fields["Content-Type"] == "application/json"
            assert (fields["Connection"] == "close") is (version == "HTTP/1.1" and not is_kept)
            age = datetime.now(UTC) - parsedate_to_datetime(fields["Date"])
            assert abs(age) < timedelta(seconds=10)
            assert json.loads(await reader.readexactly(int(fields["Content-Length"]))) == {"continue": True}
        assert reader.at_eof() is False
        if not is_kept:
            assert await reader.read() == b""
        writer.close()


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
    "too deep": ("POST", "/heartbeat", b"[" * 300 + b"]" * 300, TOKEN, 400, "has more than 200 levels"),
    "a lone surrogate": ("POST", "/heartbeat", b'"\\ud800"', TOKEN, 400, "surrogate"),
    "without a token": ("POST", "/heartbeat", None, None, 401, "FLOWY_TOKEN_FILE"),
    "with a wrong token": ("POST", "/heartbeat", None, jwt("wrong"), 401, "doesn't accept"),
    "the wrong token is said before the long body": ("POST", "/heartbeat", b"x" * 10**6, jwt("wrong"), 401, "accept"),
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
