"""Our side of the decider: a request in, an answer or the reason why there is none out.

The pool has its zygotes kept and proven, and children ready; it lets few decisions run at once and namespaces take turns,
and repeats a share of them. What comes back is judged in `verdict`; what an answer means is for others.
"""

import asyncio
import logging
from collections.abc import Sequence
from functools import partial

from flowy.wire.messages import Answer, Request
from flowy_operator.adapters.decider import proof, shadow, verdict
from flowy_operator.adapters.decider.asking import Asked, asking
from flowy_operator.adapters.decider.bounds import Bounds
from flowy_operator.adapters.decider.bytecodes import Bytecodes
from flowy_operator.adapters.decider.connections import GRACE_S, Connections, ask
from flowy_operator.adapters.decider.exchange import Exchange, Finding, Lost
from flowy_operator.adapters.decider.frames import Layout, Locks, Strictness
from flowy_operator.adapters.decider.homes import ChildHome, ContainerHome, Zygote, ZygoteHome
from flowy_operator.adapters.decider.keeper import Keeper
from flowy_operator.adapters.decider.lanes import Lane, Lanes
from flowy_operator.adapters.decider.limits import Limits
from flowy_operator.adapters.decider.ready import ReadyChildren
from flowy_operator.adapters.decider.spawn import is_set
from flowy_operator.adapters.decider.staying import Fate, OnFate, Stay, Step
from flowy_operator.adapters.decider.stepping import Stepping
from flowy_operator.adapters.decider.turns import Turn
from flowy_operator.adapters.decider.verdict import End, NoAnswer, OnEnd
from flowy_operator.core.errors import DecisionStalled, StallReason

log = logging.getLogger(__name__)

_GONE_WITHIN_S = 2.0  # from the end of a connection without an ending to the news that the zygote is dead

# A zygote for second decisions takes 20 MiB and 0.3 s to start. At the default share this keeps it where a decision is made
# each second, and lets it go where one is made each minute.
_LINGER_S = 120.0

_OUT_OF_TIME = (End.CPU, End.WALL)

_TRIES = 2  # a zygote that dies under the same decisions twice is not bad luck


def _nobody_counts(_end: End, _seconds: float) -> None:
    pass


def _nobody_hears(_fate: Fate) -> None:
    pass


