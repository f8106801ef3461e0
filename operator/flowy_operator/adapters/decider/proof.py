"""Proof at start that the locks hold: attempts that must fail, made by workflow code on the path of every decision.

A filter that is installed but lets a call through (a wrong table, a kernel that ignores it, an emulator) shows here and
not in an incident. What the zygote says of itself is no proof, hence also a look at what the kernel says of it.
"""

import asyncio
import contextlib
import logging
import math
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from flowy.wire.messages import Answer, Outcome, Request, encode_step
from flowy_operator.adapters.decider import verdict
from flowy_operator.adapters.decider.asking import Asked, asking
from flowy_operator.adapters.decider.connections import ask, found
from flowy_operator.adapters.decider.exchange import Exchange, Finding, Said
from flowy_operator.adapters.decider.frames import Layout, Locks, Strictness
from flowy_operator.adapters.decider.homes import Zygote
from flowy_operator.adapters.decider.limits import Limits
from flowy_operator.core.errors import DecisionStalled, StallReason

log = logging.getLogger(__name__)

# Each start waits for it. A child that gets no further than its first line by then is ended by the same timer.
SPIN_CPU_S = 0.03

_REST_S = 1.0  # for what takes a millisecond

Told = Answer | DecisionStalled


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One attempt, by a child that may use `cpu_s` at most. `holds` tells from what came of it whether the lock held."""

    name: str
    request: Request
    holds: Callable[[Told], bool]
    needs_filter: bool
    cpu_s: float = math.inf


def probes(limits: Limits) -> Sequence[Probe]:
    """All of them; the first proves that decisions work at all, without which the others would prove nothing."""
    return (
        Probe(name="a plain decision", request=_asking("str(probe(1))"), holds=_is_suspended, needs_filter=False),
        Probe(name="an open file", request=_asking("os.open('/', os.O_RDONLY)"), holds=_is_refused, needs_filter=True),
        Probe(
            name="a socket",
            # No import finds the module; the frames below the workflow code are the zygote's, which has it.
            request=_asking(
                "frame = sys._getframe()",
                "while 'socket' not in frame.f_globals: frame = frame.f_back",
                "frame.f_globals['socket'].socket()",
            ),
            holds=_is_refused,
            needs_filter=True,
        ),
        Probe(name="a fork", request=_asking("os.fork()"), holds=_ended(StallReason.FORBIDDEN), needs_filter=True),
        # The zygote's filter allows this one, and glibc passes the kernel's refusal on as -1: so it is the child's own.
        Probe(name="its parent's pid", request=_asking("return os.getppid()"), holds=_is_minus_1, needs_filter=True),
        Probe(
            name="an endless loop",
            request=_asking("while True: pass"),
            holds=_ended(StallReason.TIMEOUT),
            needs_filter=False,
            cpu_s=SPIN_CPU_S,
        ),
        Probe(
            name="memory above the limit",
            request=_asking(f"bytearray({2 * limits.memory_bytes})"),
            holds=_ended(StallReason.MEMORY),
            needs_filter=False,
        ),
    )


def is_filtered(zygote_pid: int) -> bool | None:
    """What the kernel says of the zygote: filtered, and without a way to new privileges. None: it can't be asked."""
    try:
        status = Path(f"/proc/{zygote_pid}/status").read_text()
    except OSError:  # /proc mounted with hidepid
        return None
    fields = dict(re.findall(r"^(Seccomp|NoNewPrivs):\s+(\d+)$", status, re.MULTILINE))
    return fields == {"Seccomp": "2", "NoNewPrivs": "1"}


def _asking(*lines: str) -> Request:
    inner = "\n".join(f"        {line}" for line in lines)
    source = f"import os, sys\ndef main(probe):\n    def run():\n{inner}\n    return run\n"
    return Request(source=source, entrypoint="main", tasks=("probe",), input='{"args": [], "kwargs": {}}')


def _is_suspended(told: Told) -> bool:
    return (
        isinstance(told, Answer)
        and told.outcome is Outcome.SUSPENDED
        and [c.key for c in told.scheduled] == ["probe-0"]
    )


