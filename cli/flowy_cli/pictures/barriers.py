"""What the code waited for, as nodes of a graph: a call after a look may be there because of what the look showed.

Nobody can tell which of the values that the code looked at mattered, so all count: a call comes after every look before
it. Most of that is said already: by results that went into the call, by an earlier barrier. What isn't becomes an arrow
from the one call that was looked at, or a barrier that gathers several.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from flowy_cli.pictures.execution import Execution


@dataclass(frozen=True, slots=True)
class Barrier:
    """A place where the code had looked at the outcomes of `keys`, and of all that came before the barrier `before`."""

    keys: Sequence[str]
    before: int | None
    line: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """`barriers` in the order of the code; `after` says what a call comes after, beside the results that it takes.

    That is the key of a call, or the index of a barrier. Calls that come after nothing else aren't there.
    """

    barriers: Sequence[Barrier] = ()
    after: Mapping[str, str | int] = field(default_factory=dict)


def order_of(execution: Execution) -> Order:
    """Find the barriers of an execution, leaving out whatever follows from others."""
    return _Finder(execution).order()


class _Finder:
    def __init__(self, execution: Execution) -> None:
        self._execution = execution
        # Sets of calls as the bits of a number: a run of 10,000 calls has 10,000 such sets.
        self._bit = {call.key: 1 << n for n, call in enumerate(execution.calls)}
        self._above: dict[str, int] = {}  # the call itself, and all that must have been there before it
        self._barriers: list[Barrier] = []
        self._above_barrier: list[int] = []
        self._after: dict[str, str | int] = {}

    def order(self) -> Order:
        looks = self._execution.looks
        point: str | int | None = None  # where the code is: after a call, after a barrier
        looked = 0
        for call in self._execution.calls:
            if call.looks > looked:
                point = self._moved(
                    [look.key for look in looks[looked : call.looks]], point, looks[call.looks - 1].line
                )
                looked = call.looks
            own = self._bit[call.key] | self._union(call.takes)
            above = self._above_of(point)
            if point is not None and above & ~own:
                self._after[call.key] = point
            self._above[call.key] = own | above
        return self._order()

    def _moved(self, keys: Sequence[str], point: str | int | None, line: int | None) -> str | int | None:
        """Where the code is after it has looked at these too."""
        above = self._above_of(point)
        new = [key for key in keys if not self._bit[key] & above]
        implied = 0  # by others of them
        for key in new:
            implied |= self._above[key] & ~self._bit[key]
        last = [key for key in new if not self._bit[key] & implied]
        if not last:
            return point
        covered = self._union(last)
        before = point if above & ~covered else None
        if len(last) == 1 and before is None:
            return last[0]
        if isinstance(before, str):
            last, before = [before, *last], None
        self._barriers.append(Barrier(tuple(last), before, line))
        self._above_barrier.append(covered | above)
        return len(self._barriers) - 1

    def _union(self, keys: Iterable[str]) -> int:
        found = 0
        for key in keys:
            found |= self._above[key]
        return found

    def _above_of(self, point: str | int | None) -> int:
        match point:
            case None:
                return 0
            case int():
                return self._above_barrier[point]
            case str():
                return self._above[point]

    def _order(self) -> Order:
        """Without barriers that nothing comes after."""
        used = {point for point in self._after.values() if isinstance(point, int)}
        for n in reversed(range(len(self._barriers))):
            before = self._barriers[n].before
            if n in used and before is not None:
                used.add(before)
        place = {n: place for place, n in enumerate(sorted(used))}
        kept = [self._barriers[n] for n in place]
        barriers = [replace(b, before=None if b.before is None else place[b.before]) for b in kept]
        after = {key: place[point] if isinstance(point, int) else point for key, point in self._after.items()}
        return Order(barriers=tuple(barriers), after=after)
