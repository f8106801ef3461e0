"""Decisions by children that have stayed behind the one before: a step each, or nothing, and then a replay takes its place."""

import asyncio
import contextlib
from collections.abc import Callable

from flowy.wire.messages import Answer, Outcome, Request
from flowy_operator.adapters.decider import verdict
from flowy_operator.adapters.decider.bounds import Bounds
from flowy_operator.adapters.decider.connections import found
from flowy_operator.adapters.decider.exchange import Finding, Said
from flowy_operator.adapters.decider.lanes import Lane, Lanes
from flowy_operator.adapters.decider.limits import Limits
from flowy_operator.adapters.decider.ready import ReadyChildren
from flowy_operator.adapters.decider.staying import Fate, OnFate, Stay, StayingChildren, Step, may_stay
from flowy_operator.adapters.decider.turns import Turn
from flowy_operator.adapters.decider.verdict import End, NoAnswer, OnEnd


class Stepping:
    """Whoever is `ready` is filled up when a step is over. `ended` and `stayed` are those of the pool."""

    def __init__(
        self, limits: Limits, lanes: Lanes, ready: ReadyChildren, bounds: Bounds, *, ended: OnEnd, stayed: OnFate
    ) -> None:
        self._limits = limits
        self._lanes = lanes
        self._ready = ready
        self._ended = ended
        self._stayed = stayed
        self._staying = StayingChildren(limits, stayed)
        self._bounds = bounds

    def is_wanted(self, request: Request) -> bool:
        """Whether the child of this decision is to stay."""
        return (
            self._limits.staying_children > 0
            and len(request.records) >= self._limits.staying_records
            and may_stay(request)
            and not self._staying.is_large(request.seed)
            and self._bounds.hold()
        )

    def take(self, request: Request) -> Step | None:
        """The step to this request, if a child has stayed that it continues: `go_on` with it, or close its exchange."""
        return self._staying.take(request)

    def begin(self) -> None:
        """Do without all that have stayed, since there is a new zygote, and prove anew that it keeps them in bounds."""
        self.clear()
        self._bounds.begin()

    def clear(self) -> None:
        """End all that stay: the next decision of each run is a replay."""
        self._staying.clear()

    async def go_on(self, step: Step) -> Answer | None:
        """The answer of a child that stayed. None if it comes to anything else: a replay says what is right."""
        stay, loop = step.stay, asyncio.get_running_loop()
        exchange = stay.exchange
        try:
            turn = await self._lanes.take(Lane.FAST, stay.namespace)
        except BaseException:
            exchange.close()
            raise

        def is_over(_: object) -> None:
            turn.end()

        exchange.closed.add_done_callback(is_over)
        if not exchange.is_waiting:
            exchange.close()
            self._stayed(Fate.ENDED)
            return None
        asked_at = loop.time()
        within_s = stay.allowance.wall_ms / 1000 + self._limits.stay_grace_s
        exchange.ask_again(step.body, stay.allowance.answer_bytes, within_s)
        finding = await found(exchange)
        answer = None
        if isinstance(finding, Said):
            with contextlib.suppress(NoAnswer):
                answer = verdict.judge(finding, step.request, stay.allowance)
        # That it left its history is a thing to be told by a replay, which has seen all of it.
        if answer is None or answer.outcome is Outcome.STALLED:
            exchange.close()
            turn.end()
            if verdict.was_too_large(finding):
                self._staying.was_too_large(stay)
            else:
                self._stayed(Fate.GAVE_UP if verdict.gave_up(finding) else Fate.ENDED)
            return None
        self._ended(End.ANSWERED, loop.time() - asked_at)
        self._stayed(Fate.WENT_ON)
        self.leave_or_keep(finding, answer, step.done(), turn, is_over)
        return answer

    def leave_or_keep(
        self, finding: Finding, answer: Answer, stay: Stay, turn: Turn, is_over: Callable[[object], None]
    ) -> None:
        """Keep the child if it has stayed, and waits for the next decision of its run. Else it ends by itself.

        `is_over` is what was to be done at its end, with all that this decision was about.
        """
        if not isinstance(finding, Said) or not finding.stays:
            return
        # Only code that answers by itself stays unasked, or behind an end. And its zygote may be another one than that for which
        # it was asked to stay.
        if not stay.allowance.stay_ms or answer.outcome is not Outcome.SUSPENDED or not self._bounds.hold():
            stay.exchange.close()
            return
        stay.exchange.closed.remove_done_callback(is_over)
        turn.end()
        self._lanes.learn(stay.request.seed, Lane.FAST)
        self._staying.keep(stay)
        if self._lanes.are_calm:
            self._ready.fill()
