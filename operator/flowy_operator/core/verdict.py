"""What follows from a look at a workflow: facts to append, and how it stands."""

from collections.abc import Sequence
from dataclasses import dataclass

from flowy.wire.messages import AnsweredWait, ErrorObject
from flowy_operator.core.conditions import Reason, Stall
from flowy_operator.core.history import Fact


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """How the workflow ended. `result` is JSON text."""

    reason: Reason
    result: str | None = None
    error: ErrorObject | None = None
    ignored_errors: Sequence[ErrorObject] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What follows from an answer. `finishing`: the code has ended, and open tasks are waited for.

    `cut`: more has become true than one write takes, and nobody was asked what follows before the rest is on record.
    `ending`: what is cut is an end, or a restart, which comes whatever else there is.
    `decided`: with these facts on record the code has nothing more to say until a task ends.
    """

    facts: Sequence[Fact] = ()
    end: End | None = None
    stall: Stall | None = None
    waiting_on: Sequence[AnsweredWait] = ()
    held_back: int = 0
    finishing: bool = False
    cut: bool = False
    ending: bool = False
    decided: bool = False
