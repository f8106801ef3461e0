"""A timeline as lines of text, as wide as the terminal."""

from flowy_cli.pictures.execution import Standing
from flowy_cli.pictures.ruler import marks
from flowy_cli.pictures.timeline import Phase, Row, Timeline
from flowy_cli.pictures.words import NOTHING, SIGNS, columns, shortened

_LABEL_COLUMNS = 32
_LEAST_BAR = 20

_FILL = {Phase.QUEUED: "░", Phase.RAN: "█", Phase.OPEN: "▓", Phase.DELAY: "·"}
_WAITS = {Phase.QUEUED, Phase.DELAY}
_FAILED = "▒"  # of an attempt that brought no result

_LEGEND = (
    "░ waits for its pod",
    "█ runs",
    "▓ one of both",
    "▒ without success",
    "· waits for its next attempt",
    "◆ critical path",
    "╷ a decision",
)


def timeline_text(timeline: Timeline, width: int) -> str:
    """The timeline in lines of `width` columns; more if that leaves no room for the bars."""
    if not timeline.rows:
        return NOTHING
    labels = [_label(row) for row in timeline.rows]
    side = max(map(columns, labels), default=0)
    times = max((columns(row.took) for row in timeline.rows), default=0)
    room = max(width - side - times - 4, _LEAST_BAR)
    scale = room / timeline.seconds
    lines = [f"{' ' * side}  {line}" for line in _head(timeline, room, scale)]
    for row, label in zip(timeline.rows, labels, strict=True):
        lines.append(f"{label}{' ' * (side - columns(label))}  {_bar(row, room, scale)}  {row.took}".rstrip())
    return "\n".join([*lines, "", *_legend(width)]) + "\n"


def _legend(width: int) -> list[str]:
    lines = [_LEGEND[0]]
    for words in _LEGEND[1:]:
        if columns(lines[-1]) + 2 + columns(words) <= width:
            lines[-1] += f"  {words}"
        else:
            lines.append(words)
    return lines


def _label(row: Row) -> str:
    sign = f"{'◆' if row.is_critical else ' '}{SIGNS[row.standing]} "
    return "  " * row.depth + sign + shortened(row.label, _LABEL_COLUMNS)


def _head(timeline: Timeline, room: int, scale: float) -> list[str]:
    words = [" "] * room
    for at, label in marks(timeline.seconds, max(room // 12, 2)):
        place = min(int(at * scale), room - 1)
        if place + len(label) <= room:
            words[place : place + len(label)] = label
    ticks = [" "] * room
    for at in timeline.decisions:
        ticks[min(int(at * scale), room - 1)] = "╷"
    return ["".join(words).rstrip(), "".join(ticks).rstrip()]


def _bar(row: Row, room: int, scale: float) -> str:
    cells = [" "] * room
    # What only waits lies below: a short attempt would be hidden by the delay that follows it.
    for span in sorted(row.spans, key=lambda span: span.phase not in _WAITS):
        fill = _FILL[span.phase]
        if span.phase in {Phase.RAN, Phase.OPEN} and span.standing.is_over and span.standing is not Standing.SUCCEEDED:
            fill = _FAILED
        begin = min(int(span.begin * scale), room - 1)
        # Whatever took place is seen, be it ever so short.
        for n in range(begin, min(max(round(span.end * scale), begin + 1), room)):
            cells[n] = fill
    return "".join(cells)
