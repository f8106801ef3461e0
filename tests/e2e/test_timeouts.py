"""Timers and retries, on a real node."""

from pathlib import Path
from typing import Any

import pytest

from tests.e2e.kube import Kube, condition, events, result
from tests.e2e.manifests import mount_folder, shell, workflow

ONE = "def w(t):\n    def run():\n        return t()\n    return run\n"
CAUGHT = """
from flowy import TaskTimedOut, wait

def w(t):
    def run():
        bad = t()
        try:
            wait(bad)
        except TaskTimedOut as error:
            return [error.timer, error.attempt, error.message]
    return run
"""
HANG = "sleep 300"
NOWHERE = {"spec": {"nodeSelector": {"example.com/no-such": "node"}}}

CASES: dict[str, tuple[str, dict[str, Any], Any]] = {
    "start-to-close": (
        CAUGHT,
        shell("t", HANG, timeouts={"startToCloseSeconds": 1}),
        ["StartToClose", 3, "t-0 timed out (StartToClose)"],
    ),
    "delays": (
        CAUGHT,
        shell("t", HANG, timeouts={"startToCloseSeconds": 1}, retry={"maxAttempts": 2, "delaysSeconds": [1, 2]}),
        ["StartToClose", 2, "t-0 timed out (StartToClose)"],
    ),
    "schedule-to-start": (
        CAUGHT,
        shell("t", HANG, timeouts={"scheduleToStartSeconds": 3}, activity={"template": NOWHERE}),
        ["ScheduleToStart", 1, "t-0 timed out (ScheduleToStart): Unschedulable: "],
    ),
    "schedule-to-close": (
        CAUGHT,
        shell(
            "t",
            HANG,
            timeouts={"startToCloseSeconds": 2, "scheduleToCloseSeconds": 7},
            retry={"maxAttempts": 100},
        ),
        ["ScheduleToClose", None, "t-0 timed out (ScheduleToClose): attempt "],
    ),
    "errors-if-asked": (
        ONE,
        shell(
            "t",
            '[ $FLOWY_ATTEMPT = 3 ] || exit 1; echo "$FLOWY_ATTEMPT" > $FLOWY_RESULT_FILE',
            retry={"when": ["Error"]},
        ),
        3,
    ),
    "second-time-lucky": (
        ONE,
        shell(
            "t",
            '[ $FLOWY_ATTEMPT = 2 ] || sleep 300; echo "$FLOWY_ATTEMPT" > $FLOWY_RESULT_FILE',
            timeouts={"startToCloseSeconds": 6},
        ),
        2,
    ),
}


@pytest.fixture(scope="module")
def ended(served: Kube) -> dict[str, dict[str, Any]]:
    for name, (source, task, _) in CASES.items():
        served.apply(workflow(name, source, [task]))
    return {name: served.wait_end(name, 120) for name in CASES}


@pytest.mark.timeout(200)
@pytest.mark.parametrize("name", CASES)
def test_case(name: str, ended: dict[str, dict[str, Any]]) -> None:
    got, expected = result(ended[name]), CASES[name][2]
    if name == "schedule-to-close":
        got[1] = None  # as many attempts as fit into the time
    if name.startswith("schedule-to"):
        assert got[2].startswith(expected[2])
        got, expected = got[:2], expected[:2]
    assert got == expected


def test_timed_out_pods_are_stopped(served: Kube, ended: dict[str, dict[str, Any]]) -> None:
    assert len(events(ended["start-to-close"], "TaskTimedOut")) == 3
    served.run("wait", "--for=delete", "job,pod", "-l", "flowy.dev/workflow=start-to-close", "--timeout=60s")


def test_the_time_of_all_attempts_spans_them(ended: dict[str, dict[str, Any]]) -> None:
    *earlier, last = events(ended["schedule-to-close"], "TaskTimedOut")
    assert earlier
    assert {event["timer"] for event in earlier} == {"StartToClose"}
    assert (last["timer"], last["final"]) == ("ScheduleToClose", True)


def test_a_late_result_is_not_taken(served: Kube, tmp_path: Path) -> None:
    """The first attempt gives a result when it is told to stop; by then it no longer counts."""
    tmp_path.chmod(0o777)
    script = """
        if [ $FLOWY_ATTEMPT = 1 ]; then
            trap 'echo 1 > $FLOWY_RESULT_FILE; touch /seen/late; exit 0' TERM
            sleep 300 & wait
        fi
        until [ -e /seen/late ]; do sleep 0.1; done
        echo $FLOWY_ATTEMPT > $FLOWY_RESULT_FILE
    """
    task = shell("t", script, timeouts={"startToCloseSeconds": 8})
    mount_folder(task, tmp_path, "/seen")
    task["activity"]["template"]["spec"]["terminationGracePeriodSeconds"] = 30
    served.apply(workflow("late", ONE, [task]))
    body = served.wait_end("late")
    assert (tmp_path / "late").exists()
    assert result(body) == 2
    (completed,) = events(body, "TaskCompleted")
    assert completed["attempt"] == 2


def test_delays_are_absolute_times_and_begin_before_the_first_attempt(ended: dict[str, dict[str, Any]]) -> None:
    history = ended["delays"]["status"]["history"]
    assert [event["type"] for event in history] == [
        "RetryScheduled",
        "TaskScheduled",
        "TaskTimedOut",
        "RetryScheduled",
        "TaskScheduled",
        "TaskTimedOut",
    ]
    for waiting, scheduled in ((history[0], history[1]), (history[3], history[4])):
        assert scheduled["time"] >= waiting["at"] > waiting["time"]


def test_the_wait_for_a_node_is_visible(served: Kube) -> None:
    task = shell("t", HANG, activity={"template": NOWHERE})
    served.apply(workflow("nowhere", ONE, [task], timeouts={"workflowSeconds": 8}))
    body = served.wait_until(
        "workflow", "nowhere", lambda body: "reason" in (body.get("status", {}).get("waitingOn") or [{}])[0]
    )
    (wait,) = body["status"]["waitingOn"]
    assert wait["task"] == "t-0"
    assert "didn't match Pod's node affinity/selector" in wait["reason"]
    body = served.wait_end("nowhere")
    assert condition(body, "Succeeded")[:2] == ("False", "TimedOut")
    assert body["status"]["error"]["type"] == "WorkflowTimedOut"
    assert "unfinished: t-0" in body["status"]["error"]["message"]
    served.run("wait", "--for=delete", "job,pod", "-l", "flowy.dev/workflow=nowhere", "--timeout=60s")
