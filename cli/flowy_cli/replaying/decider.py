"""Where the code of a run is replayed: behind the operator's locks, or with the user's own rights if he says so.

The code comes from the cluster, as a rule: whoever may create a Workflow wrote it. On a laptop it could read whatever its
owner can. So it runs where the operator runs it, in a process that the kernel has locked, and nowhere else unasked.
"""

import asyncio
import sys
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from threading import Thread
from typing import Any, NoReturn, TypeVar

from flowy.wire.messages import Answer, Request
from flowy_cli.errors import CliError
from flowy_operator.core.errors import DecisionStalled

T = TypeVar("T")

Decide = Callable[[Request], Answer]
"""One decision. Raises CliError where the code gives no answer: too slow, too large, forbidden."""

Within = Callable[[float], Decide]
"""Decisions that may take so many seconds each."""

_NAMESPACE = "here"  # the operator's pool lets namespaces take turns; here is one user

_UNLOCKED = "with --unlocked the code runs with your own rights: read it first"


@contextmanager
def locked() -> Iterator[Within]:
    """Decide as the operator does, until the block ends. Its decisions raise CliError where the kernel can't lock a process.

    The locked process takes as long to start as a run takes to be read, so it does while the block goes on, and is
    waited for by the first decision.
    """
    if sys.platform != "linux":
        yield lambda _: _refuse(f"workflow code is locked in by Linux, and this is {sys.platform}")
        return
    from flowy_operator.adapters.decider.pool import DeciderPool  # noqa: PLC0415 - on other systems it can't be loaded

    pool = DeciderPool()
    with _loop() as begin:
        started = begin(pool.start())

        def decide(wall_s: float, request: Request) -> Answer:
            try:
                started.result()
            except DecisionStalled as stalled:
                raise CliError(f"workflow code can't be locked in here: {stalled}", _UNLOCKED) from stalled
            try:
                return begin(pool.decide(request, namespace=_NAMESPACE, wall_s=wall_s)).result()
            except DecisionStalled as stalled:
                raise CliError(f"{stalled.reason}: {stalled}") from stalled

        try:
            yield lambda wall_s: partial(decide, wall_s)
        finally:
            started.cancel()
            begin(pool.close()).result()


def _refuse(why: str) -> Decide:
    def decide(_: Request) -> NoReturn:
        raise CliError(why, _UNLOCKED)

    return decide


@contextmanager
def _loop() -> Iterator[Callable[[Coroutine[Any, Any, T]], "Future[T]"]]:
    """An event loop in a thread of its own: what is begun there goes on while nobody waits for it."""
    running: Future[asyncio.AbstractEventLoop] = Future()
    over = asyncio.Event()

    async def stay() -> None:
        running.set_result(asyncio.get_running_loop())
        await over.wait()

    thread = Thread(target=lambda: asyncio.run(stay()), name="decider")
    thread.start()
    loop = running.result()
    try:
        yield lambda coroutine: asyncio.run_coroutine_threadsafe(coroutine, loop)
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()


@contextmanager
def unlocked() -> Iterator[Within]:
    """Decide in this process, with its rights. Clock, randomness and `print` are those of the decider all the same.

    Nobody ends a decision here that takes long, but Ctrl-C.
    """
    # The locked process starts sooner without these.
    from flowy.replay.replayer import run_of  # noqa: PLC0415
    from flowy_cli.replaying.here import decide_here  # noqa: PLC0415

    yield lambda _: lambda request: decide_here(request, run_of(request))
