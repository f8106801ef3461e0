"""The fake API server on loopback."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

from aiohttp import web

from tests.fakes.api import REQUEST_LIMIT, Api, LostError, only_metadata
from tests.fakes.store import Refusal

VERBS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
PATCHES = {"application/json-patch+json": list, "application/merge-patch+json": dict}


@asynccontextmanager
async def serve(api: Api, *, token: str | None = None) -> AsyncIterator[str]:
    """Serve until left; gives the URL. With `token`, whoever doesn't bear it is answered 401."""

    async def handle(request: web.Request) -> web.StreamResponse:
        if token is not None and request.headers.get("Authorization") != f"Bearer {token}":
            return _answer(Refusal(401, "Unauthorized", "Unauthorized"))
        try:
            if request.query.get("watch") in {"1", "true"}:
                return await _stream(api, request)
            if request.path.endswith("/log"):
                return web.Response(body=await api.log(request.path, request.query))
            return await _call(api, request)
        except Refusal as refusal:
            return _answer(refusal)
        except LostError:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        except ConnectionResetError:  # whoever asked has left
            return web.Response()

    app = web.Application(client_max_size=2 * REQUEST_LIMIT)
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.05, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        # Whoever has just connected is accepted first: of a server that is closed in that moment asyncio leaves it open.
        for _ in range(3):
            await asyncio.sleep(0)
        await runner.cleanup()


async def _call(api: Api, request: web.Request) -> web.Response:
    content = await request.read()
    if len(content) > REQUEST_LIMIT:
        raise Refusal(413, "RequestEntityTooLarge", f"Request entity too large: limit is {REQUEST_LIMIT}")
    body = json.loads(content) if content else None
    verb = VERBS[request.method]
    if verb == "patch" and not isinstance(body, PATCHES.get(request.content_type, type(None))):
        raise Refusal(415, "UnsupportedMediaType", f"{request.content_type} with a {type(body).__name__}")
    status, answer = await api.request(verb, request.path, request.query, body)
    if "as=PartialObjectMetadataList" in request.headers["Accept"]:
        answer = only_metadata(answer)
    return web.json_response(api.said(request.path, answer), status=status)


async def _stream(api: Api, request: web.Request) -> web.StreamResponse:
    async with aclosing(await api.watch(request.path, request.query)) as events:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        # The real one sends its headers before there is anything to tell.
        await response.prepare(request)
        async for event in events:
            await response.write(json.dumps(event).encode() + b"\n")
        return response


def _answer(refusal: Refusal) -> web.Response:
    headers = {"Retry-After": str(refusal.retry_after_s)} if refusal.retry_after_s is not None else None
    return web.json_response(refusal.status, status=refusal.code, headers=headers)
