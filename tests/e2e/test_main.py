"""The language on a real Kubernetes, and what a user sees of it with kubectl."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.kube import Kube, condition, events, result, whole_history
from tests.e2e.manifests import mount_folder, shell, workflow
from tests.e2e.operator import OperatorProcess

DOUBLE = "echo $(($1 * 2)) > $FLOWY_RESULT_FILE"
ADD = "echo $(($1 + $2)) > $FLOWY_RESULT_FILE"
double = shell("double", DOUBLE, "$(FLOWY_ARG_0)")
add = shell("add", ADD, "$(FLOWY_ARG_0)", "$(FLOWY_ARG_1)")
fail = shell("fail", "exit 3")
slow = shell("slow", "sleep 3; echo 1 > $FLOWY_RESULT_FILE")

PROGRAMS: dict[str, tuple[str, list[Any], list[Any], Any]] = {
    "chain": (
        """
        def w(double):
            def run(n):
                return double(double(n))
            return run
        """,
        [double],
        [3],
        12,
    ),
    "dynamic": (
        """
        def w(double):
            def run(n):
                return [double(x) for x in range(double(n))]
            return run
        """,
        [double],
        [2],
        [0, 2, 4, 6],
    ),
    "caught": (
        """
        from flowy import TaskError, wait

        def w(fail, double):
            def run():
                bad = fail()
                try:
                    wait(bad)
                except TaskError as error:
                    return [error.exit_code, double(5)]
            return run
        """,
        [fail, double],
        [],
        [3, 10],
    ),
    "first": (
        """
        from flowy import first

        def w(double, slow):
            def run():
                return first(slow(), double(4))
            return run
        """,
        [double, slow],
        [],
        8,
    ),
    "fan-out": (
        """
        def w(double, add):
            def run(a, b):
                return add(double(a), double(b))
            return run
        """,
        [double, add],
        [3, 4],
        14,
    ),
    "reduce": (
        """
        from flowy import parallel_reduce

        def w(double, add):
            def run(n):
                return parallel_reduce(add, [double(x) for x in range(n)])
            return run
        """,
        [double, add],
        [5],
        20,
    ),
    "restarted": (
        """
        from flowy import restart

        def w(double):
            def run(n, times):
                n = double(n)
                return restart(n, times - 1) if times else n
            return run
        """,
        [double],
        [1, 2],
        8,
    ),
    "no-task-called": ("def w(double):\n    return lambda: 'nothing'\n", [double], [], "nothing"),
}


@pytest.fixture(scope="module")
def ended(served: Kube) -> dict[str, dict[str, Any]]:
    """All programs, run at once."""
    for name, (source, tasks, args, _) in PROGRAMS.items():
        served.apply(workflow(name, source, tasks, *args))
    return {name: served.wait_end(name, 120) for name in PROGRAMS}


@pytest.mark.timeout(200)
@pytest.mark.parametrize("name", PROGRAMS)
def test_program(name: str, ended: dict[str, dict[str, Any]]) -> None:
    body = ended[name]
    assert result(body) == PROGRAMS[name][3]
    status = body["status"]
    first, history = status["historyStart"], status.get("history", [])
    assert [event["id"] for event in history] == list(range(first, first + len(history)))
    assert condition(body, "Reconciling")[0] == "False"
    assert condition(body, "Stalled")[0] == "False"


def test_restart_is_a_new_run_of_the_same_object(served: Kube, ended: dict[str, dict[str, Any]]) -> None:
    body = ended["restarted"]
    assert body["status"]["run"] == 3
    assert [event["input"] for event in whole_history(served, body) if event["type"] == "Restarted"] == [
        '{"args":[2,1],"kwargs":{}}',
        '{"args":[4,0],"kwargs":{}}',
    ]


def test_race_leaves_no_loser_behind(served: Kube, ended: dict[str, dict[str, Any]]) -> None:
    (cancelled,) = events(ended["first"], "TaskCancelled")
    assert (cancelled["task"], cancelled["reason"]) == ("slow-0", "WorkflowEnded")
    served.run("wait", "--for=delete", "job", "-l", "flowy.dev/workflow=first,flowy.dev/task=slow-0", "--timeout=30s")


def test_finish_order_is_the_order_of_the_history(served: Kube) -> None:
    source = """
        from flowy import finish_order

        def w(double, slow):
            def run():
                return [value for value in finish_order(slow(), double(4), double(5))]
            return run
        """
    served.apply(workflow("ordered", source, [double, slow]))
    body = served.wait_end("ordered")
    assert sorted(result(body)) == [1, 8, 10]
    assert result(body) == [json.loads(event["result"]) for event in events(body, "TaskCompleted")]


def test_two_workflows_run_side_by_side(served: Kube, tmp_path: Path) -> None:
    """Each waits for the other, on a folder of the node: one after the other, neither would end."""
    tmp_path.chmod(0o777)
    script = "touch /both/$1; until [ -e /both/$2 ]; do sleep 0.2; done; echo true > $FLOWY_RESULT_FILE"
    task = shell("meet", script, "$(FLOWY_ARG_0)", "$(FLOWY_ARG_1)")
    mount_folder(task, tmp_path, "/both")
    source = "def w(meet):\n    def run(me, other):\n        return meet(me, other)\n    return run\n"
    served.apply(workflow("left", source, [task], "left", "right"))
    served.apply(workflow("right", source, [task], "right", "left"))
    assert result(served.wait_end("left")) is True
    assert result(served.wait_end("right")) is True


def test_parallelism_bounds_the_open_tasks(served: Kube) -> None:
    source = "def w(double):\n    def run(n):\n        return [double(x) for x in range(n)]\n    return run\n"
    served.apply(workflow("bounded", source, [double], 7, parallelism=2))
    body = served.wait_end("bounded")
    assert result(body) == [0, 2, 4, 6, 8, 10, 12]
    open_tasks, most = 0, 0
    for event in body["status"]["history"]:
        open_tasks += 1 if event["type"] == "TaskScheduled" else -1
        most = max(most, open_tasks)
    assert most == 2


def test_suspend_launches_nothing_new_and_resumes(served: Kube) -> None:
    source = "def w(slow, double):\n    def run():\n        return double(slow())\n    return run\n"
    served.apply(workflow("paused", source, [slow, double]))
    served.wait_until("workflow", "paused", lambda body: bool(events(body, "TaskScheduled")))
    served.run("patch", "workflow", "paused", "--type=merge", "-p", '{"spec": {"suspend": true}}')
    body = served.wait_until("workflow", "paused", lambda body: bool(events(body, "TaskCompleted")))
    assert condition(body, "Succeeded")[:2] == ("Unknown", "Suspended")
    assert len(events(body, "TaskScheduled")) == 1
    served.run("patch", "workflow", "paused", "--type=merge", "-p", '{"spec": {"suspend": false}}')
    assert result(served.wait_end("paused")) == 2


def test_what_kubectl_shows(served: Kube, ended: dict[str, dict[str, Any]]) -> None:
    head, row = served.run("get", "fwf", "chain").stdout.splitlines()
    assert head.split() == ["NAME", "STATUS", "PROGRESS", "RUNNING", "AGE"]
    assert row.split()[:4] == ["chain", "Completed", "2/2", "0"]
    served.run("wait", "--for=condition=Succeeded", "workflow/chain", "--timeout=5s")
    served.run("wait", "--for=create", "event", "--field-selector=involvedObject.name=chain,reason=Completed")
    told = {e["reason"] for e in served.list("events") if e["involvedObject"]["name"] == "chain"}
    assert {"Running", "Completed"} <= told


def test_another_namespace_is_left_alone(served: Kube) -> None:
    other = Kube(served.kubeconfig, f"{served.namespace}-other")
    other.run("create", "namespace", other.namespace)
    try:
        other.apply(workflow("alone", PROGRAMS["no-task-called"][0], [double]))
        served.apply(workflow("beside", PROGRAMS["no-task-called"][0], [double]))
        served.wait_end("beside")
        assert "status" not in other.get("workflow", "alone")
    finally:
        other.run("delete", "namespace", other.namespace, "--wait=false")


def test_of_a_namespace_that_is_not_there_one_hears(kube: Kube, tmp_path: Path) -> None:
    here, nowhere = kube.namespace, f"{kube.namespace}-nowhere"
    misled = OperatorProcess(kube.kubeconfig, here, tmp_path / "log", options=[f"--namespace={nowhere}"])
    misled.start()
    assert misled.stop() == 0
    assert [line.get("namespace") for line in misled.lines(level="WARNING")] == [nowhere]


def test_finished_jobs_and_workflows_go_when_their_time_has_come(served: Kube) -> None:
    source, tasks, args, _ = PROGRAMS["chain"]
    served.apply(workflow("short", source, tasks, *args, jobs={"keepSucceededSeconds": 1}, ttlSecondsAfterFinished=6))
    body = served.wait_end("short")
    served.run("wait", "--for=delete", "job", "-l", "flowy.dev/workflow=short", "--timeout=30s")
    served.run("wait", "--for=delete", "workflow/short", "--timeout=30s")
    assert datetime.fromisoformat(body["status"]["completionTime"]) >= datetime.fromisoformat(
        body["status"]["startTime"]
    )


def test_deleting_a_workflow_takes_its_jobs_and_pods_along(served: Kube) -> None:
    source = "def w(slow):\n    def run():\n        return [slow() for _ in range(2)]\n    return run\n"
    served.apply(workflow("gone", source, [shell("slow", "sleep 300")]))
    served.wait_until("workflow", "gone", lambda body: len(served.list("pods", "flowy.dev/workflow=gone")) == 2)
    served.run("delete", "workflow", "gone")
    served.run("wait", "--for=delete", "job,pod", "-l", "flowy.dev/workflow=gone", "--timeout=60s")


def test_a_failed_workflow_says_what_where_and_why(served: Kube) -> None:
    source = "def w(fail):\n    def run():\n        return {'a': [fail()]}\n    return run\n"
    served.apply(workflow("failed", source, [shell("fail", "echo the disk is full; exit 7")]))
    body = served.wait_end("failed")
    sentence = "Error: the disk is full (task fail-0, attempt 1 of 3, not retried, exit code 7)"
    assert condition(body, "Succeeded") == ("False", "Failed", sentence)
    assert condition(body, "Stalled")[0] == "True"
    assert body["status"]["error"] == {
        "type": "Error",
        "message": "the disk is full",
        "task": "fail-0",
        "attempt": 1,
        "exitCode": 7,
    }
    assert json.loads(json.dumps(body["status"]["progress"])) == {
        "scheduled": 1,
        "running": 0,
        "succeeded": 0,
        "failed": 1,
        "summary": "1/1",
    }
