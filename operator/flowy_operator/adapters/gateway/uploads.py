"""Whose results are taken at a time: one takes as much as a thousand heartbeats, so they are few, and each pod's are seldom."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from flowy_operator.adapters.gateway.answers import AGAIN, Refused, RefusedLate
from flowy_operator.adapters.gateway.paces import Paces
from flowy_operator.core.attempts import Caller

PER_POD_S = 0.2
BURST = 4
"""Uploads a second of one pod, and how many it may save up. An attempt has one, which may have to be sent again."""

UPLOAD_S = 30.0
"""From when its turn has come to its answer. A body of 1 MiB needs a tenth of a second; slower than 35 KiB/s is refused."""

AT_ONCE = 32
"""Bodies that are read at a time, or wait to be checked: each takes up to 5 MiB of memory on its way."""

OF_A_NAMESPACE = AT_ONCE // 2


class Uploads:
    """Those that are under way. `clock` gives seconds that only rise."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._paces = Paces(clock, per_s=PER_POD_S, burst=BURST)
        self._pods: set[str] = set()
        self._reading: Counter[str] = Counter()  # by namespace

    @contextmanager
    def announced(self, caller: Caller) -> Iterator[float]:
        """Be this pod's only upload; gives how long it is to be held back. Raises RefusedLate."""
        if caller.uid in self._pods:
            raise RefusedLate(429, "this pod is uploading a result already: wait for the answer", AGAIN)
        self._pods.add(caller.uid)
        try:
            yield self._paces.wait_s(caller.uid)
        finally:
            self._pods.discard(caller.uid)

    @contextmanager
    def reading(self, caller: Caller) -> Iterator[None]:
        """Be one of those whose bodies are read. Raises Refused."""
        if self._reading.total() >= AT_ONCE:
            raise Refused(503, "many results are being uploaded: try again", AGAIN)
        if self._reading[caller.namespace] >= OF_A_NAMESPACE:
            raise Refused(503, "many results of this namespace are being uploaded: try again", AGAIN)
        self._reading[caller.namespace] += 1
        try:
            yield
        finally:
            self._reading[caller.namespace] -= 1
            self._reading += Counter()  # drops what is zero
