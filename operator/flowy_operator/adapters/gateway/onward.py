"""Calls of pods whose Workflow is another shard's: passed on to its holder, and its answer passed back.

The holder takes such a call as if the pod itself had made it, so it checks the token again: replicas need not trust each
other. A token is passed on only after it was found good here, and only to who holds the shard's Lease and still renews it.
"""

from collections.abc import Callable
from http import HTTPStatus
from typing import NamedTuple, Self

import aiohttp
from aiohttp import web

from flowy_operator.adapters.gateway.answers import AGAIN, Refused, sent
from flowy_operator.core.attempts import Caller

FORWARDED = "Flowy-Forwarded"
"""A header of calls that were passed on once, and are not again. Whoever else sets it is refused instead of passed on."""

CONNECT_S = 1.0
CALL_S = 3.5
UPLOAD_S = 20.0
"""Within the times that the pod's own connection has (`connections.py`, `uploads.py`)."""

AT_ONCE = 64
"""Connections to one holder, which takes four times as many of an address."""

IDLE_S = 5.0
"""Half of what the holder allows, so that none is used in the moment of its end."""


class Elsewhere(NamedTuple):
    """Where another replica's gateway is, None if no holder of the shard is known."""

    url: str | None


Holder = Callable[[Caller], Elsewhere | None]
"""Where a caller's shard is looked after, None if that is here."""


class Onward:
    """`holder` says where to. Use it as a context manager, in a running loop."""

    def __init__(self, holder: Holder) -> None:
        self._holder = holder
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(limit_per_host=AT_ONCE, keepalive_timeout=IDLE_S)
        self._session = aiohttp.ClientSession(
            connector=connector, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    def leads_to(self, request: web.BaseRequest, caller: Caller) -> str | None:
        """Where to pass it on, None if it is to be answered here. Raises Refused."""
        holder = self._holder(caller)
        if holder is None:
            return None
        if holder.url is None or FORWARDED in request.headers:
            raise Refused(503, "nobody is known to look after this pod's shard just now: try again", AGAIN)
        return holder.url

    async def send(self, request: web.BaseRequest, to: str, body: bytes, within_s: float) -> web.Response:
        """The holder's answer. Raises Refused."""
        assert self._session is not None, "used before it was entered"
        headers = {"Authorization": request.headers["Authorization"], FORWARDED: "1"}
        try:
            async with self._session.request(
                request.method,
                f"{to}{request.path}",
                data=body or None,
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=within_s, connect=CONNECT_S),
                allow_redirects=False,  # a holder sends none, and a token goes nowhere else
            ) as found:
                if found.status // 100 == 3:  # noqa: PLR2004 - HTTP
                    raise Refused(502, "who looks after this pod's shard answers with a redirect: that is no gateway")
                told = {
                    name: found.headers[name] for name in ("Retry-After", "WWW-Authenticate") if name in found.headers
                }
                return sent(await found.read(), found.status, told)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            why = f"who looks after this pod's shard can't be reached ({type(error).__name__}): try again"
            # Its next connection may well go to that one itself.
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, why, {**AGAIN, "Connection": "close"}) from error
