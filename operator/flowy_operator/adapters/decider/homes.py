"""Where zygotes live: as children of the operator, or in a container of their own.

Both give a `Zygote`. What it is asked and what it answers goes over its socket in either case; they differ in who starts
it, and in how one learns that it is ready and that it is gone.
"""

import asyncio
import contextlib
import functools
import logging
import os
import shutil
import socket
import struct
import sys
import tempfile
from pathlib import Path
from typing import Protocol

from flowy_operator.adapters.decider.frames import Greeting, Home, Layout, Locks, Order, Start, Strictness, life_path
from flowy_operator.adapters.decider.spawn import ZygoteProcess
from flowy_operator.core.errors import DecisionStalled, StallReason

log = logging.getLogger(__name__)

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"

_AGAIN_S = 0.05  # between two attempts to connect; a container that starts takes a second
_GREETING_S = 5.0  # a zygote greets when it accepts, which it does between two forks
_CREDENTIALS = struct.Struct("3i")  # `struct ucred`: pid, uid, gid


@functools.cache
def release() -> str:
    """The version of this package."""
    from importlib import metadata  # noqa: PLC0415 - 50 ms with the look-up; `flowy graph`, whose zygote is a child, does without

    return metadata.version("flowy-operator")


class Zygote(Protocol):
    """A zygote that is ready. `gone` is set once it has ended, for whatever reason; `last_words` may say of what."""

    socket_path: str
    locks: Locks
    last_words: str
    gone: asyncio.Event

    @property
    def pid(self) -> int | None: ...

    def tell(self, order: Order) -> bool: ...

    async def close(self) -> None: ...


class ZygoteHome(Protocol):
    """Gives zygotes. `start` raises `DecisionStalled` (unavailable) if there is none within the time.

    `is_far`: others start and end them.
    """

    is_far: bool

    async def start(self, layout: Layout, within_s: float) -> Zygote: ...

    async def close(self) -> None: ...


class ChildHome:
    """Zygotes are processes that the operator starts, with sockets in a folder that only it can enter."""

    is_far = False

    def __init__(self, strictness: Strictness) -> None:
        self._strictness = strictness
        self._folder: Path | None = None

    async def start(self, layout: Layout, within_s: float) -> Zygote:
        if self._folder is None:
            self._folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="flowy-decider-"))
        start = Start(
            socket_path=str(self._folder / f"{layout}.sock"),
            strictness=self._strictness,
            home=Home.CHILD,
            layout=layout,
        )
        return await ZygoteProcess.start(start, within_s)

    async def close(self) -> None:
        folder, self._folder = self._folder, None
        if folder is not None:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


class ContainerHome:
    """Zygotes run already, or again soon, in another container; `socket_path` lies in a volume that both have.

    Who may connect is a matter of that socket's group and mode, see `zygote`. Whom we have connected to is looked at here.
    One that was there and is not any more is waited for `back_s`.
    """

    is_far = True

    def __init__(self, socket_path: str, back_s: float) -> None:
        self._socket_path = socket_path
        self._back_s = back_s
        self._known: set[Layout] = set()

    async def start(self, layout: Layout, within_s: float) -> Zygote:
        patience_s = min(within_s, self._back_s) if layout in self._known else within_s
        zygote = await DistantZygote.connect(socket_path_of(self._socket_path, layout), layout, patience_s)
        self._known.add(layout)
        return zygote

    async def close(self) -> None:
        pass


def socket_path_of(socket_path: str, layout: Layout) -> str:
    """Where the zygote of this layout listens, in a container whose socket is named so."""
    return socket_path if layout is Layout.PLAIN else f"{socket_path}.{layout}"


class DistantZygote:
    """A zygote that others start. It greets whoever connects to its `life_path`, and that connection ends with it."""

    def __init__(
        self, socket_path: str, locks: Locks, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.socket_path = socket_path
        self.locks = locks
        self.last_words = "(see the log of its container)"
        self.gone = asyncio.Event()
        self._reader = reader
        self._writer = writer
        self._is_closing = False
        self._watch = asyncio.create_task(self._until_gone(), name="distant zygote")

    @classmethod
    async def connect(cls, socket_path: str, layout: Layout, within_s: float) -> "DistantZygote":
        """Wait until there is one. `DecisionStalled` (unavailable) says why not, or why it is not the right one."""
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + within_s
        while True:
            try:
                reader, writer = await asyncio.open_unix_connection(life_path(socket_path))
                break
            except OSError as error:
                if loop.time() >= ends_at:
                    raise DecisionStalled(StallReason.UNAVAILABLE, _nobody_there(socket_path, layout, error)) from error
            await asyncio.sleep(_AGAIN_S)
        try:
            locks = await _greeted(reader, socket_path, layout)
        except BaseException:
            writer.close()
            raise
        _look_at_owner(writer.get_extra_info("socket"), socket_path)
        return cls(socket_path, locks, reader, writer)

    @property
    def pid(self) -> None:
        """It has one in another namespace."""
        return None

    def tell(self, order: Order) -> bool:
        """Give it an order. False if it is gone, as far as is known."""
        if self._writer.is_closing():
            return False
        self._writer.write(order.encode())
        return True

    async def close(self) -> None:
        """Hang up. It lives on, for whoever connects next."""
        self._is_closing = True
        self._writer.close()
        await self._watch

    async def _until_gone(self) -> None:
        # Nothing follows a greeting but the end. Whatever does is no zygote's.
        with contextlib.suppress(OSError):
            await self._reader.read(1)
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()
        self.gone.set()
        if not self._is_closing:
            log.warning(
                "The decider's zygote is gone; see the log of its container", extra={"socket": self.socket_path}
            )


async def _greeted(reader: asyncio.StreamReader, socket_path: str, layout: Layout) -> Locks:
    try:
        line = await asyncio.wait_for(reader.readline(), _GREETING_S)
    except (TimeoutError, ValueError, OSError):  # ValueError: a line without end
        line = b""
    greeting = Greeting.parse(line)
    if greeting is None:
        raise DecisionStalled(
            StallReason.UNAVAILABLE,
            f"What listens at {socket_path} is no decider of this version; it did not greet as one",
        )
    said, ours = (greeting.release, greeting.python), (release(), PYTHON)
    if said != ours:
        # Another interpreter or another replay decides otherwise: histories would not be continued, but left.
        raise DecisionStalled(
            StallReason.UNAVAILABLE,
            f"The decider at {socket_path} is flowy-operator {said[0]} on Python {said[1]}, the operator {ours[0]} on "
            f"Python {ours[1]}: run both from one image",
        )
    if greeting.layout is not layout:
        raise DecisionStalled(
            StallReason.UNAVAILABLE, f"The decider at {socket_path} is not one with a {layout} memory, as its name says"
        )
    return greeting.locks


def _nobody_there(socket_path: str, layout: Layout, error: OSError) -> str:
    where = f"No decider can be reached at {socket_path} ({error.strerror or error})"
    if isinstance(error, PermissionError):
        return f"{where}: the socket belongs to its folder's group; let the operator's container be in it (fsGroup)"
    if layout is Layout.SCRAMBLED:
        return f"{where}: start the decider with --shadow, or set the operator's shadow share to 0"
    return f"{where}: does its container run?"


def _look_at_owner(connection: socket.socket, socket_path: str) -> None:
    """Warn if who made the socket is not the other user that was promised: the wall between the two would be thinner."""
    _, uid, _ = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    if uid in {0, os.geteuid()}:
        log.warning(
            "The decider runs as root, or as the same user as the operator: give it a user of its own",
            extra={"socket": socket_path, "uid": uid},
        )
