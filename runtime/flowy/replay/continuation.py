"""How a suspended decision goes on: which calls further results make ready, and when the code itself must run again.

`needs.py` says which results are needed together. A call whose pending arguments are there now can be made from what the
decision knows of it; the code must run again when its barrier may pass, when a race may be decided, and after an error. So
a chain of a thousand calls, or a thousand results that one call waits for, cost two replays and not a thousand.

For one process that decides and goes on, as the local engine does. The operator, which may be another one by then, is told
with the answer what was needed, and asks when it is there.
"""

from flowy.errors import ValueRefused
from flowy.replay.calls import Kept
from flowy.replay.history import Past
from flowy.replay.needs import groups
from flowy.replay.run import Run
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
        self.ready: list[AnsweredCall] = list(run.calls)
        for place, call in enumerate(run.calls):
            self._order[call.key] = (place, 0)
        for place, kept in enumerate(run.kept, 1):
            self._order[kept.key] = (kept.after - 1, place)
        for keys, made in groups(run):
            group = _Group(len(keys), made)
            for key in keys:
                self._waiting.setdefault(key, []).append(group)

    def goes_on(self, record: Record) -> bool:
        """Take a completed call into account: it may add to `ready`. False if the code must run again."""
        key = record.key
        self._pasts[key] = Past(record)
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


class _Group:
    """Results that are needed together."""

    __slots__ = ("call", "missing")

    def __init__(self, missing: int, call: Kept | None) -> None:
        self.missing = missing
        self.call = call
