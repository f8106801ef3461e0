"""The saga example: its steps in this machine's shell, and what its code does when it is stopped."""

from pathlib import Path
from typing import Any

import pytest

from flowy.testing import decide
from tests.examples.container import EXAMPLES, Containers, factory, manifest

LEGS = ["flight", "hotel", "car"]
BOOKED = {f"book-{n}": f"{leg}-4711" for n, leg in enumerate(LEGS)}


def test_the_readme_counts_its_lines() -> None:
    lines = len((EXAMPLES / "saga" / "workflow.yaml").read_text(encoding="utf-8").splitlines())
    assert f"61 lines against {lines} here" in (EXAMPLES / "saga" / "README.md").read_text(encoding="utf-8")


def test_all_is_booked(tmp_path: Path) -> None:
    there = Containers(manifest("saga"), tmp_path, tmp_path)
    assert factory(there.workflow)(**there.functions())(["flight", "hotel"]) == ["flight-4711", "hotel-4711"]


def test_a_boat_is_not(tmp_path: Path) -> None:
    there = Containers(manifest("saga"), tmp_path, tmp_path)
    assert there.run("book", "boat").error == {"type": "SoldOut", "message": "no boat on that day"}
    assert there.run("cancel", "flight-4711").log == "cancelled flight-4711\n"


@pytest.mark.parametrize("ended", [{"cancelled": {"book-2": "StopRequested"}}, {"errors": {"book-2": "sold out"}}])
def test_what_was_booked_is_cancelled_by_a_stop_as_by_a_failure(ended: dict[str, Any]) -> None:
    trip = (manifest("saga")["spec"]["code"]["source"], None)
    results = {key: value for key, value in BOOKED.items() if key != "book-2"}
    decision = decide(trip, tasks=["book", "cancel"], args=[LEGS], results=results, **ended)
    assert [(call.key, call.args) for call in decision.scheduled] == [
        ("cancel-0", ("flight-4711",)),
        ("cancel-1", ("hotel-4711",)),
    ]
    undone: dict[str, Any] = {"cancel-0": None, "cancel-1": None}
    decision = decide(trip, tasks=["book", "cancel"], args=[LEGS], results=undone | results, **ended)
    assert decision.outcome == "failed"
    assert decision.error is not None
    assert decision.error["task"] == "book-2"
