"""Stopping, suspending and ending, on a real node: what is seen of the Jobs and pods themselves."""

import json
from typing import Any

from tests.e2e.kube import Kube, condition, events, result
from tests.e2e.manifests import shell, workflow
from tests.e2e.operator import OperatorProcess

SAGA = """
from flowy import TaskCancelled, wait

def w(work, undo):
    def run(n):
        done = [work(i) for i in range(n)]
        try:
            wait(done)
        except TaskCancelled as cancelled:
            wait([undo(i, cancelled.reason) for i in range(2)])
            raise
    return run
"""
LEAVES = """
def w(quick, slow):
    def run():
        left = slow()
        return quick() + 0
    return run
"""
HANG = shell("work", "sleep 300")
UNDO = shell("undo", 'echo "$2"', "$(FLOWY_ARG_0)", "$(FLOWY_ARG_1)")
QUICK = shell("quick", "echo 1 > $FLOWY_RESULT_FILE")


def set_spec(kube: Kube, name: str, **fields: Any) -> None:
    kube.run("patch", "workflow", name, "--type=merge", "-p", json.dumps({"spec": fields}))


def wait_running(kube: Kube, name: str, count: int) -> None:
    def holds(_: dict[str, Any]) -> bool:
        pods = kube.list("pods", f"flowy.dev/workflow={name}")
        return [pod["status"]["phase"] for pod in pods].count("Running") == count

    kube.wait_until("workflow", name, holds)


def test_cancel_lets_the_code_clean_up(served: Kube) -> None:
    served.apply(workflow("cancelled", SAGA, [HANG, UNDO], 4, parallelism=2))
    wait_running(served, "cancelled", 2)
    set_spec(served, "cancelled", stop="Cancel")
    body = served.wait_end("cancelled")
    assert condition(body, "Succeeded")[:2] == ("False", "Cancelled")
    assert [event["task"] for event in events(body, "TaskCancelled")] == [f"work-{n}" for n in range(4)]
    assert ["digest" in event for event in events(body, "TaskCancelled")] == [False, False, True, True]
    # The Jobs that did the work are gone, those of the clean-up did theirs.
    served.run(
        "wait", "--for=delete", "job,pod", "-l", "flowy.dev/workflow=cancelled,flowy.dev/task=work-0", "--timeout=60s"
    )
    jobs = served.list("jobs", "flowy.dev/workflow=cancelled")
    assert sorted(job["metadata"]["labels"]["flowy.dev/task"] for job in jobs) == ["undo-0", "undo-1"]
    assert served.run("logs", "-l", "flowy.dev/workflow=cancelled,flowy.dev/task=undo-1").stdout == "StopRequested\n"
    # Each transition is told, and the column shows the reason.
    served.run("wait", "--for=create", "event", "--field-selector=involvedObject.name=cancelled,reason=Cancelled")
    told = {e["reason"] for e in served.list("events") if e["involvedObject"]["name"] == "cancelled"}
    assert {"Running", "Cancelling", "Cancelled"} <= told
    assert served.run("get", "fwf", "cancelled").stdout.splitlines()[1].split()[1] == "Cancelled"
    # A stop of what has ended changes nothing.
    before = served.get("workflow", "cancelled")["status"]
    set_spec(served, "cancelled", stop="Terminate")
    served.apply(workflow("after", LEAVES.replace("slow()", "1").replace(", slow", ""), [QUICK]))
    served.wait_end("after")
    assert served.get("workflow", "cancelled")["status"] == before


