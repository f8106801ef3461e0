"""What has once broken something breaks nothing any more, and some new cases don't either. `make fuzz` tries others."""

import os
from typing import Any

import pytest
from hypothesis import strategies as st

from tests.fuzz.hunt import CORPUS, Broken, corpus, hunt
from tests.fuzz.schema import schema_of, troubles
from tests.fuzz.targets import TARGETS, Target

ROUNDS = int(os.environ.get("FUZZ_ROUNDS", "1"))
"""CI takes as many as run for five minutes."""

KEPT = {f"{target}/{name}": (target, case) for target in TARGETS for name, case in corpus(target)}


@pytest.mark.parametrize(("target", "case"), KEPT.values(), ids=KEPT)
def test_what_was_mended_stays_mended(target: str, case: Any) -> None:
    TARGETS[target].check(case)


def test_the_corpus_has_no_cases_of_targets_that_there_are_not() -> None:
    assert {path.name for path in CORPUS.iterdir()} <= set(TARGETS)


@pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisWarning")  # its words for a strategy are long
@pytest.mark.parametrize("number", range(1, ROUNDS + 1))
@pytest.mark.parametrize("target", TARGETS)
def test_some_cases_of(target: str, number: int) -> None:
    # The same ones each time: a change is then to blame for what it breaks.
    assert hunt(TARGETS[target], TARGETS[target].few, number) > 0


def test_a_case_that_breaks_its_target_is_made_small() -> None:
    def check(case: list[int]) -> None:
        assert sum(case) < 100

    with pytest.raises(Broken) as caught:
        hunt(Target(st.lists(st.integers(0, 1000)), check, few=1), 1000, 1)
    assert caught.value.case == [100]


STATUSES: dict[str, tuple[Any, list[str]]] = {
    "what the operator writes": ({"run": 1, "historyDigest": "0" * 16}, []),
    "a number that is text": ({"run": "1"}, ["status.run is '1', not integer"]),
    "a digest that is none": ({"historyDigest": ""}, ["status.historyDigest is ''"]),
    "a field that is lost": ({"evil": 1}, ["status.evil is unknown, and would be lost"]),
    "an event that is anything": ({"history": [{"evil": [1]}]}, []),
    "a condition without its reason": (
        {"conditions": [{"type": "x", "status": "True", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]},
        ["status.conditions[0] lacks reason"],
    ),
    "a time that Go doesn't read": ({"startTime": "2026-01-01"}, ["status.startTime is '2026-01-01', no time"]),
}


@pytest.mark.parametrize(("status", "expected"), STATUSES.values(), ids=STATUSES)
def test_a_status_is_looked_at_as_the_api_server_does(status: Any, expected: list[str]) -> None:
    assert list(troubles(status, schema_of("workflows", "status"), "status")) == expected
