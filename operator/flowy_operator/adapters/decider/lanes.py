"""Three lanes: for decisions that are soon over, for those that are not, and for those of which nobody knows yet.

Slow code can't be told by its looks. So what is new gets little time; if that does not do, it is made again in the slow
lane, with all of its time and a low priority. From then on the run's decisions begin in the lane where the last one showed
them to belong. Each lane has slots of its own: whoever comes with loops without end fills up the slow lane, whoever comes
with ever new ones the lane for new ones, and decisions that are known to be fast notice neither.
"""

from enum import Enum

from flowy_operator.adapters.decider.limits import Limits
from flowy_operator.adapters.decider.turns import Turn, Turns

_MOST = 10_000  # runs that are remembered; one that is forgotten is a new one


class Lane(Enum):
    NEW = "new"
    FAST = "fast"
    SLOW = "slow"


class Lanes:
    """Which run belongs in which lane, and the turns of each."""

    def __init__(self, limits: Limits) -> None:
        self._turns = {
            Lane.NEW: Turns(limits.new_children, limits.new_children_per_namespace),
            Lane.FAST: Turns(limits.children, limits.children_per_namespace),
            Lane.SLOW: Turns(limits.slow_children, limits.slow_children_per_namespace),
        }
        self._known: dict[str, Lane] = {}  # in the order of the last decisions

    def of(self, run: str) -> Lane:
        """Where its next decision begins."""
        return self._known.get(run, Lane.NEW)

    def learn(self, run: str, lane: Lane) -> None:
        self._known.pop(run, None)
        self._known[run] = lane
        if len(self._known) > _MOST:
            del self._known[next(iter(self._known))]

    @property
    def are_calm(self) -> bool:
        """Whether no decision is made that is not slow, nor waits for its turn."""
        return all(turns.are_idle for lane, turns in self._turns.items() if lane is not Lane.SLOW)

    async def take(self, lane: Lane, namespace: str) -> Turn:
        """Wait for a turn in this lane."""
        return await self._turns[lane].take(namespace)