class DeciderPool:
    """Decisions by processes of their own. `start` before, `close` after; both wait for the processes.

    `socket_path` is that of a decider in a container of its own; None: the operator's own child decides. `shadow_share`, from
    0 to 1, is the share of decisions that are made twice. `ended` is called for each child that was asked, unless its
    decision was cancelled; those of the self-test and of the second decision don't count. `stayed` is told what becomes of
    children that stay.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        strictness: Strictness = Strictness.REQUIRED,
        *,
        socket_path: str | None = None,
        shadow_share: float = 0.0,
        ended: OnEnd = _nobody_counts,
        stayed: OnFate = _nobody_hears,
    ) -> None:
        self._strictness = strictness
        self._ended = ended
        self._limits = Limits() if limits is None else limits
        self._lanes = Lanes(self._limits)
        self._home: ZygoteHome = (
            ChildHome(strictness) if socket_path is None else ContainerHome(socket_path, self._limits.back_s)
        )
        self._shadow_share = shadow_share
        self._first = Keeper(lambda: self._begin(Layout.PLAIN))
        self._second = Keeper(lambda: self._begin(Layout.SCRAMBLED), linger_s=_LINGER_S)
        self._connections = Connections()
        self._ready = ReadyChildren(self._limits.children_ready, self._connect_ahead)
        self._bounds = Bounds(self._staying_faults)
        self._stepping = Stepping(self._limits, self._lanes, self._ready, self._bounds, ended=ended, stayed=stayed)
        self._bytecodes = Bytecodes()

    async def start(self) -> None:
        """Have a zygote that is proven. Raises `DecisionStalled` (unavailable) if there is none."""
        try:
            await self._first.running()
            # Whether others keep a second zygote is to be known now, and not in an hour.
            if self._shadow_share and self._home.is_far:
                with self._second.in_use():
                    await self._second.running()
        except BaseException:
            await self.close()
            raise
        self._ready.fill()

    async def close(self) -> None:
        """End the zygotes and all children. Decisions in flight end as unavailable."""
        await self._ready.close()
        self._stepping.begin()
        await self._first.close()
        await self._second.close()
        self._connections.close()
        await self._home.close()

    async def decide(self, request: Request, *, namespace: str, wall_s: float) -> Answer:
        """Replay in a child of its own. `wall_s` counts from its start and not while the decision waits for its turn.

        Raises `DecisionStalled`. May be repeated: a decision changes nothing. Cancelling it kills the child.
        """
        step = self._stepping.take(request)
        if step is not None and not shadow.is_sampled(step.body, self._shadow_share):
            answer = await self._stepping.go_on(step)
            if answer is not None:
                return answer
            step = None
        try:
            asked = asking(request, namespace, wall_s, self._limits)
        except DecisionStalled:
            if step is not None:
                step.stay.exchange.close()
            raise
        if step is not None or shadow.is_sampled(asked.body, self._shadow_share):
            return await self._decide_twice(asked, step)
        return await self._decide_first(asked)

    async def _decide_first(self, asked: Asked) -> Answer:
        """With what is known of its run. What led to no answer is known no more."""
        try:
            return await self._decide(self._bytecodes.added(asked), self._first, self._ended)
        except NoAnswer:
            self._bytecodes.forget(asked)
            raise

    async def _decide_twice(self, asked: Asked, step: Step | None) -> Answer:
        """Both at once, and before anybody acts upon the first: what is recorded has been compared.

        The second one replays all, and compiles all, so that it also tells whether a step or bytecode says the same.
        """
        repeated = asyncio.create_task(self._repeat(asked), name="shadow replay")
        try:
            answer = None if step is None else await self._stepping.go_on(step)
            if answer is None:
                answer = await self._decide_first(asked)
            again = await repeated
        finally:
            repeated.cancel()
            await asyncio.wait([repeated])
        difference = None if again is None else shadow.difference(answer, again)
        return answer if difference is None else shadow.stalled(difference)

    def lets_stay(self) -> bool:
        """Whether children may stay by now: that their zygote keeps them in bounds is proven when it is first asked for."""
        return self._bounds.hold()

    def forget(self) -> None:
        """End all children that stay: the next decision of each run is a replay."""
        self._stepping.clear()

    async def _repeat(self, asked: Asked) -> Answer | None:
        """The answer of the other zygote. None if it gives none: that may be its own trouble, and proves nothing."""
        try:
            return await self._decide(asked, self._second, _nobody_counts)
        except DecisionStalled as stalled:
            log.warning("A decision could not be repeated", extra={"reason": stalled.reason, "error": str(stalled)})
            return None

    async def _decide(self, asked: Asked, keeper: Keeper, ended: OnEnd) -> Answer:
        """Where it belongs, and if it is slow after all in the slow lane."""
        run = asked.request.seed
        lane = self._lanes.of(run)
        if lane is not Lane.SLOW:
            brief = asked.brief(self._limits)
            is_all = brief.allowance == asked.allowance
            if keeper is self._first and self._stepping.is_wanted(asked.request):
                brief = brief.staying(self._limits)

            def told(end: End, seconds: float) -> None:
                ended(End.PUT_BACK if end in _OUT_OF_TIME and not is_all else end, seconds)

            try:
                return await self._decide_in(lane, brief, keeper, told)
            except NoAnswer as none:
                if is_all or none.end not in _OUT_OF_TIME:
                    raise
            if keeper is self._first:
                self._lanes.learn(run, Lane.SLOW)
        return await self._decide_in(Lane.SLOW, asked.slow(), keeper, ended)

    async def _decide_in(self, lane: Lane, asked: Asked, keeper: Keeper, ended: OnEnd) -> Answer:
        loop = asyncio.get_running_loop()
        last_words = ""
        with keeper.in_use():
            for _ in range(_TRIES):
                turn = await self._lanes.take(lane, asked.namespace)
                try:
                    zygote = await keeper.running()
                    asked_at = loop.time()
                    is_hurried = keeper is self._first and lane is not Lane.SLOW
                    exchange = (self._ready.take() if is_hurried else None) or await self._connections.to(zygote)
                except BaseException:
                    turn.end()
                    raise
                is_over = partial(self._is_over, exchange, asked, keeper, turn)
                exchange.closed.add_done_callback(is_over)
                grace_s = self._limits.stay_grace_s if asked.allowance.stay_ms else GRACE_S
                finding = await ask(exchange, asked, grace_s)
                seconds = loop.time() - asked_at
                if isinstance(finding, Lost) and await is_set(zygote.gone, _GONE_WITHIN_S):
                    ended(End.UNAVAILABLE, seconds)
                    last_words = zygote.last_words
                    continue
                try:
                    answer = verdict.judge(finding, asked.request, asked.allowance)
                except NoAnswer as none:
                    ended(none.end, seconds)
                    if asked.allowance.stay_ms:  # its answer was refused, and it may be there for long
                        exchange.close()
                    raise
                ended(End.ANSWERED, seconds)
                if keeper is self._first:
                    self._bytecodes.keep(asked, finding)
                stay = Stay(exchange, asked.request, asked.allowance, asked.namespace, len(asked.body))
                self._stepping.leave_or_keep(finding, answer, stay, turn, is_over)
                return answer
        raise DecisionStalled(
            StallReason.UNAVAILABLE, f"The decider's zygote died during the decision, and again {last_words}".rstrip()
        )

    def _is_over(self, exchange: Exchange, asked: Asked, keeper: Keeper, turn: Turn, _: object) -> None:
        """The child is reaped, which may be after its answer is known. A second decision teaches nothing about the run."""
        turn.end()
        # While others decide, a child that is made ahead is made in their way: they have to wait for the fork, and for what it
        # does to get warm. In the end that was more work than it saved.
        if self._lanes.are_calm:
            self._ready.fill()
        used = exchange.after_answer
        if used is not None and keeper is self._first:
            is_fast = used.cpu_ms <= asked.brief(self._limits).allowance.cpu_ms
            self._lanes.learn(asked.request.seed, Lane.FAST if is_fast else Lane.SLOW)

    async def _connect_ahead(self) -> Exchange:
        return await self._connections.to(await self._first.running())

    async def _begin(self, layout: Layout) -> Zygote:
        """A zygote that has proven its locks. One that has not decides nothing."""
        if layout is Layout.PLAIN:
            self._ready.drop()  # those of the one before
            self._stepping.begin()
            self._bytecodes.clear()
        zygote = await self._home.start(layout, self._limits.start_s)
        try:
            proof.report(zygote.locks, layout)
            await proof.prove(zygote, self._strictness, self._limits, partial(self._tried_by, zygote))
        except BaseException:
            await zygote.close()
            raise
        return zygote

    async def _staying_faults(self) -> Sequence[str]:
        return await proof.staying_faults(self._limits, self._connect_ahead)

    async def _tried_by(self, zygote: Zygote, asked: Asked) -> Finding:
        return await ask(await self._connections.to(zygote), asked)

    @property
    def zygote_pid(self) -> int | None:
        """The present zygote, for whoever reads its memory and CPU from /proc."""
        return None if self._first.present is None else self._first.present.pid

    @property
    def shadow_pid(self) -> int | None:
        """The present zygote for second decisions."""
        return None if self._second.present is None else self._second.present.pid

    @property
    def locks(self) -> Locks | None:
        """What the present zygote is locked by."""
        return None if self._first.present is None else self._first.present.locks
