"""What came of a decision: the answer, or why there is none, as a reason for the machine and a sentence for the author.

The sentence says what to change where the code is to blame, and whom to ask where it is not.
"""

import os
import signal
from collections.abc import Callable, Mapping
from enum import StrEnum
from types import MappingProxyType

from flowy.wire.messages import Answer, MalformedMessage, Request, parse_answer
from flowy_operator.adapters.decider.exchange import Ended, Finding, Garbage, Lost, Overdue, Said, TooLarge
from flowy_operator.adapters.decider.frames import (
    EXIT_GAVE_UP,
    EXIT_LOCKDOWN_FAILED,
    EXIT_OUT_OF_MEMORY,
    EXIT_OWN_BUG,
    EXIT_REQUEST_REFUSED,
    NOT_FORKED,
    TOO_LARGE,
    Allowance,
    Ending,
)
from flowy_operator.core.errors import DecisionStalled, StallReason

MIB = 1024 * 1024


class End(StrEnum):
    """Every way in which a decision ends. Finer than the reasons of `Stalled`; the values are labels of a metric."""

    ANSWERED = "answered"
    NO_ANSWER = "no-answer"  # the workflow code ended its process
    CPU = "cpu"
    WALL = "wall"
    MEMORY = "memory"
    FORBIDDEN = "forbidden-call"
    CRASHED = "crashed"
    KILLED = "killed"  # from outside
    TOO_LARGE = "too-large"
    MALFORMED = "malformed"
    UNAVAILABLE = "unavailable"  # no process, no limits, no zygote
    PUT_BACK = "put-back"  # not done in the time of the fast lane, and made again in the slow one


OnEnd = Callable[[End, float], None]
"""Is told how each decision ended, and after how many seconds from the moment when its child was asked."""

_REASONS: Mapping[End, StallReason] = MappingProxyType(
    {
        End.NO_ANSWER: StallReason.CRASHED,
        End.CPU: StallReason.TIMEOUT,
        End.WALL: StallReason.TIMEOUT,
        End.MEMORY: StallReason.MEMORY,
        End.FORBIDDEN: StallReason.FORBIDDEN,
        End.CRASHED: StallReason.CRASHED,
        End.KILLED: StallReason.CRASHED,
        End.TOO_LARGE: StallReason.TOO_LARGE,
        End.MALFORMED: StallReason.MALFORMED,
        End.UNAVAILABLE: StallReason.UNAVAILABLE,
    }
)


class NoAnswer(DecisionStalled):
    """A decision that was asked for and came to nothing; `end` says how."""

    def __init__(self, end: End, message: str) -> None:
        super().__init__(_REASONS[end], message)
        self.end = end


def judge(finding: Finding, request: Request, allowance: Allowance) -> Answer:
    """Give the answer to `request`, of which nothing was believed before. Raises `NoAnswer`, and never anything else."""
    match finding:
        case Said(answer):
            try:
                return parse_answer(answer, request, allowance.answer_bytes)
            except MalformedMessage as error:
                raise malformed(str(error)) from error
        case TooLarge(size_bytes):
            raise too_large(size_bytes, allowance)
        case Garbage():
            raise malformed("the workflow code wrote to the decider's connection")
        case Ended(ending, said_bytes):
            raise of_ending(ending, said_bytes, allowance)
        case Overdue():
            raise out_of_time(allowance)
        case Lost():
            raise channel_closed()


def was_too_large(finding: Finding) -> bool:
    """Whether a child that stayed was ended for its size, when this step was on its way to it."""
    return isinstance(finding, Ended) and finding.ending.status == TOO_LARGE


def gave_up(finding: Finding) -> bool:
    """Whether a child that stayed says that it can't go on over what it was given."""
    match finding:
        case Ended(ending, _):
            return os.WIFEXITED(ending.status) and os.waitstatus_to_exitcode(ending.status) == EXIT_GAVE_UP
        case _:
            return False


