"""The locked process that replays code for a user: begun early, waited for when it is needed, gone afterwards."""

import contextlib
import os
import sys
from pathlib import Path

import pytest

from flowy.wire.messages import Outcome, Request
from flowy_cli.errors import CliError
from flowy_cli.replaying import decider
from flowy_operator.adapters.decider import spawn

REQUEST = Request(
    source="def main(step):\n    def run():\n        return 7\n    return run\n",
    entrypoint="main",
    tasks=("step",),
    input='{"args": [], "kwargs": {}}',
)


def children() -> set[int]:
    """The processes that this one has started and not seen the end of."""
    found: set[int] = set()
    for task in Path(f"/proc/{os.getpid()}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread that has ended meanwhile has none
            found.update(map(int, (task / "children").read_text().split()))
    return found


def test_it_decides_and_is_gone() -> None:
    before = children()
    with decider.locked() as within:
        answer = within(10.0)(REQUEST)
        assert children() > before
    assert (answer.outcome, answer.result) == (Outcome.COMPLETED, "7")
    assert children() == before


def test_what_nobody_needed_is_gone_too() -> None:
    before = children()
    with pytest.raises(ValueError, match="unreadable"), decider.locked():
        raise ValueError("unreadable")
    assert children() == before


def test_it_says_what_else_could_be_done_where_nothing_can_be_locked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spawn, "_BOOT", "raise SystemExit('no')")
    with decider.locked() as within, pytest.raises(CliError, match="can't be locked in here") as failed:
        within(10.0)(REQUEST)
    assert failed.value.advice == "with --unlocked the code runs with your own rights: read it first"


def test_other_systems_have_no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with decider.locked() as within, pytest.raises(CliError, match="locked in by Linux, and this is darwin"):
        within(10.0)(REQUEST)
