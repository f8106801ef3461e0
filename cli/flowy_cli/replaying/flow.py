"""The decisions of a long run, told from one replay over all of its history instead of one for each of them.

What code has done up to a decision, it does again whatever follows. So a replay over everything makes the calls of every
decision on its way, and its trace tells after which outcomes each of them came: those that the code had looked at, and those
that its arguments hold. A chain of n steps costs one replay, and not n of them over n records.

Two things are told more briefly than by a replay of each decision: of what the code waited for, the first is named, and of a
race the one who won it; and what the code prints comes with the last decision.
"""

import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from flowy.wire.messages import Answer, AnsweredCall, AnsweredWait, Outcome, Request, Trace, TracedCall
from flowy_cli.replaying.decider import Decide
from flowy_cli.replaying.points import Point, is_outcome
from flowy_operator.core.history import Event, TaskCompleted

ARGUMENTS_BYTES = 2 << 20
"""Of the arguments in one answer. A decider takes no answer of more than 4 MiB, and a trace has to fit beside them."""

_NEVER = math.inf


def calls_of_all(request: Request, answer: Answer, decide: Decide) -> dict[str, AnsweredCall]:
    """Of all recorded calls, with those that the answer schedules, by key; as many at a time as an answer holds."""
    found = {call.key: call for call in [*answer.scheduled, *answer.repeated]}
    missing = [record.key for record in request.records if record.key not in found]
    while missing:
        repeated = decide(replace(request, wanted=tuple(missing), max_bytes=ARGUMENTS_BYTES)).repeated
        if not repeated:
            break  # the replay doesn't come so far
        found |= {call.key: call for call in repeated}
        missing = [key for key in missing if key not in found]
    return found


class Flow:
    """The calls of one replay over everything, and how many events had to be known for each."""

    def __init__(
        self, events: Sequence[Event], answer: Answer, trace: Trace, calls: Mapping[str, AnsweredCall]
    ) -> None:
        self._answer = answer
        self._trace = trace
        self._traced = {call.key: call for call in trace.calls}
        self._places = {call.key: place for place, call in enumerate(trace.calls)}
        # How many events had to be known for the outcome of a call; one that carries an error has that of its argument.
        self._outcome_at: dict[str, float] = {}
        self._failed: set[str] = set()
        for number, event in enumerate(events, 1):
            if is_outcome(event):
                key = str(getattr(event.fact, "task", ""))
                self._outcome_at[key] = number
                if not isinstance(event.fact, TaskCompleted):
                    self._failed.add(key)
        self._ready_at: dict[str, float] = {}
        self._stands: list[_Stand] = []
        self._go_through()
        ready = [calls[key] for key, at in self._ready_at.items() if at < _NEVER and key in calls]
        self._ahead = deque(sorted(ready, key=lambda call: self._ready_at[call.key]))
        self._passed = 0

    def answer(self, point: Point) -> Answer | None:
        """What a replay at this decision would answer; None if only that can tell. To be asked for one after the other."""
        if not all(self._is_made(event, point) for event in point.recorded):
            return None
        if point.is_last:
            # Of an open run, calls may stand on record after the last decision: the replay over everything takes them as known.
            is_whole = self._answer.outcome is not Outcome.STALLED and not self._answer.more and not point.recorded
            return replace(self._answer, repeated=(), trace=None) if is_whole else None
        scheduled = []
        while self._ahead and self._ready_at[self._ahead[0].key] <= point.known:
            scheduled.append(self._ahead.popleft())
        scheduled.sort(key=lambda call: self._places[call.key])
        while self._passed < len(self._stands) and self._stands[self._passed].until <= point.known:
            self._passed += 1
        if self._passed < len(self._stands):
            waits = self._waits_at(self._stands[self._passed], point.known)
        else:  # at the barrier at which it still stands: nobody has looked past that
            waits = [wait for wait in self._answer.waiting_on if self._ready_at[wait.key] <= point.known]
            if not waits:
                return None
        return Answer(outcome=Outcome.SUSPENDED, scheduled=scheduled, waiting_on=waits)

    def _is_made(self, event: Event, point: Point) -> bool:
        return self._ready_at.get(str(getattr(event.fact, "task", "")), _NEVER) <= point.known

    def _go_through(self) -> None:
        """Find when the code came to each call, and where it stood until when."""
        here, looked = 0.0, 0
        *_, last = [None, *self._trace.calls]
        for call in self._trace.calls:
            for look in self._trace.looks[looked : call.looks]:
                here = self._stand(look.key, look.line, here)
            looked = max(looked, call.looks)
            is_odd = call is last and self._answer.outcome is Outcome.STALLED  # as likely as not the one that deviates
            self._ready_at[call.key] = _NEVER if is_odd else max(here, self._completed_at(call))
        for look in self._trace.looks[looked:]:
            here = self._stand(look.key, look.line, here)
        for key in self._trace.returned:
            here = self._stand(key, None, here)

    def _stand(self, key: str, line: int | None, here: float) -> float:
        until = self._known_at(key)
        if until > here:
            self._stands.append(_Stand(key, line, until))
        return max(here, until)

    def _completed_at(self, call: TracedCall) -> float:
        """When its arguments were there: never, if one of them is an error, which it then carries."""
        failed = [key for key in call.takes if key in self._failed]
        if failed:
            self._failed.add(call.key)
            self._outcome_at[call.key] = min(map(self._known_at, failed))
            return _NEVER
        return max(map(self._known_at, call.takes), default=0.0)

    def _known_at(self, key: str) -> float:
        return self._outcome_at.get(key, _NEVER)

    def _waits_at(self, stand: "_Stand", known: int) -> Sequence[AnsweredWait]:
        """The open task that the pending outcome depends on, or the one of several that it depends on for the longest."""
        if not stand.path:
            stand.path.extend(self._path(stand.key))
        # Calls are finished from the far end of the path to its beginning.
        while len(stand.path) > 1 and self._known_at(stand.path[-1]) <= known:
            stand.path.pop()
        key = stand.path[-1]
        return (AnsweredWait(key=key, line=self._traced[key].line if stand.line is None else stand.line),)

    def _path(self, key: str) -> Iterator[str]:
        """The call, what kept it waiting, what kept that waiting."""
        yield key
        while takes := self._traced[key].takes:
            failed = [taken for taken in takes if taken in self._failed]
            key = min(failed, key=self._known_at) if failed else max(takes, key=self._known_at)
            yield key


@dataclass(frozen=True, slots=True)
class _Stand:
    """Where the code waited for the outcome of `key`, until so many events were known."""

    key: str
    line: int | None
    until: float
    path: list[str] = field(default_factory=list)


def flow_of(request: Request, events: Sequence[Event], decide: Decide) -> Flow | None:
    """Replay once over everything; None if that shows no flow."""
    keys = tuple(record.key for record in request.records)
    answer = decide(replace(request, traced=True, wanted=keys, max_bytes=ARGUMENTS_BYTES))
    if answer.trace is None:
        return None
    return Flow(events, answer, answer.trace, calls_of_all(request, answer, decide))
