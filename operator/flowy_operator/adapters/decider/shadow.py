"""Which decisions are made twice, and whether the two are the same.

Code may depend on where things lie in memory: on `id()`, on the default `hash()` of an object, on the order of a set of
objects, on `hash(None)`. Children of one zygote lie alike, so that it looks fine, until the next zygote decides otherwise
in the middle of a run. So a share of the decisions is repeated in a zygote that lies elsewhere.
"""

import hashlib
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

from flowy.wire.messages import Answer, AnsweredCall, ErrorObject, Outcome

_ADVICE = (
    "code must not depend on id(), on hash() of objects or None, or on the order of a set: sort by something that is in "
    "the values"
)


def is_sampled(message: bytes, share: float) -> bool:
    """Whether this request belongs to the share, from 0 to 1. The same request always does, so a retry changes nothing."""
    if share <= 0:
        return False
    number = int.from_bytes(hashlib.blake2b(message, digest_size=8).digest())
    return number < share * 2**64


def difference(first: Answer, second: Answer) -> str | None:
    """What the second answer to one request has otherwise, in words; None if the same follows from both.

    What is for people alone is not compared: printed text, messages and tracebacks. Those often hold an object's address,
    and nothing follows from it.
    """
    if first.outcome is not second.outcome:
        return f"it {_ENDS[first.outcome]}, and then it {_ENDS[second.outcome]}"
    for calls, others in ((first.scheduled, second.scheduled), (first.repeated, second.repeated)):
        for call, other in zip_longest(calls, others):
            if call != other:
                return _of_calls(call, other)
    if first.waiting_on != second.waiting_on:
        return f"it waited for {_keys(first)}, and then for {_keys(second)}"
    for name, one, other in (
        ("result", first.result, second.result),
        ("arguments of restart", first.restart, second.restart),
        ("list of calls that came too late", first.dropped, second.dropped),
        ("error", _facts(first.error), _facts(second.error)),
        ("list of ignored errors", _all_facts(first.ignored_errors), _all_facts(second.ignored_errors)),
        ("number of calls", first.more, second.more),
        ("phase of its failure", first.phase, second.phase),
    ):
        if one != other:
            return f"its {name} was another"
    return None


def stalled(difference: str) -> Answer:
    """What the workflow gets instead of an answer of which the second differs. It is not tried again by itself."""
    message = f"run twice from the same history, the code did not do the same: {difference}; {_ADVICE}"
    return Answer(outcome=Outcome.STALLED, error={"type": "NonDeterminism", "message": message})


_ENDS: Mapping[Outcome, str] = {
    Outcome.SUSPENDED: "waited for a task",
    Outcome.COMPLETED: "returned",
    Outcome.FAILED: "failed",
    Outcome.RESTARTED: "restarted",
    Outcome.STALLED: "left its history",
}


def _of_calls(call: AnsweredCall | None, other: AnsweredCall | None) -> str:
    match call, other:
        case AnsweredCall(), AnsweredCall() if (call.key, call.line) == (other.key, other.line):
            return f"{call.key} (line {call.line}) was called with other arguments"
        case AnsweredCall(), AnsweredCall():
            return f"it called {_place(call)}, and then {_place(other)}"
        case (AnsweredCall() as one, None) | (None, AnsweredCall() as one):
            return f"it called {_place(one)} only once"
    raise AssertionError("two calls, at least one of which is there")


def _place(call: AnsweredCall) -> str:
    return f"{call.key} on line {call.line}"


def _keys(answer: Answer) -> str:
    return ", ".join(awaited.key for awaited in answer.waiting_on[:5]) or "nothing"


_FOR_PEOPLE = {"message", "traceback", "details", "recorded", "asked"}


def _facts(error: ErrorObject | None) -> Mapping[str, Any] | None:
    return None if error is None else {name: value for name, value in error.items() if name not in _FOR_PEOPLE}


def _all_facts(errors: Sequence[ErrorObject]) -> list[Mapping[str, Any] | None]:
    return [_facts(error) for error in errors]
