"""Waits that a stop ends, and a cancellation in the middle: neither leaves a task behind."""

import asyncio
from collections.abc import Awaitable


async def unless(stop: asyncio.Event, wait: Awaitable[None]) -> bool:
    """Await, until `stop` is set. Whether it came to its end; raises what it raised."""
    waiting = asyncio.ensure_future(wait)
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({waiting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        return waiting.done() and waiting.result() is None
    finally:
        waiting.cancel()
        stopping.cancel()
