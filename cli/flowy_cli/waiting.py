"""Following Workflows until they end: from what is there on, by a watch that is opened again where it is cut."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, suppress

from flowy_cli.cluster import get_workflow
from flowy_cli.connection import Connection
from flowy_cli.errors import NotThere, TimedOut
from flowy_cli.run import Raw
from flowy_operator.adapters.kube import paths
from flowy_operator.adapters.kube.errors import Gone, ServerError, TooManyRequests, Unreachable
from flowy_operator.core.conditions import has_ended

_PAUSE_S = 1.0
"""Before a watch that was cut is opened again: a server that restarts needs some."""

Seen = Callable[[Raw], None]


async def until_ended(connection: Connection, names: Sequence[str], seen: Seen, timeout_s: float | None) -> list[Raw]:
    """The objects once all have ended, in the order of `names`. `seen` is told of each state of each on the way.

    Raises NotThere if one isn't there or is deleted meanwhile, TimedOut.
    """
    tasks: dict[str, asyncio.Task[Raw]] = {}
    try:
        async with asyncio.timeout(timeout_s), asyncio.TaskGroup() as group:
            for name in names:
                if name not in tasks:
                    tasks[name] = group.create_task(_ended(connection, name, seen))
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    except TimeoutError:
        left = [name for name, task in tasks.items() if task.cancelled()]
        verb = "hasn't" if len(left) == 1 else "haven't"
        raise TimedOut(
            f"{', '.join(left)} {verb} ended after {timeout_s:g} s",
            f"`flowy describe {left[0]}` tells what it waits for; it goes on whether somebody waits or not",
        ) from None
    return [tasks[name].result() for name in names]


async def _ended(connection: Connection, name: str, seen: Seen) -> Raw:
    while True:
        with suppress(Gone, Unreachable, ServerError, TooManyRequests):
            async with aclosing(_states(connection, name)) as states:
                async for body in states:
                    seen(body)
                    if has_ended(body.get("status") or {}):
                        return body
            continue  # the server ends each watch after a while
        await asyncio.sleep(_PAUSE_S)


async def _states(connection: Connection, name: str) -> AsyncGenerator[Raw, None]:
    path, only = paths.workflows(connection.namespace), f"metadata.name={name}"
    found, version = await connection.client.list(path, field_selector=only)
    if not found:
        await get_workflow(connection.client, connection.namespace, name)  # it says what to do
    for body in found:
        yield body
    stream = connection.client.watch(path, resource_version=version, field_selector=only)
    async with aclosing(stream) as events:
        async for event in events:
            if event.object["metadata"]["name"] != name:
                continue
            if event.type == "DELETED":
                raise NotThere(f"the Workflow {name!r} was deleted while it was waited for")
            yield event.object
