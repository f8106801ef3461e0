"""For programs that run as activities: read the arguments, report how far one is, leave the result.

    from flowy.activity import heartbeat, main, progress

    def render(film):
        for frame in range(progress() or 0, film["frames"]):
            ...
            if not heartbeat(frame + 1):
                raise SystemExit("nobody waits for this any more")
        return {"frames": film["frames"]}

    main(render)

The standard library alone, and this one file alone: copy it into an image as `flowy_activity.py` and import that. It runs
on Python 3.9 and newer. What it does with files, variables and HTTP is the contract that any language can follow, see
docs/activities.md; nothing needs this module.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from contextvars import ContextVar

TYPE_CHECKING = False  # the real one costs the import of `typing`, a tenth of the time that this module may take
if TYPE_CHECKING:
    from collections.abc import Callable
    from http.client import HTTPConnection
    from types import FrameType
    from typing import Any, NoReturn

__all__ = ["TaskFailure", "heartbeat", "main", "progress"]

FILE_BYTES = 4095
"""Longest result in a file: Kubernetes keeps the last 4,096 bytes and says nothing when it cuts."""

UPLOAD_BYTES = 1024 * 1024
DETAILS_BYTES = 4095
MESSAGE_CHARS = 1000
"""Of an error's message in the file, where type and details have to fit as well. The log has all of it."""

PAUSE_S = 1.0
"""Heartbeats that follow sooner are not sent, but for their details, which the next one takes along."""

CALL_S = 5.0
"""For one call. A heartbeat must not hold up the work much longer than it would take to do without."""

SILENCE_COSTS = 2
"""How many times as long as a heartbeat waited in vain for its answer it is until the next is sent: where packets vanish, a
loop of short steps loses a third of its time, and not nearly all of it. More would let a short `heartbeatSeconds` fire."""

UPLOAD_TRIES_S = 120.0
"""For so long an upload is tried: an operator that restarts is back within it."""


class TaskFailure(Exception):
    """The activity failed, in its own words: `type` and `details` reach the workflow's code as those of its TaskError.

    `details` is any JSON. With `retryable=False` there is no other attempt, whatever the retry policy says.
    """

    def __init__(
        self,
        type: str,  # noqa: A002 - the word of the contract
        message: str = "",
        details: object = None,
        retryable: bool = True,  # noqa: FBT001, FBT002 - the word of the contract
    ) -> None:
        super().__init__(message)
        self.type = type
        self.message = message
        self.details = details
        self.retryable = retryable


def main(function: Callable[..., Any]) -> NoReturn:
    """Call `function` with the arguments of the task, leave its result, and end the process.

    What it returns must be JSON. What it raises fails the attempt: the traceback goes to the log, type and message to the
    workflow; a `TaskFailure` says more. SIGTERM raises SystemExit where the main thread is, so that `finally` and `with`
    clean up.
    """
    signal.signal(signal.SIGTERM, _stop)
    try:
        sys.exit(_run(function))
    finally:
        _gateway.close()


def heartbeat(details: object = None) -> bool:
    """Say that the attempt is alive, and how far it is. False if it no longer counts: clean up and stop.

    True in every other case, also if nobody was reached. `details`, any JSON of at most 4,095 bytes, is what `progress`
    gives the next attempt; None leaves that of before. May be called as often as one likes, from any thread: at most one
    call a second is made, and after one that waited in vain for an answer, for `CALL_S`, none for twice as long as that
    took. Raises ValueError if the details are no JSON or too long.
    """
    text = None if details is None else _json(details, "the details of the heartbeat", DETAILS_BYTES)
    here = _here.get()
    return _pulse.beat(text) if here is None else here.beat(None if text is None else text.decode())


def progress() -> Any:
    """The details that an attempt before this one left with its last heartbeat, None if there are none.

    None too without a gateway. Raises OSError if the gateway can't be reached for two minutes: to begin from the start
    would be the wrong answer to that.
    """
    here = _here.get()
    if here is not None:
        return None if here.previous is None else json.loads(here.previous)
    if not _gateway.is_there():
        return None
    status, answer = _gateway.persistently("GET", "/progress", None)
    if status == 200:  # noqa: PLR2004 - HTTP
        return json.loads(answer)
    if status == 409:  # noqa: PLR2004 - HTTP: this attempt no longer counts, which the next heartbeat says too
        return None
    raise OSError(f"progress(): {_said(status, answer)}")


