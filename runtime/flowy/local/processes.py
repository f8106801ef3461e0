"""Activities in worker processes: each worker thread has one, which it may kill.

Functions go over by name, arguments and results as JSON text. A process that dies takes one attempt with it: the thread starts
another for its next launch.
"""

import pickle
import signal
import threading
import time
from contextlib import suppress
from multiprocessing import get_all_start_methods, get_context
from multiprocessing.connection import Connection
from typing import Any

from flowy.local.functions import Work, call, failure
from flowy.local.launch import Failed, Launch, Outcome

BEAT_PAUSE_S = 0.1
"""Heartbeats that follow sooner are not sent, but for their details: a loop of short steps must not flood the pipe."""

_SIGNALLED = 128  # the shells' convention, which containers follow: 128 + n for death by signal n


class Processes:
    """Performs launches in processes."""

    def __init__(self) -> None:
        # Never plain fork: other threads may hold any lock at that moment.
        method = "forkserver" if "forkserver" in get_all_start_methods() else "spawn"
        self._context: Any = get_context(method)
        self._own = threading.local()

    def perform(self, launch: Launch) -> Outcome:
        """Do the work of a launch in the process of the calling thread."""
        work: Work = launch.work
        try:
            function = pickle.dumps(work.function)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            message = f'executor="processes" needs functions that stand in a module, no lambdas or inner ones: {error}'
            return Failed(type="PicklingError", message=message, retryable=False, could_run=False)
        process, pipe = self._running()
        launch.stops_by(process.kill)
        try:
            pipe.send((function, launch.arguments, launch.previous))
            while True:
                said, details, outcome = pipe.recv()
                if details is not None or said == "beat":
                    launch.beats(details)
                if said == "end":
                    ended: Outcome = outcome
                    return ended
        except (EOFError, OSError):
            self.leave()
            return _died(process.exitcode)
        finally:
            launch.stops_by(None)

    def leave(self) -> None:
        """End the process of the calling thread, if it has one."""
        process, pipe = self._own.__dict__.pop("running", (None, None))
        if process is not None:
            pipe.close()  # on which it ends, if it hasn't
            process.join()

    def _running(self) -> tuple[Any, Connection]:
        if "running" not in self._own.__dict__:
            ours, theirs = self._context.Pipe()
            process = self._context.Process(target=serve, args=(theirs,))
            process.start()
            theirs.close()
            self._own.running = (process, ours)
        running: tuple[Any, Connection] = self._own.running
        return running


def _died(exit_code: int | None) -> Failed:
    code = None if exit_code is None else _SIGNALLED - exit_code if exit_code < 0 else exit_code
    how = f" by signal {-exit_code}" if exit_code is not None and exit_code < 0 else f" with exit code {exit_code}"
    message = f"the worker process ended{how} in the middle of the activity; what it wrote is on standard error"
    return Failed(type="WorkerDied", message=message, exit_code=code)


def serve(pipe: Connection) -> None:
    """Run in the process: one call after the other, until nobody is at the other end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all processes of a terminal; the parent decides
    sending = threading.Lock()
    while True:
        try:
            function, arguments, previous = pipe.recv()
        except (EOFError, OSError):
            return
        pulse = _Pulse(pipe, sending)
        try:
            outcome = call(pickle.loads(function), arguments, pulse.beat, previous)  # noqa: S301 - our own parent's
        except BaseException as raised:  # noqa: BLE001 - whatever it is, the parent waits for an answer
            outcome = failure(raised)
        with sending, suppress(OSError):
            pipe.send(("end", pulse.left(), outcome))


class _Pulse:
    """Heartbeats of one call, on their way to the parent."""

    def __init__(self, pipe: Connection, sending: threading.Lock) -> None:
        self._pipe = pipe
        self._sending = sending
        self._details: str | None = None
        self._due_s = 0.0

    def beat(self, details: str | None) -> bool:
        """Always True: an attempt that no longer counts is killed."""
        with self._sending:
            self._details = self._details if details is None else details
            if time.monotonic() >= self._due_s:
                self._due_s = time.monotonic() + BEAT_PAUSE_S
                self._pipe.send(("beat", self._details, None))
                self._details = None
        return True

    def left(self) -> str | None:
        """Details that were not sent."""
        return self._details
