"""Kubernetes Events of others as JSON -> what they tell of a Job or Pod that doesn't get on.

Their texts are made for people, and change with each try: the name of a pod that was never made, what a quota's use is just
now. Here they are made to stay the same as long as the cause does, since each change would be a write of a status.
"""

import re
from datetime import datetime
from typing import NamedTuple

from flowy_operator.adapters.kube.fields import Raw, instant, mapping, text
from flowy_operator.core.sentences import line, looked_at

_COMBINED = "(combined from similar events): "  # client-go's correlator, after the tenth
_REFUSED = re.compile(r'^Error creating: (?:pods "[^"]*" is forbidden: )?')
_USED = re.compile(r", used: .*?(?=, limited: )")  # quota plug-in


class Told(NamedTuple):
    """What an Event says of the object of this uid, last at this time."""

    uid: str
    words: str
    at: datetime


def parse_told(event: Raw) -> Told | None:
    """The words of an Event, or None if it lacks what they need. Anybody may write Events: nothing here raises."""
    about = mapping(event.get("involvedObject"))
    uid, message = text(about.get("uid")), text(event.get("message"))
    at = _last_seen(event)
    if uid is None or message is None or at is None:
        return None
    words = _REFUSED.sub("can't be created: ", looked_at(message).removeprefix(_COMBINED))
    return Told(uid, line(_USED.sub("", words)), at)


def _last_seen(event: Raw) -> datetime | None:
    """Either of the two shapes: `count` and `lastTimestamp`, or `series`; a single one of the latter has `eventTime` alone."""
    series = mapping(event.get("series"))
    times = (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"))
    return next((at for at in map(instant, times) if at is not None), None)
