"""Whose turn it is: few decisions at once, shared fairly between namespaces.

First come, first served would let one namespace with a thousand workflows keep all others waiting. Here each namespace
has its own line, and the lines are served in turn.
"""

import asyncio
from collections import Counter, deque


class Turn:
    """One slot, held until `end`, which may be called again without effect."""

    def __init__(self, turns: "Turns", namespace: str) -> None:
        self._turns = turns
        self._namespace = namespace
        self._ended = False

    def end(self) -> None:
        if not self._ended:
            self._ended = True
            self._turns._give_back(self._namespace)  # noqa: SLF001 - the two classes are one concept


class Turns:
    """At most `total` turns at once, at most `per_namespace` of them in one namespace."""

    def __init__(self, total: int, per_namespace: int) -> None:
        self._free = total
        self._per_namespace = per_namespace
        self._held: Counter[str] = Counter()
        self._lines: dict[str, deque[asyncio.Future[Turn]]] = {}  # in the order in which they are served next

    @property
    def are_idle(self) -> bool:
        """Whether nobody holds a turn, or waits for one."""
        return not self._held and not self._lines

    async def take(self, namespace: str) -> Turn:
        """Wait for a turn. Cancellation leaves the line, or gives back a turn that was just granted."""
        place: asyncio.Future[Turn] = asyncio.get_running_loop().create_future()
        self._lines.setdefault(namespace, deque()).append(place)
        self._serve()
        try:
            return await place
        except asyncio.CancelledError:
            if place.cancelled():
                self._leave(namespace, place)
            else:
                place.result().end()
            raise

    def _give_back(self, namespace: str) -> None:
        self._free += 1
        self._held[namespace] -= 1
        if not self._held[namespace]:
            del self._held[namespace]  # namespaces come and go; the counter must not remember them all
        self._serve()

    def _leave(self, namespace: str, place: asyncio.Future[Turn]) -> None:
        line = self._lines.get(namespace)
        if line is not None and place in line:
            line.remove(place)
            if not line:
                del self._lines[namespace]

    def _serve(self) -> None:
        while self._free:
            namespace = next((name for name in self._lines if self._held[name] < self._per_namespace), None)
            if namespace is None:
                return
            line = self._lines.pop(namespace)
            place = line.popleft()
            if line:
                self._lines[namespace] = line  # at the back: the others come first now
            if place.cancelled():
                continue
            self._free -= 1
            self._held[namespace] += 1
            place.set_result(Turn(self, namespace))