def test_a_clean_up_survives_the_operator(kube: Kube, operator: OperatorProcess) -> None:
    slow_undo = shell("undo", "sleep 2")
    kube.apply(workflow("killed", SAGA, [HANG, slow_undo], 2))
    wait_running(kube, "killed", 2)
    set_spec(kube, "killed", stop="Cancel")
    kube.wait_until("workflow", "killed", lambda body: condition(body, "Succeeded")[1] == "Cancelling")
    operator.kill()
    operator.start()
    kube.wait_until("workflow", "killed", lambda body: len(events(body, "TaskScheduled")) == 4)
    operator.kill()
    operator.start()
    body = kube.wait_end("killed")
    assert condition(body, "Succeeded")[:2] == ("False", "Cancelled")
    assert len(events(body, "StopRequested")) == 1
    assert sorted(event["task"] for event in events(body, "TaskCompleted")) == ["undo-0", "undo-1"]


def test_a_clean_up_that_takes_too_long_is_ended(served: Kube) -> None:
    served.apply(workflow("late", SAGA, [HANG, shell("undo", "sleep 300")], 1, timeouts={"cancelSeconds": 3}))
    wait_running(served, "late", 1)
    set_spec(served, "late", stop="Cancel")
    body = served.wait_end("late", 30)
    assert condition(body, "Succeeded")[:2] == ("False", "Terminated")
    assert "timeouts.cancelSeconds" in body["status"]["error"]["message"]
    served.run("wait", "--for=delete", "job,pod", "-l", "flowy.dev/workflow=late", "--timeout=60s")


def test_terminate_ends_it_without_the_code(served: Kube) -> None:
    served.apply(workflow("terminated", SAGA, [HANG, UNDO], 2))
    wait_running(served, "terminated", 2)
    set_spec(served, "terminated", stop="Terminate")
    body = served.wait_end("terminated", 20)
    assert condition(body, "Succeeded")[:2] == ("False", "Terminated")
    assert body["status"]["error"]["type"] == "WorkflowTerminated"
    assert {event["task"] for event in events(body, "TaskScheduled")} == {"work-0", "work-1"}
    served.run("wait", "--for=delete", "job,pod", "-l", "flowy.dev/workflow=terminated", "--timeout=60s")


def test_every_way_to_end_with_a_task_still_running(served: Kube) -> None:
    slow = shell("slow", "sleep 8; echo 2 > $FLOWY_RESULT_FILE")
    for on_end in ("Cancel", "Wait", "Abandon"):
        keep = {"jobs": {"keepSucceededSeconds": 1}} if on_end == "Abandon" else {}
        served.apply(workflow(f"on-{on_end.lower()}", LEAVES, [QUICK, slow], onEnd=on_end, **keep))
    served.wait_until("workflow", "on-wait", lambda body: condition(body, "Succeeded")[1] == "Finishing")
    ended = {name: served.wait_end(f"on-{name}", 60) for name in ("cancel", "abandon", "wait")}
    assert [result(body) for body in ended.values()] == [1, 1, 1]
    assert [event["reason"] for event in events(ended["cancel"], "TaskCancelled")] == ["WorkflowEnded"]
    assert [event["reason"] for event in events(ended["abandon"], "TaskCancelled")] == ["Abandoned"]
    assert events(ended["wait"], "TaskCompleted")[-1]["result"] == "2"
    served.run(
        "wait", "--for=delete", "job", "-l", "flowy.dev/workflow=on-cancel,flowy.dev/task=slow-0", "--timeout=60s"
    )
    # The abandoned one ended by itself, was kept for its time, and went.
    served.run("wait", "--for=delete", "job,pod", "-l", "flowy.dev/workflow=on-abandon", "--timeout=60s")


def test_a_suspended_workflow_can_be_stopped(served: Kube) -> None:
    served.apply(workflow("asleep", SAGA, [HANG, UNDO], 2, suspend=True))
    served.wait_until("workflow", "asleep", lambda body: condition(body, "Succeeded")[1] == "Suspended")
    set_spec(served, "asleep", stop="Cancel")
    body = served.wait_end("asleep")
    assert condition(body, "Succeeded")[:2] == ("False", "Cancelled")
    assert {event["task"] for event in events(body, "TaskScheduled")} == {"undo-0", "undo-1"}
