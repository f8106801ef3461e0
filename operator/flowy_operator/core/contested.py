"""When a status is written again that another operator has changed back.

For a while two may believe that they lead. If one can decide and the other can't, or sees a pod that the other doesn't see
yet, each would find its own words gone with each write of the other, and put them back at once: a hundred writes a minute that
help nobody. So what a process has said already it repeats no sooner than after a pause. Events aren't held back, and neither
is an end.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

PAUSE = timedelta(seconds=15)
"""As long as a lease lasts: of two that write beside each other one will have noticed by then."""

_CONDITION = ("type", "status", "reason", "message")
_WAIT = ("task", "line", "reason")
_WHOLE = ("code", "decidedThrough")

_Words = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Said:
    """What this process wrote last, and when."""

    words: _Words
    at: datetime


def said(status: Mapping[str, Any], at: datetime) -> Said:
    """What a status that was written says, but for the times in it."""
    return Said(_words(status), at)


def held_until(
    last: Said | None, found: Mapping[str, Any], wanted: Mapping[str, Any], now: datetime
) -> datetime | None:
    """Until when the `wanted` status waits because it was written before, and another is `found`; None if it need not.

    Of `wanted` there may be a part, which is compared alone.
    """
    if last is None:
        return None
    words = _words(wanted)
    if _part(last.words, words) != words or _part(_words(found), words) == words:
        return None
    # Further away than a pause it is only if the clock was set back.
    until = last.at + PAUSE
    return until if timedelta() < until - now <= PAUSE else None


def _words(status: Mapping[str, Any]) -> _Words:
    words: dict[str, object] = {name: status[name] for name in _WHOLE if name in status}
    for name, kept in (("conditions", _CONDITION), ("waitingOn", _WAIT)):
        if name in status:
            words[name] = [[each.get(field) for field in kept] for each in status[name]]
    return words


def _part(words: _Words, of: _Words) -> _Words:
    return {name: words.get(name) for name in of}
