"""Standings and texts as people read them in a picture."""

import unicodedata

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

NOTHING = "no task has been called\n"
"""In place of a picture in text that has nothing to show."""


def spoken(standing: Standing) -> str:
    return _SPOKEN.get(standing, str(standing))


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
