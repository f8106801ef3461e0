"""Text in columns, as kubectl prints it, and times as people say them."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from flowy_operator.core.printable import printable

_GAP = "   "


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their longest cell; the last one is not filled up."""
    cells = [list(head), *([printable(cell).replace("\n", " ") for cell in row] for row in rows)]
    widths = [max(len(row[n]) for row in cells) for n in range(len(head))]
    return "".join(
        _GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n" for row in cells
    )


def indented(text: str, by: str = "  ") -> str:
    return "".join(f"{by}{line}".rstrip() + "\n" for line in text.splitlines())


def age(since: datetime, now: datetime) -> str:
    """How long ago, in one unit: 90s, 12m, 5h, 3d."""
    seconds = max(int((now - since).total_seconds()), 0)
    for limit, size, unit in ((120, 1, "s"), (7200, 60, "m"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds // size}{unit}"
    return f"{seconds // 86_400}d"


def clock(at: datetime) -> str:
    """The instant to the second, UTC."""
    return at.strftime("%Y-%m-%d %H:%M:%S")


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
