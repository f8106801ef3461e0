"""Tries cases on a target, and makes the first one smaller that breaks it."""

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.fuzz.targets import Target

CORPUS = Path(__file__).parent / "corpus"

HANGS_S = 60
"""Most cases take a tenth of a second. No measurement: a case that takes so long will not end."""


class Hangs(BaseException):  # not an Exception: nobody may catch it and go on
    """A case didn't end."""


class Broken(AssertionError):
    """A case breaks its target. `case` is the smallest that was found."""

    def __init__(self, case: Any) -> None:
        super().__init__(json.dumps(case)[:2000])
        self.case = case


def corpus(target: str) -> Iterator[tuple[str, Any]]:
    """The kept cases of a target, by their names."""
    for path in sorted((CORPUS / target).glob("*.json")):
        yield path.stem, json.loads(path.read_text())


def hunt(target: Target, examples: int, number: int, *, goes_on: Callable[[], bool] = lambda: True) -> int:
    """Try so many cases, of chance's seed `number`, as long as it `goes_on`. Returns how many; raises Broken."""
    found: list[Any] = []
    tried = 0

    @seed(number)
    @settings(
        max_examples=examples,
        database=None,  # what is worth keeping is kept by name
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
        print_blob=False,
        report_multiple_bugs=False,
    )
    @given(target.cases)
    def one(case: Any) -> None:
        nonlocal tried
        if not goes_on() and not found:
            return
        tried += 1
        try:
            with _watched():
                target.check(case)
        except BaseException:
            found[:] = [case]
            raise

    try:
        one()
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise Broken(found[0] if found else None) from error
    return tried


@contextmanager
def _watched() -> Iterator[None]:
    def ring(*_: object) -> None:
        raise Hangs(f"for {HANGS_S} s")

    before = signal.signal(signal.SIGALRM, ring)
    left_s = signal.alarm(HANGS_S)
    try:
        yield
    finally:
        signal.alarm(left_s)
        signal.signal(signal.SIGALRM, before)
