"""Marks on a time axis at round numbers."""

from collections.abc import Sequence

_STEPS_S = (
    *(0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30),
    *(60 * n for n in (1, 2, 5, 10, 15, 30)),
    *(3600 * n for n in (1, 2, 3, 6, 12)),
    *(86_400 * n for n in (1, 2, 5, 10, 20, 50, 100, 365)),
)


def marks(seconds: float, most: int) -> Sequence[tuple[float, str]]:
    """At most so many marks from 0 to `seconds`, evenly spaced: the second and its label."""
    years = _STEPS_S[-1] * (seconds // (_STEPS_S[-1] * most) + 1)
    step = next((step for step in _STEPS_S if seconds / step < most), years)
    return [(n * step, _label(n * step)) for n in range(int(seconds / step + 1e-9) + 1)]


def _label(at: float) -> str:
    """`0 s`, `2.5 s`, `1:30 min`, `2:05 h`, `3 d`."""
    if at < 60:  # noqa: PLR2004 - a minute
        return f"{at:g} s"
    if at < 3600:  # noqa: PLR2004 - an hour
        return f"{at // 60:.0f}:{at % 60:02.0f} min"
    if at < 86_400:  # noqa: PLR2004 - a day
        return f"{at // 3600:.0f}:{at % 3600 // 60:02.0f} h"
    return f"{at / 86_400:g} d"
