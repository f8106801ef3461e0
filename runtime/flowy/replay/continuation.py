"""How a suspended decision goes on: which calls further results make ready, and when the code itself must run again.

Up to its barrier the code has seen nothing that isn't final, so a replay over more results makes the same calls with the same
arguments, and a call whose pending arguments are there now can be made from what the decision knows of it. The code must
run again when its barrier may pass, when a race may be decided, and after an error, which may be all that was needed. So a
chain of a thousand calls, or a thousand results that one call waits for, cost two replays and not a thousand.

For one process that decides and goes on, as the local engine does. The operator asks anew each time: it may be another one.
"""

from collections.abc import Sequence

from flowy.errors import ValueRefused
from flowy.replay.barrier import Suspended
from flowy.replay.history import Past
from flowy.replay.result import Pending, Race
from flowy.replay.run import Kept, Run
from flowy.wire.messages import AnsweredCall, Record


class Continuation:
    """What one suspended decision waits for, less what has come since.

    `ready` holds the calls that may be launched, in the order of the code: those of the decision that are not taken yet, and
    those that results have made ready.
    """

    def __init__(self, run: Run) -> None:
        self._order: dict[str, tuple[int, int]] = {}
        self._pasts = {record.key: Past(record) for record in run.records}
        self._waiting: dict[str, list[_Group]] = {}
        self._races: set[str] = set()  # the keys of all that take part in one
        self._known_races: set[int] = set()  # by id, which only tells them apart
        self.ready: list[AnsweredCall] = list(run.calls)
        for place, call in enumerate(run.calls):
            self._order[call.key] = (place, 0)
        for place, kept in enumerate(run.kept, 1):
            self._order[kept.key] = (kept.after - 1, place)
            self._add(kept.walked.pending, kept)
        self._add(run.end.pending if isinstance(run.end, Suspended) else (), None)

    def goes_on(self, record: Record) -> bool:
        """Take a completed call into account: it may add to `ready`. False if the code must run again."""
        key = record.key
        self._pasts[key] = Past(record)
        if key in self._races:
            return False
        for group in self._waiting.pop(key, ()):
            group.missing -= 1
            if not group.missing and not self._is_made(group.call):
                return False
        return True

    def _is_made(self, call: Kept | None) -> bool:
        if call is None or not call.walked.is_fillable:
            return False
        try:
            answered = call.answered(self._pasts.__getitem__)
        except ValueRefused:
            return False  # the code fails there, and says where
        self.ready.append(answered)
        self.ready.sort(key=lambda ready: self._order[ready.key])
        return True

    def _add(self, pending: Sequence[Pending], call: Kept | None) -> None:
        """Take note of results that are needed together: by a call, or by the barrier."""
        races = [state for state in pending if isinstance(state, Race)]
        self._look_into(races)
        if not races:
            keys = dict.fromkeys(state.key for state in pending)
            group = _Group(len(keys), call)
            for key in keys:
                self._waiting.setdefault(key, []).append(group)

    def _look_into(self, races: Sequence[Race]) -> None:
        """Take note of all that take part in races, and in the races in them."""
        ahead = list(races)
        while ahead:
            race = ahead.pop()
            if id(race) in self._known_races:
                continue
            self._known_races.add(id(race))
            for member in race.waits_for:
                if isinstance(member, Race):
                    ahead.append(member)
                else:
                    self._races.add(member.key)


class _Group:
    """Results that are needed together."""

    __slots__ = ("call", "missing")

    def __init__(self, missing: int, call: Kept | None) -> None:
        self.missing = missing
        self.call = call
