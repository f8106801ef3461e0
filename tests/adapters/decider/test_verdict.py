"""How a child ended, and what its author is told."""

import signal

import pytest

from flowy_operator.adapters.decider import frames, verdict
from flowy_operator.adapters.decider.frames import Allowance, Ending
from flowy_operator.adapters.decider.verdict import End
from flowy_operator.core.errors import StallReason

ALLOWANCE = Allowance(wall_ms=2000, cpu_ms=1000, memory_bytes=1 << 27, answer_bytes=1 << 20, request_bytes=1)


def exited(code: int) -> int:
    return code << 8


CASES = {
    "the CPU timer": (signal.SIGPROF, 0, End.CPU, "1 s of CPU"),
    "the CPU limit behind it": (signal.SIGXCPU, 0, End.CPU, "1 s of CPU"),
    "the wall timer": (signal.SIGALRM, 0, End.WALL, "longer than 2 s"),
    "a forbidden call": (signal.SIGSYS, 0, End.FORBIDDEN, "forbidden system call"),
    "a crash": (signal.SIGSEGV, 0, End.CRASHED, "SIGSEGV"),
    "a crash with a core": (signal.SIGABRT | 0x80, 0, End.CRASHED, "SIGABRT"),
    "a signal without a name": (40, 0, End.CRASHED, "signal 40"),
    "killed by others": (signal.SIGKILL, 0, End.KILLED, "from outside"),
    "no memory": (exited(frames.EXIT_OUT_OF_MEMORY), 0, End.MEMORY, "128 MiB"),
    "no lock": (exited(frames.EXIT_LOCKDOWN_FAILED), 0, End.UNAVAILABLE, "limits"),
    "another version": (exited(frames.EXIT_REQUEST_REFUSED), 0, End.UNAVAILABLE, "version"),
    "our bug": (exited(frames.EXIT_OWN_BUG), 0, End.CRASHED, "bug"),
    "no fork": (frames.NOT_FORKED, 0, End.UNAVAILABLE, "refused a process"),
    "an exit without an answer": (exited(0), 0, End.NO_ANSWER, "exit code 0"),
    "a status that no ended process has": (0x7F, 0, End.MALFORMED, "wrote to"),
    "a status that is none": (0x7FFFFFFF, 0, End.MALFORMED, "wrote to"),
    "a status below zero": (-3, 0, End.CRASHED, "signal 125"),
    "the end of one that was to rest": (frames.TOO_LARGE, 0, End.MALFORMED, "wrote to the decider's connection"),
    "an exit within an answer": (exited(0), 9, End.MALFORMED, "9 bytes"),
}


@pytest.mark.parametrize(("status", "said_bytes", "end", "part"), CASES.values(), ids=CASES)
def test_table(status: int, said_bytes: int, end: End, part: str) -> None:
    none = verdict.of_ending(Ending(status=status), said_bytes, ALLOWANCE)
    assert none.end is end
    assert part in str(none)


@pytest.mark.parametrize("end", [end for end in End if end not in (End.ANSWERED, End.PUT_BACK)], ids=str)
def test_every_end_without_an_answer_has_a_reason(end: End) -> None:
    assert verdict.NoAnswer(end, "why").reason in StallReason


def test_sigkill_after_all_cpu_is_used_is_the_last_cpu_limit() -> None:
    stalled = verdict.of_ending(Ending(status=signal.SIGKILL, cpu_ms=2900), 0, ALLOWANCE)
    assert stalled.end is End.CPU
