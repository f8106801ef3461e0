"""Our side of the decider: a request in, an answer or the reason why there is none out.

The pool starts the zygote and restarts it, lets few decisions run at once and namespaces take turns, and judges what
comes back: size first, then shape. What the answer means is for others.
"""

import asyncio
import logging
import shutil
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

from flowy.wire.messages import Answer, MalformedMessage, Request, encode_request
from flowy_operator.adapters.decider import proof, verdict
from flowy_operator.adapters.decider.exchange import Exchange, Finding, Lost
from flowy_operator.adapters.decider.frames import Allowance, Locks, Strictness
from flowy_operator.adapters.decider.limits import Limits
from flowy_operator.adapters.decider.spawn import ZygoteProcess
from flowy_operator.adapters.decider.turns import Turn, Turns
from flowy_operator.adapters.decider.verdict import End, NoAnswer, OnEnd
from flowy_operator.core.errors import DecisionStalled, StallReason

log = logging.getLogger(__name__)

# Between the child's own wall timer and ours, which is only for code that disarmed it. Long, since on a busy machine the
# fork itself may wait, and a decision must not fail twice for that.
_GRACE_S = 5.0

_GONE_WITHIN_S = 2.0  # from the end of a connection without an ending to the news that the zygote is dead

_TRIES = 2  # a zygote that dies under the same decisions twice is not bad luck


def _nobody_counts(_end: End, _seconds: float) -> None:
    pass


