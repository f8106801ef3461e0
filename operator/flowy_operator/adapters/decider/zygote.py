"""The clean process that forks one child for each decision.

It is started by exec with an empty environment, imports what workflow code may use, replays once so that all is warm,
locks itself, and then only accepts connections and forks. **It never reads a request**, so that a child, which is its copy, finds
nothing of others in its memory. It has one thread, no timers and no clock: the kernel ends children that overstay.

What it does with a connection: fork, keep a copy of the connection, and when the child is reaped write how it ended and
close. When the other side hangs up first, the child is killed. A pid is signalled only while its child is not reaped,
so that it can't be somebody else's by then.

A child that stays for the next decision is stopped meanwhile, at the operator's order: then it can do nothing, and the kernel
tells how many pages of memory it has touched. Each of these is a page at most that it has for itself, and two of page tables.

As a child of the operator it lives until the pipe on its standard input ends, which is when the operator closes it or
dies. In a container of its own it is the first process, lives until SIGTERM, and listens on a second socket: whoever
connects there is told what this zygote is, and sees by the connection's end that it is gone.
"""

import contextlib
import errno
import gc
import os
import resource
import select
import signal
import socket
import sys
import traceback
from typing import NoReturn

from flowy_operator.adapters.decider import arenas, child, immortal, kernel, lockdown
from flowy_operator.adapters.decider.frames import (
    NOT_FORKED,
    TOO_LARGE,
    Ending,
    Greeting,
    Home,
    Layout,
    Order,
    Start,
    Verb,
    life_path,
)
from flowy_operator.adapters.decider.lockdown import ZygoteLocks
from flowy_operator.adapters.decider.places import fill_gaps, scramble
from flowy_operator.adapters.decider.preload import preload

_LIFE = 0  # standard input of a child: a pipe for orders, whose end is the zygote's
_READY = 1  # standard output
_ERRORS = 2
_STOPS = (signal.SIGTERM, signal.SIGINT)  # of one in a container, where the first process has no default actions
_FOR_GROUP = 0o660  # mode of the sockets in a shared volume: its folder's group may connect, which setgid hands down
_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
_ORDERS_BYTES = 4096  # at once
_NONE_FREE = (errno.EMFILE, errno.ENFILE)
_BACKLOG = 256  # connections that wait for accept; the pool never has that many open


class _Child:
    """A child that is not reaped, or whose ending is not sent yet. The `address` is empty for one that can't be ordered."""

    __slots__ = ("address", "connection", "ending", "is_too_large", "pages", "pid")

    def __init__(self, pid: int, connection: socket.socket, address: bytes) -> None:
        self.pid = pid
        self.connection = connection
        self.address = address
        self.pages: int | None = None  # that it may have touched, once it is to rest
        self.is_too_large = False
        self.ending = b""  # set once reaped


