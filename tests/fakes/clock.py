"""An event loop whose time is free: it jumps to the next timer as soon as there is nothing else to do."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

LOOK_EVERY = 64


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        super().__init__(_JumpingSelector(self))
        self.now = 0.0

    def time(self) -> float:
        return self.now


class _JumpingSelector(selectors.SelectSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop
        self._looks = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self._looks += 1
        # Only signals and other threads come this way, and asking the kernel costs more than most steps of a test.
        ready = super().select(0) if timeout is None or self._looks % LOOK_EVERY == 0 else []
        if not ready:
            if timeout is None:
                raise RuntimeError("everything waits, and nothing will ever come")
            self._loop.now += max(timeout, 0.0)
        return ready


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """Run to the end in virtual time, which starts at 0."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