def _is_refused(told: Told) -> bool:
    return isinstance(told, Answer) and told.error is not None and told.error["type"] == "PermissionError"


def _is_minus_1(told: Told) -> bool:
    return isinstance(told, Answer) and told.result == "-1"


def _ended(reason: StallReason) -> Callable[[Told], bool]:
    return lambda told: isinstance(told, DecisionStalled) and told.reason is reason


async def prove(
    zygote: Zygote, strictness: Strictness, limits: Limits, found: Callable[[Asked], Awaitable[Finding]]
) -> None:
    """Make the probes, by `found` on the way of every decision, all at once: each has a child of its own.

    Raises `DecisionStalled` for one that gets through.
    """
    if zygote.pid is not None and zygote.locks.seccomp and is_filtered(zygote.pid) is False:
        raise DecisionStalled(
            StallReason.UNAVAILABLE,
            "The decider says that it is locked, and the kernel says that it is not",
        )
    if strictness is Strictness.REQUIRED and not zygote.locks.seccomp:
        raise DecisionStalled(
            StallReason.UNAVAILABLE,
            "The decider runs without a filter of system calls; only with --insecure-decider the operator uses it",
        )
    needed = [
        probe for probe in probes(limits) if zygote.locks.seccomp or not probe.needs_filter
    ]  # insecure: it said so
    async with asyncio.TaskGroup() as group:
        attempts = [group.create_task(_attempted(probe, limits, found), name=probe.name) for probe in needed]
    for probe, attempt in zip(needed, attempts, strict=True):
        told = attempt.result()
        if isinstance(told, DecisionStalled) and told.reason is StallReason.UNAVAILABLE:
            raise told
        if not probe.holds(told):
            raise DecisionStalled(
                StallReason.UNAVAILABLE, f"The decider is not safe to use, its self-test got {probe.name}: {told}"
            )


async def staying_faults(limits: Limits, connect: Callable[[], Awaitable[Exchange]]) -> Sequence[str]:
    """What is wrong with how children stay: a large one has to be ended, and a small one asked again. Raises `DecisionStalled`."""
    most_bytes = limits.staying_bytes(0)
    with contextlib.ExitStack() as ends:
        small = await connect()
        ends.callback(small.close)
        large = await connect()
        ends.callback(large.close)
        for exchange, size_bytes in ((small, 0), (large, most_bytes)):
            request = _asking(f"kept = b'x' * {size_bytes}", "str(probe(1))")
            said = await ask(exchange, asking(request, "", limits.start_s, limits).staying(limits))
            if not isinstance(said, Said):
                return [f"one that was to stay: {said}"]
            exchange.rest(most_bytes)
        await asyncio.wait([large.closed], timeout=_REST_S)
        small.ask_again(encode_step(()), limits.answer_bytes, _REST_S)
        went_on = await found(small)
        return [
            *([] if large.was_too_large else ["a large one was not ended"]),
            *([] if isinstance(went_on, Said) else [f"a small one did not go on: {went_on}"]),
        ]


async def _attempted(probe: Probe, limits: Limits, found: Callable[[Asked], Awaitable[Finding]]) -> Told:
    asked = asking(probe.request, "", limits.start_s, replace(limits, cpu_s=min(limits.cpu_s, probe.cpu_s)))
    try:
        return verdict.judge(await found(asked), probe.request, asked.allowance)
    except verdict.NoAnswer as stalled:
        return stalled


def report(locks: Locks, layout: Layout) -> None:
    """Say at each start of a zygote what it is locked by, and loudly what is missing."""
    if not locks.seccomp:
        log.warning(
            "INSECURE DECIDER: no filter of system calls is in force. Workflow code can do whatever the operator can: "
            "read its token and its files, reach the network. Whoever may create a Workflow has the operator's rights"
        )
    if not locks.landlock:
        log.warning("The kernel has no Landlock, so the decider's second wall is missing", extra=asdict(locks))
    log.info("The decider's zygote is ready", extra=asdict(locks) | {"layout": layout})
