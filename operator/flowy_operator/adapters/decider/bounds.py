"""Whether children that stay are kept within their bounds. Proven before the first one stays, and until then none does.

Not at each start of a zygote: what decides short histories alone, as the command line does, needs no proof. One that fails is
made again a while later, since a machine that is busy enough measures nothing in time.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from flowy_operator.core.errors import DecisionStalled

log = logging.getLogger(__name__)

_AGAIN_S = 60.0


class Bounds:
    """`faults` makes the proof with the present zygote, and tells what was wrong; it may raise `DecisionStalled`."""

    def __init__(self, faults: Callable[[], Awaitable[Sequence[str]]]) -> None:
        self._faults = faults
        self._hold = False
        self._proving: asyncio.Task[None] | None = None
        self._not_before = 0.0
        self._told: Sequence[str] = ()

    def hold(self) -> bool:
        """Whether they do, as far as is known. Asking has it proven."""
        if not self._hold and self._proving is None and asyncio.get_running_loop().time() >= self._not_before:
            self._proving = asyncio.create_task(self._prove(), name="bounds of who stays")
        return self._hold

    def begin(self) -> None:
        """Know nothing: there is a new zygote, or soon none."""
        self._hold = False
        self._not_before = 0.0
        if self._proving is not None:
            self._proving.cancel()
            self._proving = None

    async def _prove(self) -> None:
        try:
            faults = await self._faults()
        except DecisionStalled as stalled:
            faults = [str(stalled)]
        except Exception as error:  # noqa: BLE001 - whatever it was, decisions go on without
            faults = [repr(error)]
        self._hold = not faults
        if faults and faults != self._told:
            self._told = faults
            log.warning(
                "Decisions don't stay for the next one: the decider can't bound those that do", extra={"faults": faults}
            )
        self._not_before = asyncio.get_running_loop().time() + _AGAIN_S
        self._proving = None
