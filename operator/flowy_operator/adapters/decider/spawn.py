"""Start the zygote, know when it is ready, know when it is gone, end it.

The zygote is started by exec, never by a fork of the operator: a fork would carry the operator's memory, tokens included.
"""

import asyncio
import contextlib
import logging
import sys
from pathlib import Path

import flowy.wire
import flowy_operator
from flowy_operator.adapters.decider.frames import Greeting, Locks, Order, Start
from flowy_operator.core.errors import DecisionStalled, StallReason

log = logging.getLogger(__name__)

_END_WAIT_S = 5.0  # from the end of its pipe to SIGKILL; it takes a millisecond
_TRACE_BYTES = 2000  # of a traceback, the end tells

# Not `-m`: that looks for the module before there is a path to look in. The roots go to the back of the path, because
# with an installed wheel they are site-packages, where something may have the name of a standard module.
_BOOT = (
    "import sys; sys.path += sys.argv[2:]; "
    "from flowy_operator.adapters.decider import arenas; arenas.lay(); "
    "from flowy_operator.adapters.decider.zygote import main; main(sys.argv[1])"
)

# Not `-I`: it implies -E, which ignores PYTHONHASHSEED. With an environment of our own nothing else can come in.
# -s -S: no site-packages and no .pth code. -P: nothing from the current folder. -B: nothing written.
_ISOLATED = ("-s", "-S", "-P", "-B", "-X", "utf8")
# LD_BIND_NOW: what the linker would look up at a first call, each child would look up anew, and copy memory for it.
ENVIRONMENT = {"PYTHONHASHSEED": "0", "LD_BIND_NOW": "1"}


def command(start: Start) -> list[str]:
    """The command line of a zygote; the environment is to be `ENVIRONMENT` and nothing else."""
    return [sys.executable, *_ISOLATED, "-c", _BOOT, start.encode(), *_source_roots()]


def _source_roots() -> list[str]:
    """The folders that hold `flowy` and `flowy_operator`: two in a checkout, one and the same where a wheel is installed."""
    roots = (Path(flowy.wire.__path__[0]).parents[1], Path(flowy_operator.__path__[0]).parent)
    return list(dict.fromkeys(str(root) for root in roots))


class ZygoteProcess:
    """A running zygote. `gone` is set once it has ended, for whatever reason."""

    def __init__(self, process: asyncio.subprocess.Process, socket_path: str) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._life = process.stdin
        self._output = process.stdout  # one line when it is ready; a traceback if it fails
        self._is_starting = True
        self._is_closing = False
        self.socket_path = socket_path
        self.locks = Locks()  # until it has said which
        self.last_words = ""  # once gone
        self.gone = asyncio.Event()
        self._watch = asyncio.create_task(self._until_gone(), name="zygote")

    @classmethod
    async def start(cls, start: Start, ready_within_s: float) -> "ZygoteProcess":
        """Start one and wait until decisions can come. `DecisionStalled` (unavailable) says why that failed."""
        try:
            process = await asyncio.create_subprocess_exec(
                *command(start),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                env=ENVIRONMENT,
                cwd="/",
                start_new_session=True,  # Ctrl-C is for the operator, which then ends us in order
            )
        except OSError as error:
            raise DecisionStalled(StallReason.UNAVAILABLE, f"The decider can't be started: {error}") from error
        zygote = cls(process, start.socket_path)
        try:
            await zygote._until_ready(ready_within_s)
        except BaseException:  # cancellation too: a process that nobody knows must not stay
            await zygote.close()
            raise
        return zygote

    @property
    def pid(self) -> int:
        return self._process.pid

    def tell(self, order: Order) -> bool:
        """Give it an order. False if it is gone, as far as is known."""
        if self._life.is_closing():
            return False
        self._life.write(order.encode())
        return True

    async def close(self) -> None:
        """End it, and its children with it."""
        self._is_closing = True
        self._life.close()
        if not await is_set(self.gone, _END_WAIT_S):
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        await self._watch

    async def _until_ready(self, within_s: float) -> None:
        try:
            line = await asyncio.wait_for(self._output.readline(), within_s)
        except TimeoutError as error:
            raise DecisionStalled(
                StallReason.UNAVAILABLE, f"The decider was not ready within {within_s:g} s"
            ) from error
        greeting = Greeting.parse(line)
        if greeting is None:
            trace = line + await self._output.read()
            raise DecisionStalled(StallReason.UNAVAILABLE, f"The decider ended while starting: {_tail(trace)}")
        self._is_starting = False
        self.locks = greeting.locks

    async def _until_gone(self) -> None:
        status = await self._process.wait()
        if not self._is_starting:  # that reads the output itself
            with contextlib.suppress(TimeoutError):
                self.last_words = _tail(await asyncio.wait_for(self._output.read(), _END_WAIT_S))
        self.gone.set()
        if not self._is_closing and not self._is_starting:
            log.warning("The decider's zygote ended", extra={"exit_status": status, "output": self.last_words})


async def is_set(event: asyncio.Event, within_s: float) -> bool:
    """Whether it is, or is within that time."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), within_s)
    return event.is_set()


def _tail(output: bytes) -> str:
    return output[-_TRACE_BYTES:].decode(errors="replace").strip()
