"""`same_in_every_order`: whether what comes out of a workflow depends on who finishes first.

All orders are tried where they are few, else a number of them that a seed chooses: the same ones each time.
"""

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, islice
from typing import Any

from flowy.testing.deciding import check_args
from flowy.testing.ordered import Choose
from flowy.testing.rehearsal import Rehearsal, Rehearsed, in_order


@dataclass(frozen=True, slots=True)
class Orders:
    """How many orders were tried, and whether those are all that there are."""

    tried: int
    are_all: bool


def ending(run: Rehearsed) -> Mapping[str, Any]:
    """The result of a run, or its error."""
    return run.ending


def same_in_every_order(
    rehearsal: Rehearsal,
    *,
    args: Sequence[object] = (),
    kwargs: Mapping[str, object] | None = None,
    of: Callable[[Rehearsed], object] = ending,
    runs: int = 200,
    seed: int = 0,
) -> Orders:
    """Run a workflow in up to `runs` orders of completion, and compare what `of` gives for each: by default how it ends.

    Raises AssertionError that names two orders with different values. What `of` raises, an assertion about a single run
    say, leaves it with a note that names the order.
    """
    if not isinstance(rehearsal, Rehearsal):
        raise TypeError(f"it takes a Rehearsal of the workflow, not {rehearsal!r}")
    if runs < 1:
        raise ValueError(f"runs is {runs}: at least 1")
    check_args(args)
    if rehearsal.order is not None or rehearsal.stop_after is not None:
        raise ValueError("every order is tried, and none has times: give the rehearsal neither order nor stop_after")
    seen: tuple[Sequence[str], object] | None = None
    tried = 0
    choosers = _choosers(runs, seed)
    for choose in islice(choosers, runs):
        run = in_order(rehearsal, choose, args, kwargs or {})
        tried += 1
        try:
            value = of(run)
        except Exception as raised:
            raised.add_note(_again(run.order))
            raise
        if seen is None:
            seen = run.order, value
        elif value != seen[1]:
            raise AssertionError(_told(*seen, run.order, value))
    return Orders(tried, next(choosers, None) is None)


def _choosers(runs: int, seed: int) -> Iterator[Choose]:
    """One for each order, to be used before the next one is asked for: all orders, or by chance without an end."""
    path = _Path()
    yield path
    # How many there are, if each order has the choices that the first one had: exact as a rule, else a good guess.
    if math.prod(path.widths) > runs:
        for n in count(seed):
            yield _Random(n)
    while path.to_next():
        yield path


class _Path:
    """Chooses along a path in the tree of all choices; after a run, `to_next` turns to the next one, depth first."""

    def __init__(self) -> None:
        self._choices: list[int] = []
        self.widths: list[int] = []

    def __call__(self, running: Sequence[str]) -> int:
        at = len(self.widths)
        self.widths.append(len(running))
        if at == len(self._choices):
            self._choices.append(0)
        return self._choices[at]

    def to_next(self) -> bool:
        """Whether there is a further path."""
        while self.widths and self._choices[-1] + 1 == self.widths[-1]:
            self._choices.pop()
            self.widths.pop()
        if not self._choices:
            return False
        self._choices[-1] += 1
        self.widths = []
        return True


class _Random:
    """Chooses by chance. A plain generator: who tests wants the same orders again."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - nothing to keep secret

    def __call__(self, running: Sequence[str]) -> int:
        return self._random.randrange(len(running))


def _told(first: Sequence[str], expected: object, other: Sequence[str], got: object) -> str:
    shared = next(
        (n for n, (a, b) in enumerate(zip(first, other, strict=False)) if a != b), min(len(first), len(other))
    )
    lines = [
        "it depends on who finishes first:",
        f"  in the order {', '.join(first)}",
        f"    {expected!r}",
        f"  in the order {', '.join(other)}",
        f"    {got!r}",
        f"  they part after {', '.join(first[:shared]) or 'the start'}",
        _again(other),
    ]
    return "\n".join(lines)


def _again(order: Sequence[str]) -> str:
    return f"to see this one alone: Rehearsal(..., order={list(order)!r})"
