"""Logs as results: which part counts, and what is refused with which words."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowy.policy.lengths import MAX_VALUE_BYTES
from flowy_operator.core.collected import Log, is_to_collect, result_of_log
from flowy_operator.core.outcome import Failed, Succeeded
from flowy_operator.core.records import JobRecord, PodRecord
from flowy_operator.core.spec import Activity, ResultFrom
from flowy_operator.core.values import INLINE_BYTES
from tests.builders import at, job_record, pod_record, task_spec

POD = pod_record(phase="Succeeded", finished_at=at(3))
LONGEST = b'"' + b"x" * (MAX_VALUE_BYTES - 2) + b'"'
LONGER = b'"' + b"x" * (MAX_VALUE_BYTES - 1) + b'"'

RESULTS: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "null"),
    "white space": (b"\n \r\n\t\n", "null"),
    "one value": (b"[1.0]\n", "[1.0]"),
    "one value of several lines": (b'{\n  "a": 1\n}\n', '{\n  "a": 1\n}'),
    "a value without an end of line": (b"1", "1"),
    "noise, then a value": (b"starting\n50 %\n[1.0]\n", "[1.0]"),
    "lines that are values: the last": (b"1\n2\n", "2"),
    "a value, then empty lines": (b'done\n{"a":1}\n\n \n', '{"a":1}'),
    "binary, then a value": (b"\xff\xfe\x00\n7\n", "7"),
    "ends of lines as of DOS": (b"x\r\n[1]\r\n", "[1]"),
    "exact numbers": (b"[1.0,-0.0,12345678901234567890123]", "[1.0,-0.0,12345678901234567890123]"),
    "a key that stands twice": (b'{"a":1,"a":2}', '{"a":1,"a":2}'),
    "200 levels": (b"[" * 200 + b"]" * 200, "[" * 200 + "]" * 200),
    "what fits into an event": (b"1" * 9 + b" " * INLINE_BYTES, "1" * 9),
    "the longest": (LONGEST, LONGEST.decode()),
    "the longest, its line's end not counted": (LONGEST + b"\r\n", LONGEST.decode()),
    "noise before the longest": (b"noise\n" + LONGEST, LONGEST.decode()),
}


@pytest.mark.parametrize(("content", "result"), RESULTS.values(), ids=RESULTS)
def test_what_counts(content: bytes, result: str) -> None:
    assert result_of_log(POD, Log(content, is_whole=True)) == Succeeded(result, at(3))


REFUSED: dict[str, tuple[bytes, str, str]] = {
    "words": (
        b"hello\nworld\n",
        "ResultInvalid",
        "its last line is no JSON: Expecting value: line 1 column 1 (char 0); that line begins 'world'",
    ),
    "half a value": (b'{"a": [1, 2', "ResultInvalid", "that line begins '{\"a\": [1, 2'"),
    "two values in a line": (b"1 2", "ResultInvalid", "its last line is no JSON: Extra data: line 1 column 3 (char 2)"),
    "noise behind the value": (b"[1]\nbye\n", "ResultInvalid", "that line begins 'bye'"),
    "binary": (
        b"\x89PNG\xff\x00",
        "ResultInvalid",
        "its last line is no UTF-8 at byte 0; that line begins '\\\\x89PNG\\\\xff\\x00'",
    ),
    "no number": (b"NaN", "ResultInvalid", "its last line is no JSON: NaN is no JSON number"),
    "infinity": (b"[-Infinity]", "ResultInvalid", "its last line is no JSON: -Infinity is no JSON number"),
    "a number beyond all floats": (b"[1e999]", "ResultInvalid", "its last line is no JSON"),
    "a lone surrogate": (b'"\\ud800"', "ResultInvalid", "its last line is no JSON: a lone surrogate"),
    "201 levels": (b"[" * 201 + b"]" * 201, "ResultInvalid", "its last line has more than 200 levels"),
    "levels beyond any parser": (b"[" * 500_000, "ResultInvalid", "its last line is nested too deeply"),
    "a number of too many digits": (b"1" * 5000, "ResultInvalid", "its last line is no JSON: Exceeds the limit"),
    "one byte too many": (
        LONGER,
        "ResultTooLong",
        "the log and its last line are too long for a result: 1,048,577 bytes, at most 1,048,576",
    ),
}


@pytest.mark.parametrize(("content", "kind", "words"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused(content: bytes, kind: str, words: str) -> None:
    outcome = result_of_log(POD, Log(content, is_whole=True))
    assert isinstance(outcome, Failed)
    assert (outcome.failure.type, outcome.failure.exit_code, outcome.at) == (kind, 0, at(3))
    assert words in outcome.failure.message
    assert len(outcome.failure.message) < 600


def test_a_long_line_is_shown_in_part() -> None:
    outcome = result_of_log(POD, Log(b"x" * 1000, is_whole=True))
    assert isinstance(outcome, Failed)
    assert outcome.failure.message.endswith("x' (and 800 characters more)")


ENDS: dict[str, tuple[bytes, str | None]] = {
    "its last line": (b"tail of noise\n[1]\n", "[1]"),
    "the longest": (b"\n" + LONGEST + b"\n\n", LONGEST.decode()),
    "a line of which the beginning isn't there": (b"1" * MAX_VALUE_BYTES, None),
    "the same, with empty lines": (b"1]\n\n\n", None),
    "one byte too many": (b"\n" + LONGER, None),
}


@pytest.mark.parametrize(("content", "result"), ENDS.values(), ids=ENDS)
def test_of_a_longer_log_only_a_line_that_is_whole_counts(content: bytes, result: str | None) -> None:
    outcome = result_of_log(POD, Log(content, is_whole=False))
    if result is not None:
        assert outcome == Succeeded(result, at(3))
        return
    assert isinstance(outcome, Failed)
    assert outcome.failure.type == "ResultTooLong"
    assert "at most 1,048,576" in outcome.failure.message


def test_a_longer_log_that_ends_in_nothing() -> None:
    outcome = result_of_log(POD, Log(b" \n" * 2048, is_whole=False))
    assert isinstance(outcome, Failed)
    assert outcome.failure.type == "ResultInvalid"
    assert outcome.failure.message.endswith("and nothing but empty lines at its end")


def test_a_longer_log_that_ends_in_words() -> None:
    outcome = result_of_log(POD, Log(b"x\nbye\n", is_whole=False))
    assert isinstance(outcome, Failed)
    assert outcome.failure.type == "ResultInvalid"
    assert outcome.failure.message.startswith("the log has more than 1,048,576 bytes, and its last line is no JSON")


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.binary(), st.text("\r\n\t ", max_size=9), _values)
def test_any_value_on_the_last_line_is_found_to_the_byte(noise: bytes, space: str, value: object) -> None:
    text = json.dumps(value)
    found = result_of_log(POD, Log(noise + b"\n" + text.encode() + space.encode(), is_whole=True))
    assert isinstance(found, Succeeded)
    # Noise may happen to be white space, or to make one value with what follows: then that is the result.
    assert found.result == text or json.loads((noise + b"\n" + text.encode()).decode()) is not None


@given(st.binary(max_size=2000))
def test_any_bytes_have_an_outcome(content: bytes) -> None:
    for is_whole in (True, False):
        outcome = result_of_log(POD, Log(content, is_whole=is_whole))
        assert isinstance(outcome, Succeeded | Failed)


LOG, FILE = (
    task_spec(activity=Activity(image="i", result_from=source)) for source in (ResultFrom.LOG, ResultFrom.FILE)
)

COLLECTED: dict[str, tuple[JobRecord | None, PodRecord | None, bool]] = {
    "nothing there": (None, None, False),
    "not yet": (job_record(), pod_record(), False),
    "succeeded": (job_record(), POD, True),
    "succeeded, its Job not seen yet": (None, POD, True),
    "failed": (job_record(), pod_record(phase="Failed"), False),
    "complete, its pod not there": (job_record(complete=True), None, True),
    "failed, its pod not there": (job_record(failed_reason="BackoffLimitExceeded"), None, False),
}


@pytest.mark.parametrize(("job", "pod", "expected"), COLLECTED.values(), ids=COLLECTED)
def test_which_results_are_fetched(job: JobRecord | None, pod: PodRecord | None, expected: bool) -> None:
    assert is_to_collect(LOG, job, pod) is expected
    assert not is_to_collect(FILE, job, pod)
