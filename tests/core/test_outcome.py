"""What became of a launch."""

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowy.wire.values import MAX_LEVELS
from flowy_operator.core.history import Failure
from flowy_operator.core.outcome import MESSAGE_BYTES, Deleted, Disrupted, Failed, Outcome, Pending, Succeeded, judge
from flowy_operator.core.records import JobRecord, PodRecord
from tests.builders import at, job_record, pod_record

JOB = job_record()
DELETING = job_record(deleting=True)


def ended(message: str = "", code: int | None = 0, **fields: Any) -> PodRecord:
    phase = "Failed" if code or fields else "Succeeded"
    given: dict[str, Any] = {"phase": phase, "finished_at": at(9), "exit_code": code, "message": message}
    return pod_record(**(given | fields))


def dead(**fields: Any) -> JobRecord:
    return job_record(
        **({"failed_reason": "BackoffLimitExceeded", "failed_message": "it has reached its limit"} | fields)
    )


OUTCOMES: dict[str, tuple[JobRecord | None, PodRecord | None, bool, Outcome]] = {
    "nothing is seen yet": (None, None, False, Pending()),
    "the Job has no pod yet": (JOB, None, False, Pending()),
    "the pod waits": (JOB, pod_record(phase="Pending"), False, Pending()),
    "the pod runs": (JOB, pod_record(), False, Pending()),
    "the node doesn't answer": (JOB, pod_record(phase="Unknown"), False, Pending()),
    "the pod succeeded": (JOB, ended("1"), False, Succeeded("1", at(9))),
    "the pod's event overtakes its Job's": (None, ended("1"), False, Succeeded("1", at(9))),
    "a result counts though the Job is deleted": (DELETING, ended("1"), False, Succeeded("1", at(9))),
    "a result counts though the Job is gone": (None, ended("1"), True, Succeeded("1", at(9))),
    "N26: the Job is deleted while the pod runs": (DELETING, pod_record(deleting=True), False, Deleted()),
    "N26: the Job is gone": (None, None, True, Deleted()),
    "N26: the deletion makes the pod fail": (DELETING, ended(code=143), False, Deleted()),
    "F25: the pod is evicted": (JOB, ended(code=137, disruption="Evicted"), False, Disrupted("Evicted", at(9))),
    "F25: evicted before it began": (
        JOB,
        ended(code=None, disruption="Preempting", finished_at=None),
        False,
        Disrupted("Preempting"),
    ),
    "N26: the deletion of the Job goes before the disruption that it makes": (
        DELETING,
        ended(code=137, disruption="DeletionByTaintManager"),
        False,
        Deleted(),
    ),
    "the pod is deleted by hand, the Job hasn't noticed": (JOB, ended(code=143, deleting=True), False, Pending()),
    "the pod is deleted by hand, the Job isn't seen yet": (None, ended(code=143, deleting=True), False, Pending()),
    "the pod is deleted by hand, its Job still there": (
        dead(),
        ended(code=143, deleting=True),
        False,
        Disrupted("PodDeleted", at(9)),
    ),
    "the pod runs on while it is deleted": (dead(), pod_record(deleting=True), False, Pending()),
    "the Job's deadline makes the pod fail": (
        dead(failed_reason="DeadlineExceeded", failed_message="active longer than its deadline"),
        ended(code=143, deleting=True),
        False,
        Failed(Failure(type="DeadlineExceeded", message="active longer than its deadline"), None),
    ),
    "the pod is gone, its Job has failed": (dead(), None, False, Disrupted("PodGone")),
    "the pod is gone, a disruption failed its Job": (
        dead(failed_reason="PodFailurePolicy"),
        None,
        False,
        Disrupted("PodGone"),
    ),
    "the pod is gone, and its result with it": (job_record(complete=True), None, False, Disrupted("ResultLost")),
    "the pod is gone, the Job's deadline passed": (
        dead(failed_reason="DeadlineExceeded", failed_message=None),
        None,
        False,
        Failed(Failure(type="DeadlineExceeded", message="the Job failed: DeadlineExceeded"), None),
    ),
}


@pytest.mark.parametrize(("job", "pod", "job_deleted", "expected"), OUTCOMES.values(), ids=OUTCOMES)
def test_judge(job: JobRecord | None, pod: PodRecord | None, job_deleted: bool, expected: Outcome) -> None:
    assert judge(job, pod, job_deleted=job_deleted) == expected


LONGEST = json.dumps("x" * (MESSAGE_BYTES - 3))  # one byte below what may have been cut

RESULTS = {
    "nothing is null": ("", "null"),
    "whitespace is null": (" \n\t", "null"),
    "null": ("null", "null"),
    "whitespace around goes": (' {"a": 1.0}\n', '{"a": 1.0}'),
    "numbers stay as they are": ("1.0", "1.0"),
    "big ints stay as they are": ("9" * 400, "9" * 400),
    "escapes stay as they are": ('"\\ud83d\\ude00\\u0000"', '"\\ud83d\\ude00\\u0000"'),
    "an error object of a success is a value": ('{"error": {}}', '{"error": {}}'),
    "the longest": (LONGEST, LONGEST),
    "as deep as values may be": ("[" * MAX_LEVELS + "]" * MAX_LEVELS, "[" * MAX_LEVELS + "]" * MAX_LEVELS),
}


