"""How many decisions there are at once, and how many that stay, in a container of a certain size."""

import logging
from dataclasses import replace

import pytest

from flowy_operator.adapters.decider.limits import MIB, Limits

IDLE_MIB, STAYS_MIB = 64, 60
FOUR_CPUS = Limits(
    children=8,
    children_per_namespace=4,
    new_children=4,
    new_children_per_namespace=2,
    slow_children=4,
    slow_children_per_namespace=2,
)


def at_once(limits: Limits) -> tuple[int, int, int]:
    return limits.children, limits.new_children, limits.slow_children


FITS = {
    1024: ((1, 1, 1), 5),
    2048: ((4, 1, 1), 11),
    3072: ((6, 2, 2), 16),
    4096: ((8, 4, 4), 16),
    8192: ((8, 4, 4), 16),
}


@pytest.mark.parametrize("mib", FITS)
def test_as_many_as_fit(mib: int) -> None:
    fitted = FOUR_CPUS.within(mib * MIB)
    assert (at_once(fitted), fitted.staying_children) == FITS[mib]


@pytest.mark.parametrize("mib", range(100, 9000, 100))
@pytest.mark.parametrize("memory_mib", [16, 64, 128, 192])
@pytest.mark.parametrize("staying", [0, 4, 16, 1000])
def test_whatever_they_do_they_fit(caplog: pytest.LogCaptureFixture, mib: int, memory_mib: int, staying: int) -> None:
    wanted = replace(FOUR_CPUS, memory_bytes=memory_mib * MIB, staying_children=staying)
    with caplog.at_level(logging.WARNING):
        fitted = wanted.within(mib * MIB)
    most_mib = IDLE_MIB + STAYS_MIB * fitted.staying_children + 1.5 * memory_mib * sum(at_once(fitted))
    is_too_small = mib < IDLE_MIB + 3 * 1.5 * memory_mib
    assert ("too small for three decisions" in caplog.text) is is_too_small
    assert most_mib <= mib or is_too_small
    assert fitted.staying_children <= staying
    assert all(0 < few <= many for few, many in zip(at_once(fitted), at_once(wanted), strict=True))
    assert fitted.children_per_namespace <= fitted.children
    assert fitted.new_children_per_namespace <= fitted.new_children
    assert fitted.slow_children_per_namespace <= fitted.slow_children


def test_one_that_is_too_small_says_so(caplog: pytest.LogCaptureFixture) -> None:
    fitted = FOUR_CPUS.within(512 * MIB)
    assert at_once(fitted) == (1, 1, 1)
    assert "too small for three decisions at once" in caplog.text
