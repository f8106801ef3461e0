"""Ways in which an attempt ends on a real node: what the code sees of each, and what follows."""

import json
import time
from datetime import datetime
from typing import Any, NamedTuple

import pytest

from tests.e2e.kube import Kube, condition, events, result
from tests.e2e.manifests import shell, workflow
from tests.e2e.operator import OperatorProcess

CAUGHT = """
from flowy import TaskError, wait

def w(t):
    def run():
        done = t()
        try:
            wait(done)
        except TaskError as e:
            return [e.type, e.message, e.exit_code, e.timer, e.attempt]
        return done
    return run
"""
ONE = "def w(t):\n    def run():\n        return t()\n    return run\n"
ERROR = {"when": ["Error"]}
SAY = 'echo \'{"error": {"type": "NoSuchFilm", "message": "film 7"%s}}\' > $FLOWY_RESULT_FILE; exit 3'


class End(NamedTuple):
    """What the code must see: `words` is in the message, the rest is equal."""

    task: dict[str, Any]
    type: str
    words: str
    exit_code: int | None
    attempt: int = 1
    timer: str | None = None


def pod(**spec: Any) -> dict[str, Any]:
    return {"template": {"spec": {"terminationGracePeriodSeconds": 1, **spec}}}


ENDS: dict[str, End] = {
    "no-program": End(
        shell("t", "", activity={"command": ["/no/such/program"]}), "StartError", "/no/such/program", 128
    ),
    "no-memory": End(
        shell(
            "t",
            "echo growing; awk 'BEGIN { s = \"x\"; while (1) s = s s }'",
            activity={"resources": {"limits": {"memory": "24Mi"}}},
        ),
        "OOMKilled",
        "growing",
        137,
    ),
    "own-deadline": End(
        shell("t", "echo working; sleep 300", activity=pod(activeDeadlineSeconds=3)),
        "DeadlineExceeded",
        "longer than the specified deadline",
        137,
    ),
    "init-failed": End(
        shell(
            "t",
            "true",
            activity=pod(
                initContainers=[
                    {
                        "name": "fetch",
                        "image": "docker.io/library/busybox:1",
                        "command": ["sh", "-c", "echo no repository > /dev/termination-log; exit 5"],
                    }
                ]
            ),
        ),
        "ContainerFailed",
        "fetch: exit code 5: no repository",
        None,
    ),
    "refused-by-node": End(
        shell("t", "true", activity=pod(securityContext={"sysctls": [{"name": "kernel.msgmax", "value": "65536"}]})),
        "SysctlForbidden",
        "forbidden sysctl",
        None,
    ),
    "image-never-there": End(
        {
            "name": "t",
            "activity": {"image": "flowy.local/no-such-image:3"},
            "timeouts": {"scheduleToStartSeconds": 6},
            "retry": {"when": ["Error", "Timeout"]},
        },
        "TaskTimedOut",
        "timed out (ScheduleToStart): image can't be pulled: flowy.local/no-such-image:3",
        None,
        timer="ScheduleToStart",
    ),
    "retried": End(
        shell("t", "exit 9", retry=ERROR | {"backoff": {"initialSeconds": 1, "maxSeconds": 2}}),
        "Error",
        "exit code 9",
        9,
        attempt=3,
    ),
    "says-it-is-useless": End(shell("t", SAY % ', "retryable": false', retry=ERROR), "NoSuchFilm", "film 7", 3),
    "type-listed": End(
        shell("t", SAY % "", retry=ERROR | {"nonRetryableErrors": ["NoSuchFilm"]}), "NoSuchFilm", "film 7", 3
    ),
    "exit-code-listed": End(
        shell("t", "exit $((62 + FLOWY_ATTEMPT))", retry=ERROR | {"nonRetryableExitCodes": [64]}),
        "Error",
        "exit code 64",
        64,
        attempt=2,
    ),
}


@pytest.fixture(scope="module")
def ended(served: Kube) -> dict[str, dict[str, Any]]:
    """All of them, at once."""
    for name, end in ENDS.items():
        served.apply(workflow(name, CAUGHT, [end.task]))
    return {name: served.wait_end(name, 120) for name in ENDS}


@pytest.mark.timeout(200)
@pytest.mark.parametrize("name", ENDS)
def test_the_code_sees_why(ended: dict[str, dict[str, Any]], name: str) -> None:
    expected = ENDS[name]
    kind, message, exit_code, timer, attempt = result(ended[name])
    assert (kind, exit_code, timer, attempt) == (
        expected.type,
        expected.exit_code,
        expected.timer,
        expected.attempt,
    ), message
    assert expected.words in message


def test_waits_of_a_backoff_are_on_record_and_kept(ended: dict[str, dict[str, Any]]) -> None:
    history = ended["retried"]["status"]["history"]
    waits = [(event, history[n + 1]) for n, event in enumerate(history) if event["type"] == "RetryScheduled"]
    assert len(waits) == 2
    for waited, scheduled in waits:
        assert scheduled["time"] >= waited["at"] > waited["time"]


def test_the_last_failure_is_told_everywhere(served: Kube) -> None:
    served.apply(workflow("told", ONE, [shell("t", "echo the disk is full; exit 7", retry=ERROR | {"maxAttempts": 2})]))
    body = served.wait_end("told")
    sentence = "Error: the disk is full (task t-0, attempt 2 of 2, exit code 7)"
    assert condition(body, "Succeeded") == ("False", "Failed", sentence)
    assert body["status"]["error"].items() >= {"task": "t-0", "attempt": 2, "exitCode": 7}.items()
    served.run(
        "wait",
        "--for=create",
        "event",
        "--field-selector=involvedObject.name=told,reason=TaskFailed",
        "--timeout=30s",
    )
    told = [e for e in served.list("events") if e["reason"] == "TaskFailed" and e["involvedObject"]["name"] == "told"]
    assert [event["message"] for event in told] == ["t-0, attempt 2 of 2: Error: the disk is full (exit code 7)"]


def test_operator_killed_in_the_middle_of_a_delay(kube: Kube, operator: OperatorProcess) -> None:
    script = "[ $FLOWY_ATTEMPT = 2 ] || { echo not yet; exit 1; }; echo $FLOWY_ATTEMPT > $FLOWY_RESULT_FILE"
    kube.apply(workflow("delayed", ONE, [shell("t", script, retry=ERROR | {"delaysSeconds": [0, 8]})]))
    body = kube.wait_until("workflow", "delayed", lambda body: bool(events(body, "RetryScheduled")))
    operator.kill()
    (waited,) = events(body, "RetryScheduled")
    time.sleep(1)  # some of the delay passes while nobody is there
    operator.start()
    shown = kube.wait_until("workflow", "delayed", lambda body: len(events(body, "TaskScheduled")) == 2)
    body = kube.wait_end("delayed")
    assert result(body) == 2
    assert events(body, "RetryScheduled") == [waited], "the delay is neither begun anew nor lost"
    due, scheduled = (datetime.fromisoformat(text) for text in (waited["at"], events(body, "TaskScheduled")[1]["time"]))
    assert scheduled >= due
    assert "attempt 1 failed: Error: not yet (exit code 1)" in json.dumps(shown["status"].get("waitingOn"))
    assert len(kube.list("jobs", "flowy.dev/workflow=delayed")) == 2
