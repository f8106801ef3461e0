"""How a decision ends: its barrier, and the other things that latch it or stop the code.

The first end counts. In the sandbox the process answers and exits there. In-process `DecisionEnds` unwinds the code,
which may swallow it; nothing that the code does afterwards changes the decision.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowy.wire.messages import Phase

if TYPE_CHECKING:
    from flowy.replay.result import Pending


class DecisionEnds(BaseException):
    """Unwinds the workflow's code, in-process. Private: no `Exception`, so that `except Exception` lets it pass."""


@dataclass(frozen=True, slots=True)
class Suspended:
    """A pending result was touched at `line`, or stands in the return value (`line` is None then)."""

    pending: "Sequence[Pending]"
    line: int | None


@dataclass(frozen=True, slots=True)
class Failed:
    """The workflow fails with `error`."""

    error: Mapping[str, object]
    line: int | None = None
    phase: Phase = Phase.RUN


@dataclass(frozen=True, slots=True)
class Deviated:
    """A call is not the recorded one."""

    error: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Completed:
    """The code returned; `result` is JSON text."""

    result: str


@dataclass(frozen=True, slots=True)
class Restarted:
    """The code returned `restart(...)`; `arguments` is JSON text of args and kwargs."""

    arguments: str


End = Suspended | Failed | Deviated | Completed | Restarted
