"""Recorded runs decide what they decided, whatever has changed since."""

import dataclasses
import json
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import get_args

import pytest

from flowy.policy.timeout import Timer
from flowy.wire.messages import Outcome
from flowy_cli.documents import run_of_file
from flowy_cli.run import Run
from flowy_operator.core.history import CancelReason, Fact, Failure, FailureClass, StopMode, event_json
from flowy_operator.core.values import ValueRef
from tests.golden.recording import beside, decision, export_of, names, story
from tests.golden.runs import RUNS

NAMES = names()


def _key(name: str) -> str:
    """In JSON. Said once more, since it is format: whoever changes the other changes old histories."""
    first, *rest = ("class",) if name == "failure_class" else name.split("_")
    return "".join((first, *(word.title() for word in rest)))


KEYS = {
    kind.__name__: {_key(field.name) for field in dataclasses.fields(kind)}
    for kind in (*get_args(Fact), Failure, ValueRef)
}
WORDS: Sequence[type[StrEnum]] = (CancelReason, FailureClass, StopMode, Timer)


def _family(name: str) -> Iterator[Run]:
    ahead = [run_of_file(str(export_of(name)))]
    while ahead:
        run = ahead.pop()
        ahead += run.children.values()
        yield run


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


def test_each_type_field_and_word_of_a_history_is_recorded() -> None:
    """What is added to the format comes with a run that has it."""
    events = [event_json(event) for name in NAMES for run in _family(name) for event in run.events]
    fields: defaultdict[str, set[str]] = defaultdict(set)
    for event in events:
        fields[event["type"]] |= event.keys() - {"id", "time", "type"}
    nested = {"error": "Failure", "resultRef": "ValueRef"}
    for event in events:
        for key in event.keys() & nested.keys():
            fields[nested[key]] |= event[key].keys()
    assert fields == KEYS
    said = {value for event in events for value in event.values() if isinstance(value, str)}
    # A task is failed by its own error where nothing is said.
    assert {word for words in WORDS for word in words} - said == {FailureClass.ERROR}


def test_none_of_them_deviates() -> None:
    outcomes = {
        told["answer"]["outcome"] for name in NAMES for told in json.loads(beside(name, "decision").read_text())
    }
    assert Outcome.STALLED not in outcomes
    assert {Outcome.SUSPENDED, Outcome.COMPLETED, Outcome.FAILED} <= outcomes
