"""A figure: what was measured, and all that is needed to compare it later."""

from dataclasses import dataclass
from datetime import UTC, datetime

from tests.bench import machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measurement. `raw` is the ceiling beside it: the same work without us, or None where there is none.

    `machine_ms` is how fast the machine was when it was made, see `machine.py`; None if that wasn't measured.
    """

    name: str
    value: float
    unit: str
    goal: str
    raw: float | None
    command: str
    date: str
    machine_ms: float | None = None


def figure(name: str, value: float, unit: str, goal: str, raw: float | None = None) -> Figure:
    """One of `make bench`, of today."""
    date = datetime.now(UTC).date().isoformat()
    return Figure(
        name=name,
        value=value,
        unit=unit,
        goal=goal,
        raw=raw,
        command="make bench",
        date=date,
        machine_ms=machine.pace_ms(),
    )


def number(value: float) -> str:
    """With as many digits as anybody looks at."""
    return f"{value:,.{0 if value >= 100 else 1 if value >= 10 else 2}f}"