@pytest.mark.parametrize(("message", "result"), RESULTS.values(), ids=RESULTS)
def test_a_result_is_taken_as_it_is(message: str, result: str) -> None:
    assert judge(JOB, ended(message), job_deleted=False) == Succeeded(result, at(9))


REFUSED = {
    "plain text": ("done", "ResultInvalid", "the result is no JSON: Expecting value.*; it begins 'done'$"),
    "half a JSON": ('{"a": [1', "ResultInvalid", "the result is no JSON: .*; it begins"),
    "two values": ("1\n2", "ResultInvalid", "the result is no JSON: Extra data: line 2"),
    "a byte order mark": ("\ufeff1", "ResultInvalid", "the result is no JSON"),
    "NaN": ("[NaN]", "ResultInvalid", "the result is no JSON: NaN is no JSON number"),
    "infinity": ("-Infinity", "ResultInvalid", "the result is no JSON: -Infinity is no JSON number"),
    "a number beyond all floats": ("1e999", "ResultInvalid", "the result is no JSON: .*not JSON compliant"),
    "a lone surrogate": ('"\\ud800"', "ResultInvalid", "the result is no JSON: a lone surrogate"),
    "deeper than values may be": (
        "[" * (MAX_LEVELS + 1) + "]" * (MAX_LEVELS + 1),
        "ResultInvalid",
        f"the result has more than {MAX_LEVELS} levels",
    ),
    "deeper than Python's stack": ("[" * 4000, "ResultInvalid", "the result is (nested too deeply|no JSON)"),
    "a long text is shown in part": ("x" * 1000, "ResultInvalid", r"'x{200}' \(and 800 characters more\)$"),
    "it may have been cut": (json.dumps("x" * (MESSAGE_BYTES - 2)), "ResultTooLong", "all of the 4,096 bytes"),
    "bytes count, not characters": (json.dumps("é" * 2047, ensure_ascii=False), "ResultTooLong", "4,096 bytes"),
    "more than could have come": ("[" + "1," * 3000 + "1]", "ResultTooLong", "4,096 bytes"),
}


