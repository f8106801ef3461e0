"""Heartbeats from real pods, with nothing but busybox wget."""

import time
from typing import Any

import pytest

from tests.e2e.kube import Kube, events, result
from tests.e2e.manifests import shell, workflow
from tests.e2e.operator import OperatorProcess

ONE = "def w(t):\n    def run():\n        return t()\n    return run\n"
CAUGHT = """
from flowy import TaskTimedOut, wait

def w(t):
    def run():
        bad = t()
        try:
            wait(bad)
        except TaskTimedOut as error:
            return [error.timer, error.attempt, error.details]
    return run
"""
CALL = """
call() { wget -q -O - --header "Authorization: Bearer $(cat $FLOWY_TOKEN_FILE)" "$@"; }
beat() { call --post-data "$1" $FLOWY_URL/heartbeat; }
"""
SILENT = {"heartbeatSeconds": 4}

CASES: dict[str, tuple[str, dict[str, Any], Any]] = {
    "kept-alive": (
        ONE,
        shell(
            "t",
            CALL + "for n in $(seq 12); do beat $n > /tmp/last; sleep 1; done; cat /tmp/last > $FLOWY_RESULT_FILE",
            timeouts=SILENT,
        ),
        {"continue": True},
    ),
    "silent": (
        CAUGHT,
        shell("t", CALL + 'beat "{\\"frame\\": $FLOWY_ATTEMPT}"; sleep 300', timeouts=SILENT, retry={"maxAttempts": 2}),
        ["Heartbeat", 2, {"frame": 2}],
    ),
    "resumed": (
        ONE,
        shell(
            "t",
            CALL
            + "done=$(call $FLOWY_URL/progress)\n"
            + '[ "$done" = null ] && { beat 41.0; sleep 300; }\n'
            + 'echo "[$FLOWY_ATTEMPT, $done]" > $FLOWY_RESULT_FILE',
            timeouts=SILENT,
        ),
        [2, 41.0],
    ),
    "refused": (
        ONE,
        shell(
            "t",
            'wget -S -O - --header "Authorization: Bearer $(cat $FLOWY_TOKEN_FILE)x" --post-data "" $FLOWY_URL/heartbeat'
            " > /tmp/out 2>&1; grep -q 'HTTP/1.1 401' /tmp/out && echo 401 > $FLOWY_RESULT_FILE",
            activity={"gateway": True},
        ),
        401,
    ),
}


@pytest.fixture(scope="module")
def ended(kube: Kube, operator: OperatorProcess) -> dict[str, dict[str, Any]]:
    for name, (source, task, _) in CASES.items():
        kube.apply(workflow(name, source, [task]))
    return {name: kube.wait_end(name, 90) for name in CASES}


@pytest.mark.parametrize("name", CASES)
def test_case(name: str, ended: dict[str, dict[str, Any]]) -> None:
    assert result(ended[name]) == CASES[name][2]


def test_what_was_reported_stands_in_the_history(ended: dict[str, dict[str, Any]]) -> None:
    found = events(ended["silent"], "TaskTimedOut")
    assert [(e["timer"], e["progress"]) for e in found] == [
        ("Heartbeat", '{"frame": 1}'),
        ("Heartbeat", '{"frame": 2}'),
    ]
    assert len(ended["kept-alive"]["status"]["history"]) == 2, "a heartbeat is no event"


@pytest.mark.timeout(150)
def test_a_killed_operator_times_nobody_out(kube: Kube, operator: OperatorProcess) -> None:
    """It is away for longer than the timeout; what was silent before is still found out after it."""
    script = CALL + "n=0; while [ $n -lt 30 ]; do beat $n; n=$((n + 1)); sleep 0.5; done; echo $n > $FLOWY_RESULT_FILE"
    kube.apply(workflow("beating", ONE, [shell("t", script, timeouts=SILENT, retry={"maxAttempts": 1})]))
    hang = shell("t", CALL + "beat 7; sleep 300", timeouts={"heartbeatSeconds": 9}, retry={"maxAttempts": 2})
    kube.apply(workflow("hanging", CAUGHT, [hang]))
    for name in ("beating", "hanging"):
        kube.wait_until("workflow", name, lambda body: bool(events(body, "TaskScheduled")))
        kube.run("wait", "--for=jsonpath={.status.phase}=Running", "pod", "-l", f"flowy.dev/workflow={name}")
    time.sleep(2)
    operator.kill()
    time.sleep(6)
    operator.start()
    beating = kube.wait_end("beating")
    assert result(beating) == 30
    assert [e["type"] for e in beating["status"]["history"]] == ["TaskScheduled", "TaskCompleted"]
    hanging = kube.wait_end("hanging")
    assert result(hanging) == ["Heartbeat", 2, 7]
    assert [e.get("attempt", 1) for e in events(hanging, "TaskTimedOut")] == [1, 2]
