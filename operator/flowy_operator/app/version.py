"""One version of a Workflow object, as a pass acts upon it: what was read of it, or why it can't be acted upon."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from flowy_operator.adapters.crd.spec import InvalidSpec
from flowy_operator.core.child import Lineage
from flowy_operator.core.conditions import Blocker, Stall, has_ended
from flowy_operator.core.definition import Reference
from flowy_operator.core.folded import Unread, history_message
from flowy_operator.core.history import is_newer, parse_time
from flowy_operator.core.launched import FIELD
from flowy_operator.core.pages import Tail
from flowy_operator.core.spec import WorkflowSpec
from flowy_operator.core.state import State

Body = Mapping[str, Any]

_TIMES = frozenset({"startTime", "completionTime"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One version of the object: what a pass acts upon, from its beginning to its end.

    A newer one replaces the whole, never a part: a patch whose `test` names one version and whose events follow another
    would corrupt the history. `status` is without the history, which is folded into `state`; `tail` is what of it stands in
    the status. With `unread` set, the state is missing until the pages before the tail have been read. With `invalid` set,
    it says why this version can't be acted upon, and spec or state may be missing; with `newer`, a newer operator may have
    gone on with the history. A spec that only refers to a definition is resolved by each pass (`definitions.py`):
    definitions come and go on their own.
    """

    resource_version: int = 0
    generation: int = 0
    deleting: bool = False
    lineage: Lineage | None = None
    depth: int = 0
    definition_of_parent: str | None = None
    status: Body | None = None
    spec: WorkflowSpec | Reference | None = None
    state: State | None = None
    tail: Tail = Tail()
    set_back_at: datetime | None = None
    unread: Unread | None = None
    invalid: Stall | None = None
    newer: bool = False

    @property
    def ended(self) -> bool:
        return self.status is not None and has_ended(self.status)

    @property
    def definition_digest(self) -> str | None:
        """The content of the definition that it began with, or is to begin with as its parent did."""
        return (self.status or {}).get("definitionDigest") or self.definition_of_parent

    @property
    def launched_through(self) -> int:
        """See `core/launched.py`; 0 if nothing is on record."""
        number = (self.status or {}).get(FIELD, 0)
        return number if isinstance(number, int) else 0

    def started_at(self, state: State) -> datetime:
        """When the first run began; `state` knows it as long as it isn't on record."""
        text = (self.status or {}).get("startTime")
        return parse_time(text) if text else state.started_at

    def timed_from(self, state: State) -> datetime:
        """From when the time of all runs counts: `started_at`, unless the clock was wrong then."""
        started_at = self.started_at(state)
        return started_at if self.set_back_at is None else min(started_at, self.set_back_at)


def with_invalid_spec(version: Version, body: Body, error: InvalidSpec) -> Version:
    """The version, which can't be acted upon since its spec can't be read."""
    spec = body.get("spec")
    stops = isinstance(spec, Mapping) and spec.get("stop") is not None
    return replace(version, invalid=_stall(Blocker.INVALID_SPEC, str(error), stops=stops))


def with_invalid_history(version: Version, error: Exception) -> Version:
    """The version, which can't be acted upon since its history isn't ours."""
    stops = version.spec is not None and version.spec.stop is not None
    stall = _stall(Blocker.HISTORY_INVALID, history_message(error), stops=stops)
    return replace(version, invalid=stall, newer=is_newer(error))


def _stall(blocker: Blocker, why: str, *, stops: bool) -> Stall:
    """A stall by what the object itself says; nobody knows then which Jobs a stop would have to end."""
    return Stall(blocker, f"{why}; spec.stop can't be followed: delete the Workflow to end it" if stops else why)


def remembered(status: Body) -> Body:
    """The status without its history, and without times that nobody can read: the API server takes one of the year 0."""
    return {
        name: value for name, value in status.items() if name != "history" and (name not in _TIMES or _is_time(value))
    }


def _is_time(text: object) -> bool:
    try:
        parse_time(str(text))
    except ValueError:
        return False
    return True
