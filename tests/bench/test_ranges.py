"""What is called better or worse, and what the ranges become."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.bench import report
from tests.bench.figures import Figure
from tests.bench.ranges import (
    UNIT_PACE_MS,
    Basis,
    Better,
    Moved,
    Range,
    compared,
    load,
    measured,
    save,
    table,
    widened,
)

FIGURE = Figure(name="f", value=12.0, unit="ms", goal="", raw=None, command="make bench", date="2026-01-01")
LOWER = Range(basis=Basis.VALUE, better=Better.LOWER, low=10.0, high=20.0)
HIGHER = replace(LOWER, better=Better.HIGHER)
BY_RAW = Range(basis=Basis.RAW, better=Better.HIGHER, low=0.5, high=0.6)
SLOW = 2 * UNIT_PACE_MS

CASES = {
    "inside": (FIGURE, LOWER, Moved.INSIDE),
    "a tenth beside it is inside": (replace(FIGURE, value=21.9), LOWER, Moved.INSIDE),
    "above, where less is better": (replace(FIGURE, value=22.1), LOWER, Moved.WORSE),
    "below, where less is better": (replace(FIGURE, value=8.9), LOWER, Moved.BETTER),
    "above, where more is better": (replace(FIGURE, value=22.1), HIGHER, Moved.BETTER),
    "below, where more is better": (replace(FIGURE, value=8.9), HIGHER, Moved.WORSE),
    "nothing may come where nothing has been": (
        replace(FIGURE, value=1.0),
        replace(LOWER, low=0.0, high=0.0),
        Moved.WORSE,
    ),
    "beside the same work by hand": (replace(FIGURE, value=30.0, raw=60.0), BY_RAW, Moved.INSIDE),
    "less of what could be had by hand": (replace(FIGURE, value=30.0, raw=90.0), BY_RAW, Moved.WORSE),
    "no work by hand to compare with": (FIGURE, BY_RAW, Moved.NEW),
    "slower, as the machine is": (
        replace(FIGURE, value=40.0, machine_ms=SLOW),
        replace(LOWER, basis=Basis.PACE),
        Moved.INSIDE,
    ),
    "slower by itself": (
        replace(FIGURE, value=40.0, machine_ms=UNIT_PACE_MS),
        replace(LOWER, basis=Basis.PACE),
        Moved.WORSE,
    ),
    "as many a second on a machine that is half as fast": (
        replace(FIGURE, value=20.0, machine_ms=SLOW),
        replace(HIGHER, basis=Basis.PACE),
        Moved.BETTER,
    ),
    "the machine's pace wasn't measured": (FIGURE, replace(LOWER, basis=Basis.PACE), Moved.NEW),
    "nothing was seen yet": (FIGURE, replace(LOWER, low=None, high=None), Moved.NEW),
    "on no list": (FIGURE, None, Moved.NEW),
}


@pytest.mark.parametrize(("figure", "known", "expected"), CASES.values(), ids=CASES)
def test_moved(figure: Figure, known: Range | None, expected: Moved) -> None:
    (row,) = compared([figure], {} if known is None else {"f": known})
    assert row.moved is expected


def test_what_is_worse_is_told_first_and_counted() -> None:
    figures = [FIGURE, replace(FIGURE, name="g", value=99.0), replace(FIGURE, name="h", value=1.0)]
    *lines, counts = table(compared(figures, dict.fromkeys("fgh", LOWER))).splitlines()
    assert [line.split()[:2] for line in lines] == [["worse", "g"], ["better", "h"], ["inside", "f"]]
    assert counts == "1 worse, 1 better, 0 new, 1 inside"


def test_ranges_take_in_what_was_measured() -> None:
    unseen = replace(LOWER, low=None, high=None)
    figures = [
        replace(FIGURE, value=25.0),
        replace(FIGURE, name="g", value=3.0),
        replace(FIGURE, name="h"),
        replace(FIGURE, name="i"),
    ]
    ranges = {"f": LOWER, "g": unseen, "h": BY_RAW, "unmeasured": HIGHER}
    assert widened(figures, ranges) == {
        "f": replace(LOWER, high=25.0),
        "g": replace(LOWER, low=3.0, high=3.0),
        "h": BY_RAW,
        "unmeasured": HIGHER,
    }


def test_after_widening_every_figure_is_inside() -> None:
    figures = [replace(figure, machine_ms=figure.machine_ms or UNIT_PACE_MS) for figure in report.known()]
    ranges = widened(figures, load())
    assert [row.figure.name for row in compared(figures, ranges) if row.moved not in {Moved.INSIDE, Moved.NEW}] == []


def test_the_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    file = tmp_path / "ranges.toml"
    file.write_text("# Why.\n")
    ranges = {"f-1": LOWER, "g": replace(BY_RAW, low=None, high=None), "h": replace(HIGHER, basis=Basis.PACE)}
    save(ranges, file)
    assert (load(file), file.read_text().splitlines()[0]) == (ranges, "# Why.")
    save(ranges, file)
    assert load(file) == ranges


def test_each_figure_of_the_page_is_of_a_basis_that_is_measured() -> None:
    known = {figure.name: figure for figure in report.known()}
    for name, seen in load().items():
        if seen.basis is Basis.RAW and name in known:
            assert measured(known[name], seen.basis, seen.better) is not None, name


def test_the_page_is_made_of_the_list() -> None:
    assert (report.DOCS / "performance.md").read_text() == report.page(report.known())


def test_figures_that_were_not_measured_again_stay(tmp_path: Path) -> None:
    report.write([FIGURE, replace(FIGURE, name="g")], tmp_path)
    report.write([replace(FIGURE, value=13.0)], tmp_path)
    assert report.known(tmp_path) == [replace(FIGURE, value=13.0), replace(FIGURE, name="g")]
    assert "| f | 13.0 ms |" in (tmp_path / "performance.md").read_text()
