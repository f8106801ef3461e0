"""How many shards there are, to those who hold another one than the first: what is written on the first one's Lease.

Who believes in another number works on other Workflows. So the right to write ends so long after the last answer that
agreed as it does after a renewal, and whoever writes another number waits for longer than that (`lease.py`).
"""

import logging
from collections.abc import Callable

from flowy_operator.adapters.kube import paths
from flowy_operator.adapters.kube.client import KubeClient
from flowy_operator.adapters.kube.errors import NotFound
from flowy_operator.adapters.lease.errors import LeaseLost
from flowy_operator.adapters.lease.record import annotations, shards

_log = logging.getLogger(__name__)


class Number:
    """`told` is how many there are to this process, `first` the name of the Lease that says it to all. `clock` as the Lease's."""

    def __init__(
        self, client: KubeClient, *, namespace: str, first: str, told: int, clock: Callable[[], float]
    ) -> None:
        self.agreed_at: float | None = None
        """When it was asked last, and they were as many."""
        self.agreed_since: float | None = None
        self._client = client
        self._namespace = namespace
        self._first = first
        self._told = told
        self._clock = clock
        self._is_reported = False

    async def ask(self) -> None:
        """Raises LeaseLost if there are another number, ApiError if that can't be said."""
        began = self._clock()
        try:
            body = await self._client.get(paths.leases(self._namespace, self._first))
        except NotFound:
            return  # its holder makes it anew; until then nobody says anything else
        there_are = shards(annotations(body))
        if there_are != self._told:
            self.agreed_at = self.agreed_since = None
            raise LeaseLost(f"this is one of {self._told} shards, and by the lease {self._first} there are {there_are}")
        self.agreed_at = began
        if self.agreed_since is None:
            self.agreed_since = began

    async def is_agreed(self) -> bool:
        """Whether there are as many, so that one of them may be taken. Raises ApiError."""
        try:
            await self.ask()
        except LeaseLost as error:
            if not self._is_reported:
                self._is_reported = True
                fields = {"namespace": self._namespace, "lease": self._first, "error": str(error)}
                _log.warning("not all agree how many shards there are; waiting", extra=fields)
            return False
        return self.agreed_at is not None
