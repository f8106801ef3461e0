"""A timeline as SVG."""

from collections.abc import Mapping

from flowy_cli.pictures.execution import Kind
from flowy_cli.pictures.ruler import marks
from flowy_cli.pictures.svg import Element, element, picture, written
from flowy_cli.pictures.timeline import Row, Span, Timeline
from flowy_cli.pictures.words import columns, shortened

STYLE_TIMELINE = """
.timeline text{font:12px system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;fill:var(--ink)}
.timeline .page{fill:var(--page)}.timeline .soft{fill:var(--soft);font-size:11px}
.timeline .grid{stroke:var(--line);stroke-width:1;shape-rendering:crispEdges}
.timeline .tick{stroke:var(--path);stroke-width:1.5}
.timeline .band{fill:var(--panel)}
.timeline .queued{fill:var(--wait)}.timeline .ran{fill:var(--ok)}.timeline .open{fill:var(--ok);fill-opacity:.55}
.timeline .running.ran,.timeline .running.open{fill:var(--run)}
.timeline .failed.ran,.timeline .failed.open,.timeline .timed-out.ran,.timeline .timed-out.open{fill:var(--bad)}
.timeline .cancelled.ran,.timeline .cancelled.open{fill:var(--off)}
.timeline .disrupted.ran,.timeline .disrupted.open{fill:var(--late)}
.timeline .delay{fill:none;stroke:var(--off);stroke-dasharray:2 3;stroke-width:1.5}
.timeline .workflow .ran,.timeline .workflow .open{fill-opacity:.28}
.timeline .failed>.name,.timeline .timed-out>.name{fill:var(--bad)}.timeline .called>.name{fill:var(--soft)}
.timeline .critical{stroke:var(--path);stroke-width:2.5;stroke-linecap:round;fill:none}
.timeline .critical-name{font-weight:600}
"""

ROW_PX = 24
_TOP_PX = 52
_BOTTOM_PX = 40
_BAR_PX = 12
_WIDTH_PX = 1040
_LABEL_COLUMNS = 34
_TIME_PX = 84
ROWS = 40
"""In one group: of a long timeline the report shows those that are in sight."""


def timeline_svg(timeline: Timeline, title: str) -> str:
    """The timeline as one SVG that stands alone, for light and dark."""
    drawing, width, height = timeline_element(timeline)
    root = picture(width, height, title, STYLE_TIMELINE)
    root.append(drawing)
    drawing.insert(0, element("rect", None, class_="page", width=width, height=height))
    return written(root)


def timeline_element(timeline: Timeline) -> tuple[Element, float, float]:
    """The timeline as a group, its width and its height."""
    root = element("g", None, class_="timeline")
    side = max((_name_px(row) for row in timeline.rows), default=0.0) + 24
    height = float(_TOP_PX + len(timeline.rows) * ROW_PX + _BOTTOM_PX)
    room = max(_WIDTH_PX - side - _TIME_PX, 320.0)
    scale = room / timeline.seconds
    _axis(timeline, root, side, scale, room, height)
    places: dict[str, tuple[Row, float]] = {}
    for n, row in enumerate(timeline.rows):
        y = float(_TOP_PX + n * ROW_PX)
        places[row.id] = (row, y)
        if n % ROWS == 0:
            end = y + ROWS * ROW_PX
            group = element("g", root, class_="rows", data_top=y, data_bottom=end)
        _row(row, group, side, scale, y)
    _path(places, root, side, scale)
    _legend(root, side, height - 14)
    return root, side + room + _TIME_PX, height


def _name_px(row: Row) -> float:
    return 16.0 * row.depth + columns(shortened(row.label, _LABEL_COLUMNS)) * 7.0


def _axis(timeline: Timeline, root: Element, side: float, scale: float, room: float, height: float) -> None:
    for at, label in marks(timeline.seconds, int(room / 90)):
        x = side + at * scale
        element("line", root, class_="grid", x1=x, x2=x, y1=28.0, y2=height - _BOTTOM_PX + 4)
        element("text", root, label, class_="soft", x=x, y=20.0, text_anchor="middle" if at else "start")
    group = element("g", root)
    element("title", group, "decisions: the code moved on")
    for at in timeline.decisions:
        x = side + at * scale
        element("line", group, class_="tick", x1=x, x2=x, y1=31.0, y2=41.0)


def _row(row: Row, root: Element, side: float, scale: float, y: float) -> None:
    group = element("g", root, class_=f"row {row.kind} {row.standing}", data_calls=f"{row.workflow}/{row.key}")
    element("title", group, "\n".join(text for text in (row.label, row.reason) if text))
    middle = y + ROW_PX / 2
    name = shortened(row.label, _LABEL_COLUMNS)
    kind = "name critical-name" if row.is_critical else "name"
    element("text", group, name, class_=kind, x=12.0 + 16 * row.depth, y=middle + 4)
    end = side
    for span in row.spans:
        _bar(span, row, group, side, scale, middle)
        end = max(end, side + span.end * scale)
    if row.took:
        element("text", group, row.took, class_="soft", x=end + 8, y=middle + 4)


def _bar(span: Span, row: Row, group: Element, side: float, scale: float, middle: float) -> None:
    x, width = side + span.begin * scale, max((span.end - span.begin) * scale, 1.5)
    classes = f"{span.phase} {span.standing}"
    if span.phase == "delay":
        made = element("line", group, class_=classes, x1=x, x2=x + width, y1=middle, y2=middle)
    else:
        height = _BAR_PX - 4 if row.kind is Kind.WORKFLOW else _BAR_PX
        made = element("rect", group, class_=classes, x=x, y=middle - height / 2, width=width, height=height, rx=2)
    element("title", made, f"{row.label}\n{span.note}")


def _path(places: Mapping[str, tuple[Row, float]], root: Element, side: float, scale: float) -> None:
    """The critical path as one line along the lower edges of its bars, for each run apart."""
    group = element("g", root)
    element("title", group, "critical path: without its time the run would have been shorter")
    steps: dict[str, list[tuple[float, float, float]]] = {}
    for id_, (row, y) in places.items():
        if row.is_critical and row.spans:
            run = id_.rpartition("_")[0]
            bottom = y + ROW_PX / 2 + _BAR_PX / 2 + 2.5
            steps.setdefault(run, []).append(
                (side + row.spans[0].begin * scale, side + row.spans[-1].end * scale, bottom)
            )
    for bars in steps.values():
        points = [f"{x:.1f},{y:.1f}" for begin, end, y in sorted(bars) for x in (begin, max(end, begin + 1.5))]
        element("polyline", group, class_="critical", points=" ".join(points))


def _legend(root: Element, side: float, y: float) -> None:
    x = side
    for kind, words in (
        ("queued", "waits for its pod"),
        ("ran succeeded", "ran"),
        ("ran running", "runs"),
        ("ran failed", "failed"),
        ("ran cancelled", "cancelled"),
    ):
        element("rect", root, class_=kind, x=x, y=y - 8, width=14, height=9, rx=2)
        element("text", root, words, class_="soft", x=x + 20, y=y)
        x += 34 + len(words) * 6.2
    element("line", root, class_="critical", x1=x, x2=x + 16, y1=y - 3, y2=y - 3)
    element("text", root, "critical path", class_="soft", x=x + 22, y=y)
    x += 108
    element("line", root, class_="tick", x1=x, x2=x, y1=y - 9, y2=y + 1)
    element("text", root, "a decision", class_="soft", x=x + 8, y=y)