class attempt_here:  # noqa: N801 - used as a function
    """For `flowy.local`, which calls activities as plain functions: inside of it, `heartbeat` and `progress` are these.

    `beat` takes the details as JSON text, `previous` is what `progress` gives, as JSON text.
    """

    def __init__(self, beat: Callable[[str | None], bool], previous: str | None) -> None:
        self.beat = beat
        self.previous = previous

    def __enter__(self) -> None:
        self._token = _here.set(self)

    def __exit__(self, *_: object) -> None:
        _here.reset(self._token)


def _stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - a signal handler's
    # Once: whoever sends it again wants an end without further ado.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    sys.exit(128 + number)


def _run(function: Callable[..., Any]) -> int:
    """The exit code."""
    # Outside of the attempt's own errors: this isn't one, and there is no file to write it to.
    path = _variable("FLOWY_RESULT_FILE")
    with open(_variable("FLOWY_INPUT_FILE"), encoding="utf-8") as file:  # noqa: PTH123 - pathlib costs 5 ms
        call = json.load(file)
    try:
        _leave(path, function(*call["args"], **call["kwargs"]))
    except Exception as error:  # noqa: BLE001 - whatever it is, the workflow gets to know
        # Late: a tenth of the import time, and most runs don't need it.
        import traceback  # noqa: PLC0415

        traceback.print_exc()
        _write(path, _reported(error))
        return 1
    return 0


def _variable(name: str) -> str:
    value = os.environ.get(name)
    if value is None:
        sys.exit(
            f"{name} is not set: this program is a Flowy activity. To run it here, write the arguments into a file, such"
            ' as {"args": ["a"], "kwargs": {}}, name it in FLOWY_INPUT_FILE, and in FLOWY_RESULT_FILE a file for the'
            " result."
        )
    return value


def _leave(path: str, result: object) -> None:
    """Write the result into the file, or upload it if it is too long for that."""
    text = _json(result, "the result", UPLOAD_BYTES)
    size = len(text)
    if size <= FILE_BYTES:
        _write(path, text)
    elif _gateway.is_there():
        status, answer = _gateway.persistently("PUT", "/result", text)
        if status != 200:  # noqa: PLR2004 - HTTP
            raise TaskFailure("ResultNotTaken", f"the result, {size:,} bytes: {_said(status, answer)}")
    else:
        raise TaskFailure(
            "ResultTooLong",
            f"the result is {size:,} bytes long, at most {FILE_BYTES:,} fit into the file; with `gateway: true` on the"
            f" activity it may have {UPLOAD_BYTES:,}",
            retryable=False,
        )


def _write(path: str, text: bytes) -> None:
    with open(path, "wb") as file:  # noqa: PTH123 - as above
        file.write(text)


def _json(value: object, what: str, limit: int) -> bytes:
    """The value as JSON text. Raises ValueError, which names what it is and why not."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        # A lone surrogate's error would repeat the whole text.
        why = "a lone surrogate in a text" if isinstance(error, UnicodeEncodeError) else str(error)
        raise ValueError(f"{what} is no JSON: {why}") from error
    if len(text) > limit:
        raise ValueError(f"{what} is {len(text):,} bytes long, at most {limit:,} are taken")
    return text


def _reported(error: Exception) -> bytes:
    """The error as the file can hold it: its message is cut and says so, details that don't fit are named as missing."""
    own = error if isinstance(error, TaskFailure) else None
    kind = type(error).__name__ if own is None else own.type
    message = str(error) or kind
    if len(message) > MESSAGE_CHARS:
        message = f"{message[:MESSAGE_CHARS]}… ({len(message) - MESSAGE_CHARS:,} characters more are in the log)"
    told: dict[str, object] = {"type": kind, "message": message}
    if own is not None and not own.retryable:
        told["retryable"] = False
    if own is not None and own.details is not None:
        try:
            return _json({"error": told | {"details": own.details}}, "the error", FILE_BYTES)
        except ValueError as refusal:
            told["message"] = f"{message} (without its details: {refusal})"
    try:
        return _json({"error": told}, "the error", FILE_BYTES)
    except ValueError:
        # Lone surrogates, or a type as long as a message.
        return _json({"error": {name: _plain(value) for name, value in told.items()}}, "the error", FILE_BYTES)


def _plain(value: object) -> object:
    """The beginning of a text in ASCII; the log has the whole."""
    return value.encode("ascii", "backslashreplace")[:MESSAGE_CHARS].decode() if isinstance(value, str) else value


def _said(status: int, answer: bytes) -> str:
    """The gateway's own sentence, if it has one."""
    try:
        return str(json.loads(answer)["error"])
    except (ValueError, KeyError, TypeError):
        return f"the gateway answers {status}"