def of_ending(ending: Ending, said_bytes: int, allowance: Allowance) -> NoAnswer:
    """Say why a child that ended left no whole answer. `said_bytes`: what it wrote nevertheless."""
    if ending.status == NOT_FORKED:
        return NoAnswer(End.UNAVAILABLE, "The system refused a process for the decision: no memory or no process left")
    if ending.status == TOO_LARGE:  # no child that was asked ends so, see below
        return malformed("the workflow code wrote to the decider's connection")
    if os.WIFSIGNALED(ending.status):
        return _of_signal(os.WTERMSIG(ending.status), ending, allowance)
    if not os.WIFEXITED(ending.status):  # no child that ended has such a status, so it wrote this ending itself
        return malformed("the workflow code wrote to the decider's connection")
    match os.waitstatus_to_exitcode(ending.status):
        case code if code == EXIT_OUT_OF_MEMORY:
            return _memory(allowance)
        case code if code == EXIT_LOCKDOWN_FAILED:
            return NoAnswer(
                End.UNAVAILABLE, "The decider could not set its limits, so it did not run the workflow code"
            )
        case code if code == EXIT_REQUEST_REFUSED:
            return NoAnswer(
                End.UNAVAILABLE, "The decider did not understand the operator; are both of the same version?"
            )
        case code if code == EXIT_OWN_BUG:
            return NoAnswer(End.CRASHED, "The decider failed outside the workflow code; this is a bug of Flowy")
        case _ if said_bytes:
            return malformed(f"the workflow code ended its process after {said_bytes} bytes of an answer")
        case code:
            return NoAnswer(
                End.NO_ANSWER,
                f"The workflow code ended its process (exit code {code}) before it answered; "
                "return from the workflow or raise an exception instead",
            )


def _of_signal(number: int, ending: Ending, allowance: Allowance) -> NoAnswer:
    # SIGKILL follows when code ignores both CPU signals, two seconds later (see `lockdown.limit`); anyone else's comes
    # before that. Not at the allowance itself: `ending` counts what the child used before it was asked, too.
    is_last_limit = number == signal.SIGKILL and ending.cpu_ms >= allowance.cpu_ms + 1000
    if is_last_limit or number in (signal.SIGPROF, signal.SIGXCPU):
        return NoAnswer(
            End.CPU,
            f"The workflow code used more than {allowance.cpu_ms / 1000:g} s of CPU in one decision; "
            "look for an endless loop, and move heavy work into a task",
        )
    if number == signal.SIGALRM:
        return out_of_time(allowance)
    if number == signal.SIGSYS:
        return NoAnswer(End.FORBIDDEN, "The workflow code made a forbidden system call; only tasks may reach outside")
    if number == signal.SIGKILL:
        return NoAnswer(
            End.KILLED,
            f"The decision was killed from outside after using {ending.peak_kib // 1024} MiB; "
            "perhaps the node or the container is short of memory",
        )
    return NoAnswer(
        End.CRASHED,
        f"The workflow code crashed its interpreter ({_name(number)}); "
        "look for recursion without end and for values nested thousands of levels deep",
    )


def out_of_time(allowance: Allowance) -> NoAnswer:
    return NoAnswer(
        End.WALL,
        f"The decision took longer than {allowance.wall_ms / 1000:g} s; workflow code must not wait except for tasks",
    )


def too_large(size_bytes: int, allowance: Allowance) -> NoAnswer:
    return NoAnswer(
        End.TOO_LARGE,
        f"The decision's answer has {size_bytes} bytes, the limit is {allowance.answer_bytes}; "
        "pass references to large values between tasks instead of the values",
    )


def malformed(what: str) -> NoAnswer:
    return NoAnswer(End.MALFORMED, f"The decision's answer is not valid: {what}")


def channel_closed() -> NoAnswer:
    return NoAnswer(End.NO_ANSWER, "The workflow code closed the decider's connection before it answered")


def _memory(allowance: Allowance) -> NoAnswer:
    return NoAnswer(
        End.MEMORY,
        f"The workflow code needed more than {allowance.memory_bytes / MIB:g} MiB in one decision; "
        "keep large values in files or objects and pass references to them",
    )


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal has no name
        return f"signal {number}"
