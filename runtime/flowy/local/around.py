"""What is around a workflow that runs here: the engine that it belongs to, and whoever watches."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from flowy.local.history import EventJson
from flowy.local.launch import Failed, Launch
from flowy.local.plan import Plan
from flowy.wire.messages import AnsweredWait

if TYPE_CHECKING:
    from flowy.local.call import Call
    from flowy.local.execution import Execution


class Watcher(Protocol):
    """Who is told how a run goes. `path` names the workflow: empty for the outermost, else `step-0`, `step-0/deeper-1`."""

    def happened(self, path: str, event: EventJson) -> None:
        """An event was recorded."""

    def started(self, path: str, task: str, attempt: int) -> None:
        """A worker has begun with an attempt."""

    def waits(self, path: str, waiting_on: Sequence[AnsweredWait]) -> None:
        """The code waits for these tasks."""


class Around(Protocol):
    """What an execution needs of the engine."""

    watcher: Watcher | None

    def now(self) -> datetime: ...

    def at(self, when: datetime, fire: Callable[[], None]) -> None:
        """Call `fire` when it is time."""

    def touch(self, execution: "Execution") -> None:
        """Let it make its next step soon."""

    def launch(self, launch: Launch) -> None: ...

    def withdraw(self, launch: Launch, why: str) -> None: ...

    def child(self, call: "Call", plan: Plan) -> "Execution | Failed":
        """Begin a sub-workflow, or say why that can't be."""
