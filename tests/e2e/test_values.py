"""Values of up to 1 MiB on a real node: by the log, through a ConfigMap, to the byte; and what is refused."""

import hashlib
import json
import time
from typing import Any, NamedTuple

import pytest

from flowy.policy.lengths import MAX_VALUE_BYTES
from tests.e2e.kube import Kube, condition, events, result
from tests.e2e.manifests import shell, workflow
from tests.e2e.operator import OperatorProcess

RETURNED = """
def w(t):
    def run():
        r = t()
        return [len(r), r[:9]] if isinstance(r, str) and len(r) > 9 else r
    return run
"""
PASSED = """
def w(say, hear):
    def run():
        text = say()
        return [len(text), hear(text)]
    return run
"""
LOG = {"result": {"from": "Log"}}
AROUND = len('{"args":[],"kwargs":{}}')

# One line of so many bytes, quotes counted: HTML's letters, and a letter of two bytes so that nothing is plain ASCII.
LINE = r"""awk -v n={size} 'BEGIN {{ s = "<\\\"\\u0001&é>"; while (length(s) < 4096) s = s s;
printf "\""; n -= 2; while (n > length(s)) {{ printf "%s", s; n -= length(s) }}; while (n-- > 0) printf "x"; print "\"" }}'"""


class Case(NamedTuple):
    script: str
    expected: Any = None
    failure: tuple[str, str] | None = None


CASES = {
    "all that is printed": Case("printf '{\"a\":\\n [1.0]}\\n'", {"a": [1.0]}),
    "noise, then a value": Case("echo 50 %; echo oops >&2; sleep 0.1; echo '[1]'; echo", [1]),
    "nothing": Case("true", None),
    "noise of 3 MiB, then a value": Case(
        "yes 0123456789abcdef | head -c 3000000; echo; printf '\"%1000000s\"' y", [1_000_000, " " * 9]
    ),
    "binary": Case("head -c 5000 /bin/busybox", failure=("ResultInvalid", "its last line is no UTF-8 at byte")),
    "words": Case("echo hello", failure=("ResultInvalid", "that line begins 'hello'")),
    "a byte too many": Case(
        f"printf '\"%{MAX_VALUE_BYTES - 1}s\"' y", failure=("ResultTooLong", "1,048,577 bytes, at most 1,048,576")
    ),
    "a line of 3 MiB": Case(
        "printf '\"%3000000s\"' y", failure=("ResultTooLong", "more than 1,048,576 bytes, at most 1,048,576")
    ),
}


def _name(case: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in case.lower())


@pytest.fixture(scope="module")
def ended(served: Kube) -> dict[str, dict[str, Any]]:
    """Every case's workflow after its end; they all run at once."""
    for case, (script, _, _) in CASES.items():
        served.apply(workflow(_name(case), RETURNED, [shell("t", script, activity=LOG)]))
    return {case: served.wait_end(_name(case)) for case in CASES}


@pytest.mark.parametrize("case", CASES)
def test_what_is_printed(ended: dict[str, dict[str, Any]], case: str) -> None:
    body, (_, expected, failure) = ended[case], CASES[case]
    if failure is None:
        assert result(body) == expected
        return
    kind, words = failure
    assert condition(body, "Succeeded")[1] == "Failed"
    assert body["status"]["error"]["type"] == kind
    assert words in body["status"]["error"]["message"]


def test_the_longest_value_passes_from_step_to_step_to_the_byte(served: Kube) -> None:
    size = MAX_VALUE_BYTES - AROUND
    say = shell("say", LINE.format(size=size), activity=LOG)
    # What stands around the one argument is cut off: the rest is what was printed.
    hear = shell(
        "hear",
        f'tail -c +10 "$FLOWY_INPUT_FILE" | head -c {size} | sha256sum | cut -c1-64 | sed \'s/.*/"&"/\' > $FLOWY_RESULT_FILE;'
        ' [ "$(wc -c < "$FLOWY_INPUT_FILE")" = ' + f"{MAX_VALUE_BYTES} ]",
    )
    served.apply(workflow("passed", PASSED, [say, hear], jobs={"keepSucceededSeconds": 1}))
    body = served.wait_end("passed")
    length, heard = result(body)
    (said,) = [event for event in events(body, "TaskCompleted") if event["task"] == "say-0"]
    assert said["resultRef"]["bytes"] == size
    assert said["resultRef"]["digest"] == heard
    words = ["-o", "go-template={{.binaryData.value | base64decode}}"]
    text = served.run("get", "configmap", said["resultRef"]["name"], *words).stdout
    assert hashlib.sha256(text.encode()).hexdigest() == heard
    assert len(json.loads(text)) == length
    # The arguments' ConfigMap goes with its Job, the result's stays with the workflow.
    deadline = time.monotonic() + 30
    selector = "flowy.dev/workflow=passed"
    while served.list("jobs", selector):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert [found["metadata"]["name"] for found in served.list("configmaps", selector)] == [said["resultRef"]["name"]]
    served.run("delete", "workflow", "passed", "--cascade=foreground")
    assert served.list("configmaps", selector) == []


def test_a_kill_between_the_config_map_and_the_event(kube: Kube, operator: OperatorProcess) -> None:
    say = shell("say", "printf '\"%900000s\"' y", activity=LOG)
    hear = shell("hear", 'wc -c < "$FLOWY_INPUT_FILE" > $FLOWY_RESULT_FILE')
    kube.apply(workflow("killed", PASSED, [say, hear]))
    deadline = time.monotonic() + 60
    while not kube.list("configmaps", "flowy.dev/workflow=killed"):
        assert time.monotonic() < deadline
    operator.kill()
    operator.start()
    assert result(kube.wait_end("killed")) == [900_000, 900_000 + 2 + AROUND]
    assert len(kube.list("jobs", "flowy.dev/workflow=killed")) == 2
