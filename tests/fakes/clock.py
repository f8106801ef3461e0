"""An event loop whose time is free: it jumps to the next timer as soon as there is nothing else to do."""

import asyncio
import selectors
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar
from typing import Any, TypeVar

T = TypeVar("T")

LOOK_EVERY = 64

PROCESS: ContextVar[object] = ContextVar("PROCESS", default=None)
"""Whose steps are taken here, for `VirtualLoop.freeze`."""


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._frozen: dict[object, list[asyncio.Handle]] = {}
        self._ready: deque[asyncio.Handle]
        super().__init__(_JumpingSelector(self))
        self.now = 0.0

    def time(self) -> float:
        return self.now

    def freeze(self, process: object) -> None:
        """No task of this process goes on before `thaw`, as after a SIGSTOP. Time does, and what its timers wake waits."""
        self._frozen.setdefault(process, [])

    def thaw(self, process: object) -> None:
        """Let it go on, with all that it has missed."""
        self._ready.extend(self._frozen.pop(process, []))

    def is_frozen(self, process: object) -> bool:
        return process in self._frozen

    def _call_soon(self, callback: Callable[..., object], args: Any, context: Context | None) -> asyncio.Handle:
        handle: asyncio.Handle = super()._call_soon(callback, args, context)  # type: ignore[misc]
        if self._frozen:
            kept = self._frozen.get(handle._context.get(PROCESS))  # type: ignore[attr-defined]
            if kept is not None:
                kept.append(self._ready.pop())
        return handle


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
