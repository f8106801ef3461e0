"""What one process holds of several Leases, so that it leaves to others what it needs less than they do."""

import asyncio
from collections.abc import Callable

SPARE_SHARE = 1 / 3
"""For so long, times the shards it holds, a process leaves a free one to others. Who has none takes it at its next look."""


class Hands:
    """Its Leases look for what is free one after the other, by `turn`, so that the first to be taken counts."""

    def __init__(self) -> None:
        self.turn = asyncio.Lock()
        self._holds: list[Callable[[], bool]] = []

    def join(self, holds: Callable[[], bool]) -> None:
        """Count one more Lease as held while `holds` says so."""
        self._holds.append(holds)

    def spare_s(self, duration_s: float) -> float:
        """For how many seconds one that is free is left to those who hold less, where a Lease lasts `duration_s`."""
        return sum(holds() for holds in self._holds) * duration_s * SPARE_SHARE
