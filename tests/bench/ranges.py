"""What each figure has been so far, and whether it has moved: `ranges.toml` beside this.

A figure is compared by its basis: as it is (`value`), by the work beside it (`raw`), or by the machine's pace in the same
minute (`pace`). Sizes and counts don't depend on the machine. A rate that the API server bounds is as fast as that is, and
the same Jobs by hand tell how fast that was. What is our own CPU, or waits for it, goes with the pace.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from tests.bench.figures import Figure, number

FILE = Path(__file__).with_name("ranges.toml")

MARGIN = 0.1
"""By so much a figure may lie beside its range and is still inside: a range of a few runs is too narrow."""

UNIT_PACE_MS = 10.0
"""The pace that `pace` figures are told for: of about this machine at its fastest, so that they look like the values."""


class Basis(StrEnum):
    VALUE = "value"
    RAW = "raw"
    PACE = "pace"


class Better(StrEnum):
    LOWER = "lower"
    HIGHER = "higher"


class Moved(StrEnum):
    BETTER = "better"
    WORSE = "worse"
    INSIDE = "inside"
    NEW = "new"  # there is no range yet, or nothing of its basis was measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """What was seen, by a basis; nothing yet if `low` and `high` are None."""

    basis: Basis
    better: Better
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return ""
        low, high = number(self.low), number(self.high)
        words = low if low == high else f"{low}-{high}"
        return words if self.basis is Basis.VALUE else f"{words} x" if self.basis is Basis.RAW else f"{words} at pace"


@dataclass(frozen=True, slots=True)
class Row:
    """A figure beside its range, None if `ranges.toml` doesn't name it; `measured` is the figure by the range's basis."""

    figure: Figure
    range: Range | None
    measured: float | None
    moved: Moved


def measured(figure: Figure, basis: Basis, better: Better) -> float | None:
    """A figure by its basis, None if what it is compared with wasn't measured."""
    match basis:
        case Basis.VALUE:
            return figure.value
        case Basis.RAW:
            return figure.value / figure.raw if figure.raw else None
        case Basis.PACE if figure.machine_ms is None:
            return None
        case Basis.PACE:
            slower = figure.machine_ms / UNIT_PACE_MS
            return figure.value / slower if better is Better.LOWER else figure.value * slower


def compared(figures: Sequence[Figure], ranges: Mapping[str, Range]) -> list[Row]:
    """A row for each figure."""
    rows = []
    for figure in figures:
        known = ranges.get(figure.name)
        found = None if known is None else measured(figure, known.basis, known.better)
        rows.append(Row(figure, known, found, _moved(known, found)))
    return rows


def _moved(known: Range | None, found: float | None) -> Moved:
    if known is None or found is None or known.low is None or known.high is None:
        return Moved.NEW
    if known.low * (1 - MARGIN) <= found <= known.high * (1 + MARGIN):
        return Moved.INSIDE
    return Moved.BETTER if (found < known.low) == (known.better is Better.LOWER) else Moved.WORSE


def widened(figures: Sequence[Figure], ranges: Mapping[str, Range]) -> dict[str, Range]:
    """The ranges with these figures in them. One without a range needs a line with its basis first."""
    wider = dict(ranges)
    for row in compared(figures, ranges):
        if row.range is not None and row.measured is not None:
            edges = [edge for edge in (row.range.low, row.range.high, row.measured) if edge is not None]
            wider[row.figure.name] = replace(row.range, low=min(edges), high=max(edges))
    return wider


def table(rows: Sequence[Row]) -> str:
    """What has moved first, then the rest, for a terminal."""
    order = [Moved.WORSE, Moved.BETTER, Moved.NEW, Moved.INSIDE]
    lines = []
    for row in sorted(rows, key=lambda row: (order.index(row.moved), row.figure.name)):
        value = f"{number(row.figure.value)} {row.figure.unit}"
        found = "" if row.measured is None else number(row.measured)
        seen = "not in ranges.toml" if row.range is None else f"seen: {row.range}" if str(row.range) else ""
        lines.append(f"{row.moved:7} {row.figure.name:44} {value:>18} {found:>9}  {seen}".rstrip())
    counts = ", ".join(f"{sum(row.moved is moved for row in rows)} {moved}" for moved in order)
    return "\n".join([*lines, counts])


def load(file: Path = FILE) -> dict[str, Range]:
    return {name: _range(**fields) for name, fields in tomllib.loads(file.read_text()).items()}


def _range(*, basis: str, better: str, low: float | None = None, high: float | None = None) -> Range:
    return Range(basis=Basis(basis), better=Better(better), low=low, high=high)


def save(ranges: Mapping[str, Range], file: Path = FILE) -> None:
    """Write the ranges, a line each; the comment above them stays."""
    comment = [line for line in file.read_text().splitlines() if line.startswith("#")] if file.exists() else []
    lines = []
    for name in sorted(ranges):
        known = ranges[name]
        edges = "" if known.low is None or known.high is None else f", low = {known.low:.4g}, high = {known.high:.4g}"
        lines.append(f'{name} = {{ basis = "{known.basis}", better = "{known.better}"{edges} }}')
    file.write_text("\n".join([*comment, *lines, ""]))