class DeciderPool:
    """Decisions by processes of their own. `start` before, `close` after; both wait for the processes.

    `ended` is called for each child that was asked, unless its decision was cancelled. The self-test's don't count.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        strictness: Strictness = Strictness.REQUIRED,
        ended: OnEnd = _nobody_counts,
    ) -> None:
        self._strictness = strictness
        self._ended = ended
        self._limits = Limits() if limits is None else limits
        self._turns = Turns(self._limits.children, self._limits.children_per_namespace)
        self._folder: Path | None = None
        self._zygote: ZygoteProcess | None = None
        self._starting = asyncio.Lock()
        self._exchanges: set[Exchange] = set()

    async def start(self) -> None:
        """Start the zygote, prove that it decides and that its locks hold. Raises `DecisionStalled` (unavailable) if not."""
        self._folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="flowy-decider-"))
        try:
            await self._prove()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """End the zygote and all children. Decisions in flight end as unavailable."""
        folder, self._folder = self._folder, None
        async with self._starting:
            zygote, self._zygote = self._zygote, None
            if zygote is not None:
                await zygote.close()
        for exchange in tuple(self._exchanges):
            exchange.close()
        if folder is not None:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def decide(self, request: Request, *, namespace: str, wall_s: float) -> Answer:
        """Replay in a child of its own. `wall_s` counts from its start and not while the decision waits for its turn.

        Raises `DecisionStalled`. May be repeated: a decision changes nothing. Cancelling it kills the child.
        """
        return await self._decide(request, namespace, wall_s, self._limits, self._ended)

    async def _decide(self, request: Request, namespace: str, wall_s: float, limits: Limits, ended: OnEnd) -> Answer:
        message, allowance = _message(request, wall_s, limits)
        loop = asyncio.get_running_loop()
        last_words = ""
        for _ in range(_TRIES):
            turn = await self._turns.take(namespace)
            try:
                zygote = await self._running_zygote()
            except BaseException:
                turn.end()
                raise
            asked_at = loop.time()
            finding = await self._ask(zygote, message, allowance, turn)
            seconds = loop.time() - asked_at
            if isinstance(finding, Lost) and await zygote.is_gone(_GONE_WITHIN_S):
                ended(End.UNAVAILABLE, seconds)
                last_words = zygote.last_words
                continue
            try:
                answer = verdict.judge(finding, request, allowance)
            except NoAnswer as none:
                ended(none.end, seconds)
                raise
            ended(End.ANSWERED, seconds)
            return answer
        raise DecisionStalled(
            StallReason.UNAVAILABLE, f"The decider's zygote died during the decision, and again {last_words}".rstrip()
        )

    async def _prove(self) -> None:
        """Make the probes. One that gets through ends the start."""
        limits = replace(self._limits, cpu_s=min(self._limits.cpu_s, proof.SPIN_CPU_S))
        for probe in proof.probes(limits):
            zygote = await self._running_zygote()
            if probe.needs_filter and not zygote.locks.seccomp:
                continue  # insecure, and it said so
            told: proof.Told
            try:
                told = await self._decide(probe.request, "", self._limits.start_s, limits, _nobody_counts)
            except DecisionStalled as stalled:
                if stalled.reason is StallReason.UNAVAILABLE:
                    raise
                told = stalled
            if not probe.holds(told):
                raise DecisionStalled(
                    StallReason.UNAVAILABLE, f"The decider is not safe to use, its self-test got {probe.name}: {told}"
                )

    @property
    def zygote_pid(self) -> int | None:
        """The present zygote, for whoever reads its memory and CPU from /proc."""
        return None if self._zygote is None else self._zygote.pid

    async def _running_zygote(self) -> ZygoteProcess:
        async with self._starting:
            if self._folder is None:
                raise DecisionStalled(StallReason.UNAVAILABLE, "The decider is not running")
            if self._zygote is None or self._zygote.gone.is_set():
                self._zygote = await ZygoteProcess.start(
                    self._folder / "zygote.sock", self._limits.start_s, self._strictness
                )
                _report(self._zygote.locks)
                if self._zygote.locks.seccomp and proof.is_filtered(self._zygote.pid) is False:
                    await self._zygote.close()
                    raise DecisionStalled(
                        StallReason.UNAVAILABLE,
                        "The decider says that it is locked, and the kernel says that it is not",
                    )
            return self._zygote

    async def _ask(self, zygote: ZygoteProcess, message: bytes, allowance: Allowance, turn: Turn) -> Finding:
        """One exchange. It ends the turn itself, when the child is reaped."""

        def on_closed() -> None:
            self._exchanges.discard(exchange)
            turn.end()

        exchange = Exchange(message, allowance.answer_bytes, allowance.wall_ms / 1000 + _GRACE_S, on_closed)
        self._exchanges.add(exchange)
        try:
            await asyncio.get_running_loop().create_unix_connection(lambda: exchange, str(zygote.socket_path))
        except (ConnectionError, FileNotFoundError):
            exchange.close()
            return Lost()
        except BaseException:
            exchange.close()
            raise
        try:
            return await exchange.finding
        except asyncio.CancelledError:
            exchange.close()
            raise


def _message(request: Request, wall_s: float, limits: Limits) -> tuple[bytes, Allowance]:
    try:
        body = encode_request(request)
    except MalformedMessage as error:  # a lone surrogate, which JSON can hold and UTF-8 can't
        raise DecisionStalled(StallReason.MALFORMED, f"The decision can't be asked for: {error}") from error
    source_bytes = len(request.source.encode())
    if source_bytes > limits.source_bytes:
        raise DecisionStalled(
            StallReason.TOO_LARGE,
            f"The workflow's source has {source_bytes} bytes, the limit is {limits.source_bytes}",
        )
    if len(body) > limits.request_bytes:
        raise DecisionStalled(
            StallReason.TOO_LARGE,
            f"The decision's request has {len(body)} bytes, the limit is {limits.request_bytes}; "
            "pass references to large values between tasks instead of the values",
        )
    allowance = Allowance(
        wall_ms=round(wall_s * 1000),
        cpu_ms=round(limits.cpu_of(len(request.records), len(body)) * 1000),
        memory_bytes=limits.memory_bytes,
        answer_bytes=limits.answer_bytes,
        request_bytes=len(body),
    )
    return allowance.encode() + body, allowance


def _report(locks: Locks) -> None:
    """Say at each start of a zygote what it is locked by, and loudly what is missing."""
    if not locks.seccomp:
        log.warning(
            "INSECURE DECIDER: no filter of system calls is in force. Workflow code can do whatever the operator can: "
            "read its token and its files, reach the network. Whoever may create a Workflow has the operator's rights"
        )
    if not locks.landlock:
        log.warning("The kernel has no Landlock, so the decider's second wall is missing", extra=asdict(locks))
    log.info("The decider's zygote is ready", extra=asdict(locks))
