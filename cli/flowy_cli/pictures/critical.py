"""The critical path: the calls without whose time the run would have been shorter.

From the end backwards: of what had to be there, that which was there last. What a call needed are the results that it took
and the outcomes that the code had looked at before. Time that none of this explains, such as a place in the queue of
`parallelism`, stays a gap.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from flowy_cli.pictures.execution import Call, Execution, Standing


def critical_path(execution: Execution) -> Sequence[str]:
    """The keys of the calls on it, first call first. Empty if nothing was launched."""
    calls = {call.key: call for call in execution.calls}
    looks = [look.key for look in execution.looks]
    last = _last(calls, [*execution.returned, *looks, *execution.waiting_on] or calls, execution.until)
    found: list[str] = []
    while last is not None and last.scheduled_at is not None:
        found.append(last.key)
        last = _last(calls, [*last.takes, *looks[: last.looks]], last.scheduled_at)
    return found[::-1]


def _last(calls: Mapping[str, Call], keys: Iterable[str], until: datetime) -> Call | None:
    """Of these calls the one that was there last at that time; an open one is there at the end only.

    Of several, one that brought something rather than one that was cancelled just then; else the one that took longest.
    """
    found: Call | None = None
    best: tuple[datetime, bool, timedelta] | None = None
    for call in _launched(calls, keys):
        if call.scheduled_at is None or call.scheduled_at > until:
            continue
        finished_at = call.finished_at or until
        rank = (finished_at, call.standing is not Standing.CANCELLED, finished_at - call.scheduled_at)
        if finished_at <= until and (best is None or rank > best):
            found, best = call, rank
    return found


def _launched(calls: Mapping[str, Call], keys: Iterable[str]) -> Iterator[Call]:
    """The calls themselves; of one that was never launched, those whose results it wanted."""
    ahead, seen = list(keys), set()
    while ahead:
        key = ahead.pop()
        call = calls.get(key)
        if call is None or key in seen:
            continue
        seen.add(key)
        if call.standing is Standing.CALLED:
            ahead += call.takes
        else:
            yield call