class Zygote:
    """The loop, and the children it knows by pid and by connection."""

    def __init__(self, start: Start) -> None:
        self._listener = _listen(start.socket_path, start.home)
        # After the other: who can connect to this one can connect to both.
        self._door = _listen(life_path(start.socket_path), start.home) if start.home is Home.CONTAINER else None
        self._start = start
        self._visitors: dict[int, socket.socket] = {}
        self._deaf: list[socket.socket] = []  # listeners that wait for a free descriptor
        self._pid = os.getpid()
        self._by_pid: dict[int, _Child] = {}
        self._by_connection: dict[int, _Child] = {}
        self._by_address: dict[bytes, _Child] = {}
        self._cut_orders: dict[int, bytes] = {}  # whose rest is to come, by the descriptor
        self._poller = select.poll()
        # SIGCHLD only wakes the loop. A handler that reaps could run between fork and the entry in the tables.
        self._woken, self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        self._base_bytes = _mapped_bytes()

    def serve(self, locks: ZygoteLocks, greeting: bytes) -> None:
        """Fork for each connection until the pipe of life ends, or the companion."""
        for descriptor in (self._woken, self._listener.fileno()):
            self._poller.register(descriptor, select.POLLIN)
        if self._start.is_tied:
            self._poller.register(_LIFE, select.POLLIN)
        door = -1
        if self._door is not None:
            door = self._door.fileno()
            self._poller.register(door, select.POLLIN)
        # Frozen objects are not visited by a collection, so their pages stay shared. Off altogether: a decision is
        # short, its memory is bounded, and collections at arbitrary moments would run `__del__` at arbitrary moments.
        if immortal.is_possible():
            immortal.make_immortal()  # what has been made since the first time
        gc.freeze()
        gc.disable()
        while True:
            called = set()
            for descriptor, events in self._poller.poll():
                if descriptor == _LIFE:
                    if not self._obey(descriptor):
                        return
                elif descriptor == self._woken:
                    if self._reap():
                        return
                elif descriptor in (door, self._listener.fileno()):
                    called.add(descriptor)
                elif descriptor in self._visitors:
                    if not self._obey(descriptor):
                        self._poller.unregister(descriptor)
                        self._cut_orders.pop(descriptor, None)
                        self._close(self._visitors.pop(descriptor))
                elif descriptor in self._by_connection:  # an earlier event of the same poll may have ended it
                    self._on_connection(self._by_connection[descriptor], events)
            # Last: a new connection may get the number of one that this round closed, and with it an event that told of
            # the old one's end. Its child was killed for that, or we waited for what it would never say.
            if door in called:
                self._greet(greeting)
            if self._listener.fileno() in called:
                self._accept(locks)

    def _accept(self, locks: ZygoteLocks) -> None:
        accepted = self._accepted(self._listener)
        if accepted is None:
            return
        connection, address = accepted
        try:
            pid = kernel.fork()
        except OSError:
            failed = _Child(0, connection, b"")
            failed.ending = Ending(status=NOT_FORKED).encode()
            self._by_connection[connection.fileno()] = failed
            self._send_ending(failed)
            return
        if pid == 0:
            self._become_child(connection, locks)
        started = _Child(pid, connection, address)
        self._by_pid[pid] = started
        self._by_connection[connection.fileno()] = started
        if address:
            self._by_address[address] = started
        self._poller.register(connection, 0)  # no event asked for: that the other side hung up is always told

    def _accepted(self, listener: socket.socket) -> tuple[socket.socket, bytes] | None:
        """The connection that waits, and where it comes from. None if it is gone, or has to wait for a free descriptor."""
        try:
            connection, address = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return None
        except OSError as error:
            if error.errno not in _NONE_FREE:
                raise
            self._poller.unregister(listener)  # it would be told again and again
            self._deaf.append(listener)
            return None
        return connection, address or b""  # without a name it is an empty text

    def _close(self, connection: socket.socket) -> None:
        connection.close()
        while self._deaf:
            self._poller.register(self._deaf.pop(), select.POLLIN)

    def _become_child(self, connection: socket.socket, locks: ZygoteLocks) -> NoReturn:
        try:
            signal.set_wakeup_fd(-1)  # the handler may stay: it does nothing, and `signal.signal` touches 40 pages
            child.run(connection.fileno(), self._pid, self._base_bytes, locks)
        finally:
            os._exit(1)  # never a second zygote, whatever happened

    def _on_connection(self, known: _Child, events: int) -> None:
        if known.ending:
            self._send_ending(known)
        elif events & (select.POLLHUP | select.POLLERR):
            os.kill(known.pid, signal.SIGKILL)
            self._poller.unregister(known.connection)  # it would be told again and again until the child is reaped

    def _obey(self, descriptor: int) -> bool:
        """Do what is ordered there, about children that are not reaped. Gives whether the other side is still there."""
        try:
            told = os.read(descriptor, _ORDERS_BYTES)
            if not told:
                return False
            told = self._cut_orders.pop(descriptor, b"") + told
            for at in range(0, len(told) - Order.SIZE + 1, Order.SIZE):
                self._carry_out(Order.parse(told[at : at + Order.SIZE]))
        except (OSError, ValueError):  # who talks nonsense is none of ours
            return False
        if cut := len(told) % Order.SIZE:
            self._cut_orders[descriptor] = told[-cut:]
        return True

    def _carry_out(self, order: Order) -> None:
        known = self._by_address.get(order.address)
        if known is None:  # it has ended
            return
        if order.verb is Verb.REST:
            known.pages = order.pages
            try:
                os.kill(known.pid, signal.SIGSTOP)
            except PermissionError:  # by somebody's rule; it must not run on
                os.kill(known.pid, signal.SIGKILL)
        else:
            os.kill(known.pid, signal.SIGCONT)

    def _greet(self, greeting: bytes) -> None:
        assert self._door is not None
        accepted = self._accepted(self._door)
        if accepted is None:
            return
        visitor = accepted[0]
        try:
            visitor.send(greeting, socket.MSG_DONTWAIT)  # one line into an empty buffer: all of it, or nobody is there
        except OSError:
            self._close(visitor)
            return
        self._visitors[visitor.fileno()] = visitor
        self._poller.register(visitor, select.POLLIN)

    def _reap(self) -> bool:
        """Collect who has ended. Gives whether the companion is among them."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._woken, 4096)
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG | os.WUNTRACED)
            except ChildProcessError:
                return False
            if pid == 0:
                return False
            if os.WIFSTOPPED(status):
                self._look_at_size(pid, usage.ru_minflt + usage.ru_majflt)
                continue
            if pid == self._start.companion:
                return True
            known = self._by_pid.pop(pid, None)
            if known is None:  # as a container's first process we inherit the children of others
                continue
            self._by_address.pop(known.address, None)
            known.ending = Ending(
                status=TOO_LARGE if known.is_too_large else status,
                cpu_ms=round((usage.ru_utime + usage.ru_stime) * 1000),
                peak_kib=usage.ru_maxrss,
            ).encode()
            self._send_ending(known)

    def _look_at_size(self, pid: int, pages: int) -> None:
        """End a child that rests if it is too large. Who was stopped by others is let alone."""
        known = self._by_pid.get(pid)
        if known is not None and known.pages is not None and pages > known.pages:
            known.is_too_large = True
            os.kill(pid, signal.SIGKILL)

    def _send_ending(self, known: _Child) -> None:
        """Send how it ended, at once or, if the reader lags behind the answer, when there is room."""
        try:
            # The flag and not a mode of the socket: the mode would be the child's as well.
            sent = known.connection.send(known.ending, socket.MSG_DONTWAIT)
        except BlockingIOError:
            sent = 0
        except OSError:  # the reader is gone
            sent = len(known.ending)
        known.ending = known.ending[sent:]
        if known.ending:
            self._poller.register(known.connection, select.POLLOUT)
            return
        with contextlib.suppress(KeyError):  # hung up before, or never registered
            self._poller.unregister(known.connection)
        del self._by_connection[known.connection.fileno()]
        self._close(known.connection)


def _mapped_bytes() -> int:
    statm = os.open("/proc/self/statm", os.O_RDONLY)  # the builtin is refused here, see `preload`
    try:
        return int(os.read(statm, 200).split()[0]) * resource.getpagesize()
    finally:
        os.close(statm)


class _Listener(socket.socket):
    """Knows its family and type. `accept` asks for both, and would have each made a member of its enum anew: ten pages a fork."""

    family = socket.AF_UNIX
    type = socket.SOCK_STREAM


def _listen(path: str, home: Home) -> socket.socket:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)  # noqa: PTH108 - pathlib is not loaded here; the file is that of a zygote that died
    listener = _Listener(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    if home is Home.CONTAINER:
        os.chmod(path, _FOR_GROUP)  # noqa: PTH101 - as above
    listener.listen(_BACKLOG)
    listener.setblocking(False)  # a connection that is aborted between poll and accept must not block the loop
    return listener


def main(arguments: str) -> NoReturn:
    """Serve decisions as `arguments`, an encoded `Start`, says. For the command line see `spawn`."""
    try:
        _serve(Start.parse(arguments))
    except Exception:  # noqa: BLE001 - the last words, whatever they are
        # Not by the interpreter: from 3.13 on it shows a traceback by `print`, which is by now that of workflow code.
        try:
            os.write(_ERRORS, traceback.format_exc().encode(errors="backslashreplace"))
        finally:
            os._exit(1)  # also if nobody can be told
    os._exit(0)  # the children go by their parent's death; there is nothing to flush


def _serve(start: Start) -> None:
    lockdown.restore_signals()
    if start.is_tied:
        kernel.die_with_parent(signal.SIGKILL)  # if it died before this line, the pipe has ended already
    if start.home is Home.CONTAINER:
        for number in _STOPS:
            signal.signal(number, lambda _number, _frame: os._exit(0))
    descriptors = min(lockdown.ZYGOTE_DESCRIPTORS, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))
    os.umask(0o077)
    os.environ.clear()  # PYTHONHASHSEED has done its work
    sys.argv = [""]
    preload()
    gc.collect()
    arenas.give_back()
    if immortal.is_possible():
        immortal.make_immortal()
        gc.freeze()
    arenas.join(kernel.advise)
    # Behind all that lets go of memory.
    kept = scramble() if start.layout is Layout.SCRAMBLED else fill_gaps()
    zygote = Zygote(start)
    # `kernel.fork` asks for it; no thread can start later, the filter knows no flags of clone but those of fork.
    threads = os.listdir("/proc/self/task")  # noqa: PTH208 - as above
    if len(threads) != 1:
        raise RuntimeError(f"the zygote has {len(threads)} threads")
    try:
        locks = lockdown.lock_zygote(start.strictness)
    except lockdown.LockRefused as refused:
        os.write(_READY, f"{refused}\n".encode())
        os._exit(1)
    greeting = Greeting(release=start.release, python=_PYTHON, layout=start.layout, locks=locks.in_force).encode()
    try:
        os.write(_READY, greeting)
    except OSError:
        if start.home is Home.CHILD:
            raise
        # A log that is a plain file takes nothing from here on, see the limit of a file's size. Nobody waits for this line.
    zygote.serve(locks, greeting)
    del kept  # not before
