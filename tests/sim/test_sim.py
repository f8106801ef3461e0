"""As many seeds as CI has time for, and each deliberate bug by the seed that finds it. `make sim` and `make mutants` do all."""

import logging
import os
from collections.abc import Iterator

import pytest

from tests.sim.mutants import MUTANTS
from tests.sim.run import run
from tests.sim.scenario import scenario_of
from tests.sim.shrink import why_it_fails

SEEDS = int(os.environ.get("SIM_SEEDS", "600"))
A_TEST = 10

FOUND_WITHIN = 25
"""Seeds, of all bugs but the rarer ones, which `make mutants` looks for longer."""

COMMON = [
    "Jobs are launched before they are on record",
    "the patch has no test",
    "a conflict is overruled",
    "a write that failed is taken for done",
    "Jobs are deleted before their outcome is on record",
    "the attempt isn't part of a Job's name",
    "the run isn't part of a Job's name",
    "a Job's name is drawn",
    "the current launch isn't the one that counts",
    "the finish order is that of the calls",
]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """What the operator warns of is what these runs are made of."""
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("first", range(0, SEEDS, A_TEST))
def test_seeds(first: int) -> None:
    for seed in range(first, first + A_TEST):
        try:
            run(scenario_of(seed))
        except BaseException as error:
            error.add_note(f"seed {seed}: `make sim SEEDS={seed}` makes it smaller")
            raise


AFTER_A_SET_BACK = 167
"""A delay that is waited for while the history's time stands still."""


ABANDONED_FOR_EVER = 695
"""A container that hangs, of a race that was decided, in a workflow that abandons what it leaves."""


WAITS_SEEN_OTHERWISE = 8362
"""Two operators at once, of which each sees another reason why a task doesn't run."""


@pytest.mark.parametrize("seed", [AFTER_A_SET_BACK, ABANDONED_FOR_EVER, WAITS_SEEN_OTHERWISE])
def test_seeds_that_once_were_wrong(seed: int) -> None:
    run(scenario_of(seed))


@pytest.mark.parametrize("name", COMMON)
def test_the_bug_is_found(name: str) -> None:
    with MUTANTS[name]():
        assert any(why_it_fails(scenario_of(seed)) is not None for seed in range(FOUND_WITHIN))
