"""Two gateways over real sockets: what is another shard's is passed on to its holder, and the answer comes back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from flowy.policy.lengths import MAX_VALUE_BYTES
from flowy_operator.adapters.gateway import server
from flowy_operator.adapters.gateway.onward import FORWARDED, Elsewhere, Onward
from flowy_operator.core.attempts import DETAILS_BYTES, Differs, Over, Unknown
from tests.adapters.gateway.opened import TOKEN, FixedDesk, Open, gateway


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HELD_S", 0.0)


@asynccontextmanager
async def one_before(url: str | None) -> AsyncIterator[Open]:
    """A replica whose callers are all another's, at this URL. Its own desk must hear nothing."""
    own = FixedDesk(Over("asked the wrong one"), at_first=Over("asked the wrong one"))
    async with Onward(lambda _: Elsewhere(url)) as onward, gateway(own, onward=onward) as there:
        yield there
    assert own.heard == []


CALLS: dict[str, tuple[FixedDesk, tuple[str, str, Any], tuple[int, Any]]] = {
    "a heartbeat": (FixedDesk(), ("POST", "/heartbeat", None), (200, {"continue": True})),
    "its details": (FixedDesk(), ("POST", "/heartbeat", b'{"frame": 7.0}'), (200, {"continue": True})),
    "one that is over": (
        FixedDesk(Over("it has ended")),
        ("POST", "/heartbeat", None),
        (200, {"continue": False, "reason": "it has ended"}),
    ),
    "one that isn't known": (
        FixedDesk(Unknown("not yet")),
        ("POST", "/heartbeat", None),
        (503, {"error": "not yet: try again"}),
    ),
    "progress": (FixedDesk(left="[41.0]"), ("GET", "/progress", None), (200, [41.0])),
    "a result": (FixedDesk(), ("PUT", "/result", b'"x"'), (200, {"bytes": 3})),
    "a result by POST": (FixedDesk(), ("POST", "/result", b"1"), (200, {"bytes": 1})),
    "a long result": (
        FixedDesk(),
        ("PUT", "/result", b'"' + b"x" * (MAX_VALUE_BYTES - 2) + b'"'),
        (200, {"bytes": MAX_VALUE_BYTES}),
    ),
    "another result": (
        FixedDesk(uploaded=Differs("another was sent")),
        ("PUT", "/result", b"2"),
        (409, {"error": "another was sent"}),
    ),
    "no JSON": (FixedDesk(), ("POST", "/heartbeat", b"{"), (400, None)),
}


@pytest.mark.parametrize(("desk", "call", "expected"), CALLS.values(), ids=CALLS)
async def test_the_holder_answers(desk: FixedDesk, call: tuple[str, str, Any], expected: tuple[int, Any]) -> None:
    async with gateway(desk) as holder, one_before(holder.url) as there:
        asked_itself = await asyncio.wait_for(holder.ask(*call), 10)
        heard, desk.heard = desk.heard, []
        passed_on = await asyncio.wait_for(there.ask(*call), 10)
    assert passed_on == asked_itself
    assert passed_on[0] == expected[0]
    if expected[1] is not None:
        assert passed_on[1] == expected[1]
    assert desk.heard == heard


async def test_whoever_must_try_again_is_told_when() -> None:
    async with gateway(FixedDesk(Unknown("not yet"))) as holder, one_before(holder.url) as there:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with there.client.post(f"{there.url}/heartbeat", headers=headers) as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (503, "1")


async def test_without_a_holder_one_tries_again_at_another_replica() -> None:
    async with one_before("http://127.0.0.1:9") as there:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with there.client.post(f"{there.url}/heartbeat", headers=headers) as answer:
            assert answer.status == 503
            assert answer.headers["Connection"] == "close"
            assert "can't be reached" in (await answer.json())["error"]
    async with one_before(None) as there:
        status, said = await there.ask("POST", "/heartbeat")
        assert (status, "nobody is known" in said["error"]) == (503, True)


async def test_a_call_is_passed_on_once() -> None:
    """Two replicas that each take the other for the holder, as for a moment of a takeover."""
    async with one_before(None) as last:
        async with one_before(last.url) as there:
            status, said = await there.ask("POST", "/heartbeat")
        assert (status, "nobody is known" in said["error"]) == (503, True)
    async with gateway(FixedDesk()) as holder, one_before(holder.url) as there:
        status, _ = await there.ask("POST", "/heartbeat", **{FORWARDED: "1"})
        assert status == 503


REFUSED_HERE: dict[str, tuple[tuple[str, str, Any], str | None, int]] = {
    "no token": (("POST", "/heartbeat", None), None, 401),
    "no good token": (("POST", "/heartbeat", None), f"{TOKEN}x", 401),
    "no such path": (("GET", "/secrets", None), TOKEN, 404),
    "details that are too long": (("POST", "/heartbeat", b"1" * (DETAILS_BYTES + 1)), TOKEN, 413),
    "a result that is too long": (("PUT", "/result", b"1" * (MAX_VALUE_BYTES + 1)), TOKEN, 413),
}


@pytest.mark.parametrize(("call", "token", "status"), REFUSED_HERE.values(), ids=REFUSED_HERE)
async def test_what_is_refused_is_not_passed_on(call: tuple[str, str, Any], token: str | None, status: int) -> None:
    async with gateway(FixedDesk()) as holder, one_before(holder.url) as there:
        found, _ = await there.ask(*call, token)
        assert found == status
        assert holder.answered == {}


async def test_a_token_goes_nowhere_else() -> None:
    """What is at the holder's address may not be the holder: no redirect is followed."""
    seen: list[str] = []

    async def astray(request: web.BaseRequest) -> web.Response:
        seen.append(request.path)
        return web.Response(status=307, headers={"Location": "/stolen"})

    astray_server = web.Server(astray)
    listening = await asyncio.get_running_loop().create_server(astray_server, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    try:
        async with one_before(f"http://127.0.0.1:{port}") as there:
            headers = {"Authorization": f"Bearer {TOKEN}"}
            async with there.client.post(f"{there.url}/heartbeat", headers=headers, allow_redirects=False) as answer:
                assert answer.status == 502
    finally:
        listening.close()
        await astray_server.shutdown(1)
    assert seen == ["/heartbeat"]
