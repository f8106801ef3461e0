"""How a child ended, in words: the reason for the machine and a sentence for the workflow's author.

The sentence says what to change where the code is to blame, and whom to ask where it is not.
"""

import os
import signal

from flowy_operator.adapters.decider.frames import (
    EXIT_LOCKDOWN_FAILED,
    EXIT_OUT_OF_MEMORY,
    EXIT_OWN_BUG,
    EXIT_REQUEST_REFUSED,
    NOT_FORKED,
    Allowance,
    Ending,
)
from flowy_operator.core.errors import DecisionStalled, StallReason

MIB = 1024 * 1024


def of_ending(ending: Ending, said_bytes: int, allowance: Allowance) -> DecisionStalled:
    """Say why a child that ended left no whole answer. `said_bytes`: what it wrote nevertheless."""
    if ending.status == NOT_FORKED:
        return DecisionStalled(
            StallReason.UNAVAILABLE, "The system refused a process for the decision: no memory or no process left"
        )
    if os.WIFSIGNALED(ending.status):
        return _of_signal(os.WTERMSIG(ending.status), ending, allowance)
    match os.waitstatus_to_exitcode(ending.status):
        case code if code == EXIT_OUT_OF_MEMORY:
            return _memory(allowance)
        case code if code == EXIT_LOCKDOWN_FAILED:
            return DecisionStalled(
                StallReason.UNAVAILABLE, "The decider could not set its limits, so it did not run the workflow code"
            )
        case code if code == EXIT_REQUEST_REFUSED:
            return DecisionStalled(
                StallReason.UNAVAILABLE, "The decider did not understand the operator; are both of the same version?"
            )
        case code if code == EXIT_OWN_BUG:
            return DecisionStalled(
                StallReason.CRASHED, "The decider failed outside the workflow code; this is a bug of Flowy"
            )
        case _ if said_bytes:
            return malformed(f"the workflow code ended its process after {said_bytes} bytes of an answer")
        case code:
            return DecisionStalled(
                StallReason.CRASHED,
                f"The workflow code ended its process (exit code {code}) before it answered; "
                "return from the workflow or raise an exception instead",
            )


def _of_signal(number: int, ending: Ending, allowance: Allowance) -> DecisionStalled:
    # SIGKILL follows when code ignores both CPU signals; anyone else's SIGKILL comes before the CPU is used up.
    if number in (signal.SIGPROF, signal.SIGXCPU) or (number == signal.SIGKILL and ending.cpu_ms >= allowance.cpu_ms):
        return DecisionStalled(
            StallReason.TIMEOUT,
            f"The workflow code used more than {allowance.cpu_ms / 1000:g} s of CPU in one decision; "
            "look for an endless loop, and move heavy work into a task",
        )
    if number == signal.SIGALRM:
        return out_of_time(allowance)
    if number == signal.SIGSYS:
        return DecisionStalled(
            StallReason.FORBIDDEN, "The workflow code made a forbidden system call; only tasks may reach outside"
        )
    if number == signal.SIGKILL:
        return DecisionStalled(
            StallReason.CRASHED,
            f"The decision was killed from outside after using {ending.peak_kib // 1024} MiB; "
            "perhaps the node or the container is short of memory",
        )
    return DecisionStalled(
        StallReason.CRASHED,
        f"The workflow code crashed its interpreter ({_name(number)}); "
        "look for recursion without end and for values nested thousands of levels deep",
    )


def out_of_time(allowance: Allowance) -> DecisionStalled:
    return DecisionStalled(
        StallReason.TIMEOUT,
        f"The decision took longer than {allowance.wall_ms / 1000:g} s; workflow code must not wait except for tasks",
    )


def too_large(size_bytes: int, allowance: Allowance) -> DecisionStalled:
    return DecisionStalled(
        StallReason.TOO_LARGE,
        f"The decision's answer has {size_bytes} bytes, the limit is {allowance.answer_bytes}; "
        "pass references to large values between tasks instead of the values",
    )


def malformed(what: str) -> DecisionStalled:
    return DecisionStalled(StallReason.MALFORMED, f"The decision's answer is not valid: {what}")


def channel_closed() -> DecisionStalled:
    return DecisionStalled(StallReason.CRASHED, "The workflow code closed the decider's connection before it answered")


def _memory(allowance: Allowance) -> DecisionStalled:
    return DecisionStalled(
        StallReason.MEMORY,
        f"The workflow code needed more than {allowance.memory_bytes / MIB:g} MiB in one decision; "
        "keep large values in files or objects and pass references to them",
    )


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal has no name
        return f"signal {number}"
