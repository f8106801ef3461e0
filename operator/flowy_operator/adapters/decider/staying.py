"""Children that stayed at their barrier: the next decision of such a run is a step, if its history goes on from there.

A cache and nothing else: whatever is here may go at any time, and a replay takes its place. How many there are is bounded,
since each holds memory; who finds no room takes that of the namespace that has the most, which may be
its own, and there of the child that was used least recently. So nobody is pushed out by another who has more than he.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from flowy.wire.messages import MalformedMessage, Record, RecordState, Request, encode_step
from flowy_operator.adapters.decider.exchange import Exchange
from flowy_operator.adapters.decider.frames import Allowance
from flowy_operator.adapters.decider.limits import Limits

MOST_BYTES = 1 << 20
"""Of what a child has been sent: the operator keeps the last request of each to compare the next one with."""


class Fate(StrEnum):
    """What came of a child that stayed. The values are labels of a metric."""

    WENT_ON = "went-on"  # it answered a step; told for each
    GAVE_UP = "gave-up"  # what had happened took a replay
    ENDED = "ended"  # for want of CPU or memory, or of old age
    TOO_LARGE = "too-large"  # to be kept
    EVICTED = "evicted"  # to make room
    OUTDATED = "outdated"  # the decision was about something else than the continuation of its own


_MOST_LARGE = 1000  # runs that are remembered

OnFate = Callable[[Fate], None]


@dataclass(frozen=True, slots=True)
class Stay:
    """A child at its barrier, and what it knows: `request`, of which `sent_bytes` were encoded."""

    exchange: Exchange
    request: Request
    allowance: Allowance
    namespace: str
    sent_bytes: int
    steps: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """What the child of `stay` is to be given so that it knows `request`."""

    stay: Stay
    request: Request
    body: bytes

    def done(self) -> Stay:
        """The child, when it has gone on and stays again."""
        old = self.stay
        sent_bytes = old.sent_bytes + len(self.body)
        return Stay(old.exchange, self.request, old.allowance, old.namespace, sent_bytes, old.steps + 1)


class StayingChildren:
    """By the run that they belong to. `told` hears what becomes of each."""

    def __init__(self, limits: Limits, told: OnFate) -> None:
        self._limits = limits
        self._told = told
        self._stays: dict[str, Stay] = {}  # in the order of their last use
        self._large: dict[str, None] = {}  # runs whose children are too large at their first barrier

    def is_large(self, run: str) -> bool:
        """Whether a child of this run would take the place of another one for nothing."""
        return run in self._large

    def was_too_large(self, stay: Stay) -> None:
        """Take note of its end. Of one that has become so in many steps, the next one begins anew."""
        self._told(Fate.TOO_LARGE)
        if not stay.steps:
            self._large[stay.request.seed] = None
            if len(self._large) > _MOST_LARGE:
                del self._large[next(iter(self._large))]

    def keep(self, stay: Stay) -> None:
        """Take it in, or end it: it may be the one for which there is no room."""
        exchange, run = stay.exchange, stay.request.seed
        if stay.sent_bytes > MOST_BYTES or not exchange.is_waiting:
            exchange.close()
            return
        if not exchange.has_stayed:  # once, and not for each of its steps
            # Its own timer can't end it while it is stopped.
            age = asyncio.get_running_loop().call_later(self._limits.stay_s, exchange.close)
            exchange.closed.add_done_callback(partial(self._is_gone, run, exchange, age))
        exchange.rest(self._limits.staying_bytes(len(stay.request.records)))
        before = self._stays.pop(run, None)
        if before is not None:
            before.exchange.close()
        self._stays[run] = stay
        while len(self._stays) > self._limits.staying_children:
            self._evict()

    def take(self, request: Request) -> Step | None:
        """Hand out the child of this run, if it is there and the request continues what it knows."""
        stay = self._stays.pop(request.seed, None)
        if stay is None:
            return None
        fate, changed = Fate.OUTDATED, _changed(stay.request, request) if stay.exchange.is_waiting else None
        if changed is not None:
            fate = Fate.GAVE_UP
            with suppress(MalformedMessage):  # the replay fails at the same, and says so
                body = encode_step(changed)
                # A step that is longer than a request may be would decide what no replay could.
                if stay.sent_bytes + len(body) <= MOST_BYTES:
                    return Step(stay, request, body)
        stay.exchange.close()
        self._told(fate)
        return None

    def clear(self) -> None:
        """End them all."""
        while self._stays:
            self._stays.popitem()[1].exchange.close()
        self._large.clear()

    def _evict(self) -> None:
        held = Counter(stay.namespace for stay in self._stays.values())
        most = max(held.values())
        run = next(run for run, stay in self._stays.items() if held[stay.namespace] == most)
        self._stays.pop(run).exchange.close()
        self._told(Fate.EVICTED)

    def _is_gone(self, run: str, exchange: Exchange, age: asyncio.TimerHandle, _: object) -> None:
        age.cancel()
        stay = self._stays.get(run)
        if stay is None or stay.exchange is not exchange:
            return
        del self._stays[run]
        if exchange.was_too_large:
            self.was_too_large(stay)
        else:
            self._told(Fate.ENDED)


def may_stay(request: Request) -> bool:
    """Whether the child of this request could be given a step: it repeats no calls, and draws no picture."""
    return not request.wanted and not request.traced


def _changed(before: Request, now: Request) -> Sequence[Record] | None:
    """The records that are new or other than before, None if `now` is not `before` with outcomes and calls added."""
    if not may_stay(now) or _frame(before) != _frame(now) or len(now.records) < len(before.records):
        return None
    changed = []
    for old, new in zip(before.records, now.records, strict=False):
        if old is not new and old != new:
            if old.state is not RecordState.RUNNING or (old.key, old.digest, old.line) != (
                new.key,
                new.digest,
                new.line,
            ):
                return None
            changed.append(new)
    changed += now.records[len(before.records) :]
    return changed


def _frame(request: Request) -> tuple[object, ...]:
    """All of a request but its records. `wanted` may have been asked before: a child that repeated calls knows no less."""
    return (
        request.source,
        request.entrypoint,
        tuple(request.tasks),
        request.input,
        request.seed,
        request.started_at,
        request.max_calls,
        request.max_bytes,
    )
