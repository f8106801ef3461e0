"""One decision, inside the process that exists for it: lock, read, replay, answer, exit, or stay for the next one.

The process ends *at the barrier*: the replayer calls `leave` from within the workflow code, and that writes the answer
and exits. An exception that unwinds the code was tried: `finally`, a bare `except` or a swallowing `__exit__` ran on and
scheduled more tasks. Where the allowance lets it, the process stays *at the barrier*: it reads what has completed since, and
`leave`'s counterpart returns into the code, which goes on. It has the CPU and the memory of one decision for all of that.

Nothing returns from `run`, and nothing is raised: whatever goes wrong becomes an exit code of `frames`.
"""

import os
import select
import sys
from collections.abc import Sequence
from typing import NoReturn

from flowy.replay import bytecode
from flowy.replay.bytecode import Bytecode
from flowy.replay.replayer import replay
from flowy.replay.steps import Steps
from flowy.wire.messages import (
    Answer,
    MalformedMessage,
    Record,
    Request,
    encode_answer,
    parse_request,
    parse_step,
)
from flowy_operator.adapters.decider import frames, lockdown, preload
from flowy_operator.adapters.decider.frames import BEHIND_ANSWER, LENGTH, STAYS, Allowance
from flowy_operator.adapters.decider.lockdown import CHANNEL, ZygoteLocks
from flowy_operator.adapters.decider.vdso import FrozenClock

_READ_BYTES = 256 * 1024

# The barrier may lie deep in the workflow code's recursion, at its last frame; writing the answer takes a few more.
_FRAMES_TO_LEAVE = 200


def run(connection: int, zygote: int, base_bytes: int, locks: ZygoteLocks) -> NoReturn:
    """Answer the request that comes over `connection`, then exit."""
    try:
        lockdown.lock(connection, zygote)
        if not _is_asked():
            # Replays once more, for the memory pages that this copies: a third of what a decision takes, and here
            # nobody waits for it. Copying a list of these pages without a replay takes nearly as long.
            preload.warm_up()
        allowance = Allowance.parse(_read(Allowance.SIZE))
        lockdown.limit(allowance, base_bytes)
        lockdown.seal(locks.child_filter)
    except Exception:  # noqa: BLE001 - no part of a lock may be missing, whatever the reason
        os._exit(frames.EXIT_LOCKDOWN_FAILED)
    try:
        _decide(_read(allowance.request_bytes), _read(allowance.bytecode_bytes), allowance, locks.clock)
    except MemoryError:  # also one that the workflow code let pass: no failure of the workflow, a larger limit helps
        os._exit(frames.EXIT_OUT_OF_MEMORY)
    except MalformedMessage:
        os._exit(frames.EXIT_REQUEST_REFUSED)
    except KeyboardInterrupt:  # nobody interrupts here, so the workflow code raised it, and it passes the replay too
        os._exit(1)
    except BaseException:  # noqa: BLE001 - the workflow's own exceptions are in the answer, so this is our bug
        os._exit(frames.EXIT_OWN_BUG)


def _decide(request_text: bytes, handed_on: bytes, allowance: Allowance, clock: FrozenClock | None) -> NoReturn:
    request: Request = parse_request(request_text)
    compiled = Bytecode(handed_on)
    bytecode.begin(compiled)
    if clock is not None:  # it stays there; the clocks that code usually reads are the replay's, and go on with history
        clock.show(request.started_at)

    def leave(answer: Answer) -> NoReturn:
        try:
            sys.setrecursionlimit(sys.getrecursionlimit() + _FRAMES_TO_LEAVE)
            _write(_with_bytecode(encode_answer(answer), compiled, allowance), allowance.answer_bytes)
        except MemoryError:
            os._exit(frames.EXIT_OUT_OF_MEMORY)
        except BaseException:  # noqa: BLE001 - raised into the workflow code, it could be swallowed there
            os._exit(frames.EXIT_OWN_BUG)
        os._exit(0)

    def next_step(answer: Answer) -> Sequence[Record]:
        try:
            limit = sys.getrecursionlimit()
            sys.setrecursionlimit(limit + _FRAMES_TO_LEAVE)
            body = encode_answer(answer)
            if len(body) > allowance.answer_bytes:
                _write(body, allowance.answer_bytes)
                os._exit(0)
            _write(_with_bytecode(body, compiled, allowance), allowance.answer_bytes, STAYS)
            (size_bytes,) = LENGTH.unpack(_read(LENGTH.size))
            records = parse_step(_read(size_bytes))
            sys.setrecursionlimit(limit)
        except MemoryError:
            os._exit(frames.EXIT_OUT_OF_MEMORY)
        except MalformedMessage:  # also the end of the connection
            os._exit(frames.EXIT_REQUEST_REFUSED)
        except BaseException:  # noqa: BLE001 - as above
            os._exit(frames.EXIT_OWN_BUG)
        return records

    steps = Steps(next_step, _give_up) if allowance.stay_ms else None
    leave(replay(request, leave=leave, steps=steps))


def _with_bytecode(answer: bytes, compiled: Bytecode, allowance: Allowance) -> bytes:
    """The answer and what was compiled for it, unless that is known or has no room."""
    whole = answer + BEHIND_ANSWER + handed_on if (handed_on := compiled.hand_on()) else answer
    return whole if len(whole) <= allowance.answer_bytes else answer


def _give_up() -> NoReturn:
    os._exit(frames.EXIT_GAVE_UP)


def _is_asked() -> bool:
    poller = select.poll()
    poller.register(CHANNEL, select.POLLIN)
    return bool(poller.poll(0))


def _read(size_bytes: int) -> bytes:
    parts = bytearray()
    while len(parts) < size_bytes:
        part = os.read(CHANNEL, min(size_bytes - len(parts), _READ_BYTES))
        if not part:
            raise MalformedMessage("the connection ended within the request")
        parts += part
    return bytes(parts)


def _write(body: bytes, limit_bytes: int, flag: int = 0) -> None:
    """Send an answer. Of one that is too large only its length goes out: the reader judges by that, and may name it."""
    rest = memoryview(LENGTH.pack(len(body) | flag) + (body if len(body) <= limit_bytes else b""))
    while rest:
        rest = rest[os.write(CHANNEL, rest) :]
