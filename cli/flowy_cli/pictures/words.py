"""Times, standings and texts as people read them in a picture."""

import unicodedata
from datetime import timedelta

from flowy_cli.pictures.execution import Standing

_SPOKEN = {
    Standing.TIMED_OUT: "timed out",
    Standing.WAITING: "waits to be tried again",
    Standing.CALLED: "not started",
}

SIGNS = {
    Standing.SUCCEEDED: "✔",
    Standing.FAILED: "✘",
    Standing.TIMED_OUT: "⏱",
    Standing.CANCELLED: "⊘",
    Standing.DISRUPTED: "↯",
    Standing.RUNNING: "▸",
    Standing.WAITING: "…",
    Standing.CALLED: "○",
}
"""One character each, as wide as one in every terminal font."""


def spoken(standing: Standing) -> str:
    return _SPOKEN.get(standing, str(standing))


def took(time: timedelta) -> str:
    """A duration in at most two units: `12 ms`, `0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`."""
    seconds = max(time.total_seconds(), 0.0)
    if seconds < 0.095:  # noqa: PLR2004 - tenths would tell nothing yet
        return f"{seconds * 1000:.0f} ms"
    if seconds < 9.95:  # noqa: PLR2004 - from here on, tenths tell nothing
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, unit, below, smaller in ((86_400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // below
            return f"{whole // size} {unit} {rest} {smaller}" if rest else f"{whole // size} {unit}"
    return f"{whole} s"


def one_line(text: str) -> str:
    """The text in one line: white space of any kind as single spaces."""
    return visible(" ".join(text.split()))


def visible(text: str) -> str:
    """The text without what isn't a character of XML, or steers a terminal, or the direction of what follows.

    Control characters, lone surrogates and the like come from containers; each becomes the replacement character.
    """
    if text.isprintable():
        return text
    return "".join(c if c in "\n\t" or unicodedata.category(c)[0] != "C" else "\ufffd" for c in text)


def shortened(text: str, most: int) -> str:
    """The text in one line, with an ellipsis where it is longer than `most` columns."""
    line = one_line(text)
    if columns(line) <= most:
        return line
    room, found = most - 1, ""
    for char in line:
        room -= columns(char)
        if room < 0:
            break
        found += char
    return f"{found}…"


def columns(text: str) -> int:
    """How many columns the text takes in a terminal."""
    if text.isascii():
        return len(text)
    return sum(_width(char) for char in text)


def _width(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in {"W", "F"} else 1
