"""Recorded runs decide what they decided, whatever has changed since."""

import json
import os

import pytest

from flowy.wire.messages import Outcome
from flowy_cli.documents import run_of_file
from tests.golden.recording import beside, decision, export_of, names, story
from tests.golden.runs import RUNS

NAMES = names()


@pytest.mark.parametrize("name", NAMES)
def test_the_code_decides_what_it_decided(name: str) -> None:
    # Never write this file anew: a run that is open somewhere would not go on.
    assert json.loads(decision(name)) == json.loads(beside(name, "decision").read_text())


@pytest.mark.parametrize("name", NAMES)
def test_the_story_is_told_as_it_was(name: str) -> None:
    told = story(name)
    if os.environ.get("FLOWY_GOLDEN") == "write":
        beside(name, "story").write_text(told)
    assert told == beside(name, "story").read_text()
    assert told.startswith("exit code 0\n")


@pytest.mark.parametrize("name", NAMES)
def test_the_history_is_what_its_digest_says(name: str) -> None:
    run = run_of_file(str(export_of(name)))
    assert run.state.chain.digest == run.status.get("historyDigest", "")


def test_every_feature_is_recorded() -> None:
    assert set(RUNS) <= set(NAMES)


def test_none_of_them_deviates() -> None:
    outcomes = {
        told["answer"]["outcome"] for name in NAMES for told in json.loads(beside(name, "decision").read_text())
    }
    assert Outcome.STALLED not in outcomes
    assert {Outcome.SUSPENDED, Outcome.COMPLETED, Outcome.FAILED} <= outcomes
