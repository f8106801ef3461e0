"""The history of a local run, in the words of the cluster's: the same events, with the same fields.

So what draws or replays a Workflow's history does the same with a local one. What the events mean, and all that may stand in
them, is told in docs/following-a-run.md.
"""

from collections.abc import Callable
from datetime import UTC, datetime

EventJson = dict[str, object]


def format_time(at: datetime) -> str:
    """RFC 3339 with milliseconds."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


class History:
    """The events of one workflow, over all its runs. `tell` is called with each new one."""

    def __init__(self, tell: Callable[[EventJson], None] | None = None) -> None:
        self.events: list[EventJson] = []
        self._tell = tell

    def append(self, at: datetime, kind: str, /, **fields: object) -> None:
        """Add an event. Of the fields those that are None, False or an attempt of 1 are left out, as in the cluster."""
        event: EventJson = {"id": len(self.events) + 1, "time": format_time(at), "type": kind}
        for name, value in fields.items():
            if value is None or value is False or (name == "attempt" and value == 1 and kind != "RetryScheduled"):
                continue
            event[name] = format_time(value) if isinstance(value, datetime) else value
        self.events.append(event)
        if self._tell is not None:
            self._tell(event)
