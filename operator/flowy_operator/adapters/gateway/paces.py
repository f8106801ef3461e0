"""How fast somebody may ask: what comes faster is held back, and not refused.

Who asks in a loop without a pause gets slower, and the operator doesn't get busier.
"""

from collections import OrderedDict
from collections.abc import Callable

REMEMBERED = 20_000


class Paces:
    """Each may do `burst` things at once, and gains `per_s` of them a second. `clock` gives seconds that only rise."""

    def __init__(self, clock: Callable[[], float], *, per_s: float, burst: int) -> None:
        self._clock = clock
        self._each_s = 1 / per_s
        self._saved_s = (burst - 1) / per_s
        self._free_at: OrderedDict[str, float] = OrderedDict()

    def wait_s(self, who: str) -> float:
        """Count one more thing, and say how long it is to be held back: 0 for most."""
        now = self._clock()
        free_at = max(self._free_at.get(who, 0.0), now - self._saved_s)
        self._free_at[who] = free_at + self._each_s
        self._free_at.move_to_end(who)
        if len(self._free_at) > REMEMBERED:
            self._free_at.popitem(last=False)
        return max(free_at - now, 0.0)
