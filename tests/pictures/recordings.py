"""Executions for tests of pictures: recorded ones, and ones made by hand."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from flowy.replay.replayer import replay
from flowy.wire.keys import task_of
from flowy_cli.documents import run_of_file
from flowy_cli.pictures.execution import Attempt, Call, Execution, Kind, Look, Standing
from flowy_cli.pictures.reading import execution_of

HISTORIES = Path(__file__).parents[1] / "histories"
GOLDEN = Path(__file__).parent / "golden"
NAMES = ("video", "video-open", "nested", "saga", "quorum", "map-reduce")

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
NOW = START + timedelta(seconds=10)


def recording(name: str) -> Execution:
    """A recorded run, ten seconds after the start of those that are open."""
    return execution_of(run_of_file(str(HISTORIES / f"{name}.json")), now=NOW, replay=replay)


def assert_golden(name: str, text: str) -> None:
    """Compare with the recorded text; FLOWY_GOLDEN=write records it."""
    path = GOLDEN / name
    if os.environ.get("FLOWY_GOLDEN") == "write":
        path.write_text(text)
    assert text == path.read_text()


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def call(
    key: str,
    *takes: str,
    begin: float | None = 0.0,
    end: float | None = None,
    looks: int = 0,
    standing: Standing | None = None,
    **further: Any,
) -> Call:
    """A call with one attempt from `begin` to `end`; without a begin it was never launched, without an end it runs."""
    stands = standing or (Standing.CALLED if begin is None else Standing.RUNNING if end is None else Standing.SUCCEEDED)
    attempts = [] if begin is None else [attempt(begin, end, standing=stands)]
    given: dict[str, Any] = {"attempts": attempts, "kind": Kind.ACTIVITY, **further}
    return Call(
        key=key,
        task=task_of(key),
        standing=stands,
        takes=takes,
        looks=looks,
        scheduled_at=None if begin is None else at(begin),
        finished_at=None if end is None else at(end),
        **given,
    )


def attempt(begin: float, end: float | None, **further: Any) -> Attempt:
    given: dict[str, Any] = {"number": 1, "standing": Standing.SUCCEEDED, "name": "job", **further}
    return Attempt(scheduled_at=at(begin), ended_at=None if end is None else at(end), **given)


def execution(calls: Sequence[Call], *looks: str, until: float = 10.0, **further: Any) -> Execution:
    """A run of these calls that looked at these outcomes, in the lines 1, 2, 3 …"""
    given: dict[str, Any] = {"standing": Standing.SUCCEEDED, **further}
    return Execution(
        namespace="ns",
        name="w",
        started_at=START,
        until=at(until),
        calls=tuple(calls),
        looks=tuple(Look(key, line) for line, key in enumerate(looks, 1)),
        **given,
    )


def wide(count: int) -> Execution:
    """Many calls that nobody can tell apart, between two; a few have failed."""
    failed: dict[str, Any] = {"standing": Standing.FAILED, "reason": "Error: no"}
    middle = [
        call(f"step-{n}", "split-0", begin=1, end=2 + n % 7, **(failed if n % 400 == 7 else {})) for n in range(count)
    ]
    return execution([call("split-0", end=1), *middle, call("add-0", *(c.key for c in middle), begin=9, end=10)])


def web(count: int) -> Execution:
    """Calls of which no two look alike: each takes the results of two earlier ones."""
    takes = [list(dict.fromkeys((f"step-{n // 2}", f"step-{n * 7919 % 104729 % n}"))) for n in range(1, count)]
    calls = [call(f"step-{n}", *keys, begin=n / 100, end=(n + 1) / 100) for n, keys in enumerate(takes, 1)]
    return execution([call("step-0", end=0.01), *calls])