class _Gateway:
    """Calls of the operator. One connection, kept; a new one if the server has closed it."""

    def __init__(self) -> None:
        import threading  # noqa: PLC0415 - beside its users

        self._lock = threading.Lock()
        self._connection: HTTPConnection | None = None
        self._prefix = ""

    def is_there(self) -> bool:
        return "FLOWY_URL" in os.environ and "FLOWY_TOKEN_FILE" in os.environ

    def persistently(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        """Call until there is an answer that stays one. Raises OSError after two minutes without."""
        until, pause_s = time.monotonic() + UPLOAD_TRIES_S, 0.2
        while True:
            try:
                status, answer = self.call(method, path, body)
            except OSError:
                if time.monotonic() > until:
                    raise
            else:
                # 401 too: a pod may be faster than the news of it.
                if status not in {401, 429, 500, 502, 503, 504} or time.monotonic() > until:
                    return status, answer
            time.sleep(pause_s)
            pause_s = min(pause_s * 2, 5.0)

    def call(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        """One call: status and body. Raises OSError."""
        from http.client import HTTPException  # noqa: PLC0415 - 20 ms that only those pay who call

        with self._lock:
            is_kept = self._connection is not None
            try:
                return self._ask(method, path, body)
            except (OSError, HTTPException) as error:
                self._drop()
                if is_kept:
                    # The server ends idle connections. All calls may be repeated.
                    try:
                        return self._ask(method, path, body)
                    except (OSError, HTTPException):
                        self._drop()
                        raise OSError(f"the gateway at {os.environ['FLOWY_URL']} can't be reached") from error
                raise OSError(f"the gateway at {os.environ['FLOWY_URL']} can't be reached: {error}") from error

    def close(self) -> None:
        # Without waiting for a call that another thread is in: the process ends.
        self._drop()

    def _ask(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        with open(os.environ["FLOWY_TOKEN_FILE"], encoding="ascii") as file:  # noqa: PTH123 - it changes, so each time
            headers = {"Authorization": f"Bearer {file.read().strip()}"}
        if self._connection is None:
            self._connection = self._connect()
        if body is not None:
            headers["Content-Type"] = "application/json"
        self._connection.request(method, self._prefix + path, body, headers)
        response = self._connection.getresponse()
        return response.status, response.read()

    def _connect(self) -> HTTPConnection:
        from http.client import HTTPConnection, HTTPSConnection  # noqa: PLC0415 - as above
        from urllib.parse import urlsplit  # noqa: PLC0415 - as above

        url = urlsplit(os.environ["FLOWY_URL"])
        self._prefix = url.path.rstrip("/")
        kind = HTTPSConnection if url.scheme == "https" else HTTPConnection
        return kind(url.hostname or "", url.port, timeout=CALL_S)

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


class _Pulse:
    """Heartbeats, no more than one in PAUSE_S: what comes in between waits for the next, the newest details count."""

    def __init__(self, gateway: _Gateway) -> None:
        self._gateway = gateway
        self._due_at: float | None = None
        self._details: bytes | None = None
        self._counts = True

    def beat(self, details: bytes | None) -> bool:
        if not self._gateway.is_there():
            return True
        if details is not None:
            self._details = details
        began = time.monotonic()
        if self._counts and (self._due_at is None or began >= self._due_at):
            self._due_at = began + 2 * CALL_S  # other threads go on meanwhile, and don't queue behind this one
            was_answered = self._send()
            ended = time.monotonic()
            # A kept connection may have cost two waits; the next call has none.
            silence_s = 0.0 if was_answered else SILENCE_COSTS * min(ended - began, CALL_S)
            self._due_at = ended + max(PAUSE_S, silence_s)
        return self._counts

    def _send(self) -> bool:
        """Whether there was an answer, be it a refusal."""
        details, self._details = self._details, None
        was_answered = False
        try:
            status, answer = self._gateway.call("POST", "/heartbeat", details)
            was_answered = True
            if status == 200:  # noqa: PLR2004 - HTTP
                # Once over, always over.
                self._counts = json.loads(answer)["continue"] is not False
                return True
            why = _said(status, answer)
        except (OSError, ValueError, KeyError, TypeError) as error:
            why = str(error)
        if self._details is None:
            self._details = details  # for the next one
        print(f"heartbeat: {why}", file=sys.stderr)  # noqa: T201 - a line in the pod's log is all that can be done
        return was_answered


_here: ContextVar[attempt_here | None] = ContextVar("flowy_attempt", default=None)
_gateway = _Gateway()
_pulse = _Pulse(_gateway)