@pytest.mark.parametrize(("message", "kind", "words"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_result_fails_the_attempt(message: str, kind: str, words: str) -> None:
    outcome = judge(JOB, ended(message), job_deleted=False)
    assert isinstance(outcome, Failed)
    assert (outcome.failure.type, outcome.failure.exit_code, outcome.at) == (kind, 0, at(9))
    assert re.search(words, outcome.failure.message)


SHARES = {"one": (1, 4095, True), "three": (3, 4095, True), "four": (4, 3071, True), "four, too long": (4, 3072, False)}


@pytest.mark.parametrize(("containers", "size", "fits"), SHARES.values(), ids=SHARES)
def test_containers_share_what_the_kubelet_reports(containers: int, size: int, fits: bool) -> None:
    pod = pod_record(phase="Succeeded", exit_code=0, containers=containers, message=json.dumps("x" * (size - 2)))
    assert isinstance(judge(JOB, pod, job_deleted=False), Succeeded) is fits


def error(**fields: Any) -> str:
    return json.dumps({"error": fields})


FAILURES: dict[str, tuple[PodRecord, Failure]] = {
    "plain text": (
        ended("no such file\n", 2, reason="Error"),
        Failure(type="Error", message="no such file", exit_code=2),
    ),
    "no message": (
        ended("", 2, reason="Error"),
        Failure(type="Error", message="exit code 2, and no message", exit_code=2),
    ),
    "whitespace is no message": (
        ended(" \n", 2),
        Failure(type="Error", message="exit code 2, and no message", exit_code=2),
    ),
    "killed by a signal": (
        ended("", 137, reason="Error"),
        Failure(type="Error", message="exit code 137 (signal 9), and no message", exit_code=137),
    ),
    "255 is no signal": (
        ended("", 255, reason="Error"),
        Failure(type="Error", message="exit code 255, and no message", exit_code=255),
    ),
    "128 is no signal": (
        ended("", 128, reason="StartError"),
        Failure(type="StartError", message="exit code 128, and no message", exit_code=128),
    ),
    "out of memory": (
        ended("", 137, reason="OOMKilled"),
        Failure(
            type="OOMKilled",
            message="out of memory, exit code 137 (signal 9): raise the container's memory limit, or have it use less",
            exit_code=137,
        ),
    ),
    "out of memory after words": (
        ended("step 3", 137, reason="OOMKilled"),
        Failure(type="OOMKilled", message="step 3", exit_code=137),
    ),
    "no container ran, Kubernetes says why": (
        ended("", None, pod_message="The node had no room"),
        Failure(type="Error", message="The node had no room"),
    ),
    "nobody says why": (
        ended("", None, phase="Failed"),
        Failure(type="Error", message="the pod failed, and neither its container nor Kubernetes says why"),
    ),
    "the pod's own deadline passed after the container had ended": (
        ended("1", 0, phase="Failed", pod_reason="DeadlineExceeded", pod_message="Pod was active longer than ..."),
        Failure(
            type="DeadlineExceeded",
            message="Pod was active longer than ...; the container's last words: '1'",
            exit_code=0,
        ),
    ),
    "the pod fails for a reason without a sentence": (
        ended("", 1, pod_reason="AppArmor"),
        Failure(type="AppArmor", message="Kubernetes does not say why", exit_code=1),
    ),
    "the pod fails after the container had ended, and nobody says why": (
        ended("1", 0, phase="Failed", reason="Completed", pod_message="so it is"),
        Failure(type="PodFailed", message="so it is", exit_code=0),
    ),
    "another container failed": (
        ended("1", 0, other_failure="proxy: exit code 1"),
        Failure(type="ContainerFailed", message="proxy: exit code 1", exit_code=0),
    ),
    "an init container failed": (
        ended("", None, other_failure="fetch: exit code 1"),
        Failure(type="ContainerFailed", message="fetch: exit code 1"),
    ),
    "both failed: the activity tells": (
        ended("no", 3, other_failure="proxy: exit code 1"),
        Failure(type="Error", message="no", exit_code=3),
    ),
    "an error object": (
        ended(error(type="NoSuchFilm", message="film 7", details={"id": 7.0}), 3),
        Failure(type="NoSuchFilm", message="film 7", exit_code=3, details='{"id": 7.0}'),
    ),
    "an empty error object": (
        ended(error(), 3),
        Failure(type="Error", message="exit code 3, and no message", exit_code=3),
    ),
    "a type that is no text": (ended(error(type=[1], message="m"), 3), Failure(type="Error", message="m", exit_code=3)),
    "an empty type": (ended(error(type="", message="m"), 3), Failure(type="Error", message="m", exit_code=3)),
    "a message that is no text": (
        ended(error(type="T", message={"a": 1}), 3),
        Failure(type="T", message="exit code 3, and no message", exit_code=3),
    ),
    "details that are false": (
        ended(error(message="m", details=False), 3),
        Failure(type="Error", message="m", exit_code=3, details="false"),
    ),
    "details that are null": (
        ended(error(message="m", details=None), 3),
        Failure(type="Error", message="m", exit_code=3),
    ),
    "a type that is one of ours is only a word": (
        ended(error(type="TaskCancelled", message="m"), 3),
        Failure(type="TaskCancelled", message="m", exit_code=3),
    ),
    "an error that is text": (
        ended('{"error": "no"}', 3),
        Failure(type="Error", message='{"error": "no"}', exit_code=3),
    ),
    "JSON of another form": (ended("[1]", 3), Failure(type="Error", message="[1]", exit_code=3)),
    "details with NaN": (
        ended('{"error":{"details":NaN}}', 3),
        Failure(type="Error", message='{"error":{"details":NaN}}', exit_code=3),
    ),
    "details beyond all floats": (
        ended('{"error":{"details":-1e999}}', 3),
        Failure(type="Error", message='{"error":{"details":-1e999}}', exit_code=3),
    ),
    "details with a lone surrogate": (
        ended('{"error":{"details":"\\udc00"}}', 3),
        Failure(type="Error", message='{"error":{"details":"\\udc00"}}', exit_code=3),
    ),
    "details as deep as no value may be": (
        ended('{"error":{"details":' + "[" * 300 + "]" * 300 + "}}", 3),
        Failure(type="Error", message='{"error":{"details":' + "[" * 300 + "]" * 300 + "}}", exit_code=3),
    ),
    "an object that may have been cut is text": (
        ended(error(message="m", details="x" * 4096)[:MESSAGE_BYTES], 3),
        Failure(type="Error", message=error(message="m", details="x" * 4096)[:MESSAGE_BYTES], exit_code=3),
    ),
}


@pytest.mark.parametrize(("pod", "failure"), FAILURES.values(), ids=FAILURES)
def test_what_a_failure_says(pod: PodRecord, failure: Failure) -> None:
    assert judge(JOB, pod, job_deleted=False) == Failed(failure, at(9))


@pytest.mark.parametrize(("said", "retryable"), [(False, False), (True, True), (0, True), ("no", True), (None, True)])
def test_only_a_false_says_that_trying_again_is_useless(said: object, retryable: bool) -> None:
    outcome = judge(JOB, ended(error(message="m", retryable=said), 3), job_deleted=False)
    assert isinstance(outcome, Failed)
    assert outcome.retryable is retryable


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.text(max_size=30) | json_values.map(json.dumps), st.sampled_from([0, 1, 137, None]))
def test_no_message_raises_and_no_result_surprises(message: str, code: int | None) -> None:
    message = message.encode(errors="replace").decode()
    outcome = judge(JOB, ended(message, code, phase="Succeeded" if code == 0 else "Failed"), job_deleted=False)
    match outcome:
        case Succeeded(result):
            json.dumps(json.loads(result), allow_nan=False, ensure_ascii=False).encode()
        case Failed(failure):
            assert failure.type
            assert failure.message
        case _:
            pytest.fail(f"{outcome} of a pod that ended")
