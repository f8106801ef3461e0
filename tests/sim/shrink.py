"""Makes a scenario that fails smaller, part by part, as long as it fails in the same way."""

import re
import time

from tests.sim.run import run
from tests.sim.scenario import Scenario


def why_it_fails(scenario: Scenario) -> str | None:
    """What a run raises, in a word and a sentence; None if it goes well."""
    try:
        run(scenario)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is found
        return f"{type(error).__name__}: {error}"
    return None


def shrunk(scenario: Scenario, *, within_s: float) -> Scenario:
    """The smallest that is found in this time by taking one part after the other."""
    kind = _kind(why_it_fails(scenario))
    ends_at = time.monotonic() + within_s
    is_smaller = True
    while is_smaller:
        is_smaller = False
        for smaller in scenario.smaller():
            if time.monotonic() > ends_at:
                return scenario
            if _kind(why_it_fails(smaller)) == kind:
                scenario, is_smaller = smaller, True
                break
    return scenario


def _kind(why: str | None) -> str | None:
    """A failure without the names and numbers in it."""
    return None if why is None else re.sub(r"\S*[\d-]\S*", "", why)[:40]
