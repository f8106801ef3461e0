"""`python -m tests.sim 0:10000` runs these seeds, on all cores; with `--mutants` it counts by how many each bug is found.

A seed that fails is made smaller, and told with all that is left of it.
"""

import argparse
import dataclasses
import gc
import logging
import multiprocessing
import os
import sys
import time

from tests.sim.mutants import MUTANTS, SEEDS_OF
from tests.sim.scenario import Scenario, scenario_of
from tests.sim.shrink import shrunk, why_it_fails

SHRINK_S = 120.0
MUTANT_SEEDS = 400
"""So many the rarest needs; all others are found by fewer than fifty."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("seeds", nargs="?", default="0:10000", help="a seed, or FIRST:END")
    parser.add_argument("--mutants", action="store_true", help="find the deliberate bugs, by the first seeds")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    given = parser.parse_args()
    return _mutants(given.jobs) if given.mutants else _seeds(given.seeds, given.jobs)


def _seeds(named: str, jobs: int) -> int:
    first, _, end = named.partition(":")
    seeds = range(int(first), int(end or int(first) + 1))
    began, failed = time.monotonic(), []
    with multiprocessing.get_context("fork").Pool(jobs, _quiet) as pool:
        for done, (seed, why) in enumerate(pool.imap_unordered(_one, seeds, chunksize=10), 1):
            if why is not None:
                failed.append(seed)
                print(f"seed {seed}: {why}", flush=True)
            if done % 1000 == 0:
                print(f"{done} seeds, {done / (time.monotonic() - began):.1f} a second", flush=True)
    print(f"{len(failed)} of {len(seeds)} seeds failed, in {time.monotonic() - began:.0f} s")
    _quiet()
    for seed in failed[:3]:
        smallest = shrunk(scenario_of(seed), within_s=SHRINK_S)
        print(f"\nseed {seed}, made smaller: {why_it_fails(smallest)}\n{told(smallest)}", flush=True)
    return min(len(failed), 1)


def _one(seed: int) -> tuple[int, str | None]:
    return seed, why_it_fails(scenario_of(seed))


def _mutants(jobs: int) -> int:
    missed, began = 0, time.monotonic()
    print(f"{'seeds':>5}  {'bug':<72}  what it violates", flush=True)
    with multiprocessing.get_context("fork").Pool(jobs, _quiet) as pool:
        for name, seed, why in pool.imap_unordered(_mutant, MUTANTS):
            missed += seed is None
            print(f"{'-' if seed is None else seed + 1:>5}  {name:<72}  {'MISSED' if why is None else why}", flush=True)
    print(
        f"{len(MUTANTS) - missed} of {len(MUTANTS)} bugs found in {time.monotonic() - began:.0f} s, by {MUTANT_SEEDS} seeds at most"
    )
    return min(missed, 1)


def _mutant(name: str) -> tuple[str, int | None, str | None]:
    made = SEEDS_OF.get(name, scenario_of)
    with MUTANTS[name]():
        for seed in range(MUTANT_SEEDS):
            why = why_it_fails(made(seed))
            if why is not None:
                return name, seed, why[:120].partition("{")[0]
    return name, None, None


def _quiet() -> None:
    """What the operator warns of is what these runs are made of. And garbage is collected seldom."""
    logging.disable(logging.WARNING)
    gc.freeze()  # what was imported stays; looking through it again and again is a tenth of the time
    gc.set_threshold(20_000, 50, 50)


def told(scenario: Scenario) -> str:
    """All that makes a scenario, a line each."""
    fields = {f.name: getattr(scenario, f.name) for f in dataclasses.fields(scenario) if f.name != "program"}
    lines = [f"  {name} = {value!r}" for name, value in fields.items()]
    return "\n".join([*lines, "  flows = " + repr(scenario.program.flows), scenario.program.source])


if __name__ == "__main__":
    sys.exit(main())
