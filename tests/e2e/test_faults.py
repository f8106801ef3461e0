"""Nothing lost, nothing twice: the operator, the API server, etcd, Jobs and pods are killed in the middle.

Every activity appends its workflow, task and attempt to a file on the node, outside the cluster's own memory: what ran
is read there, and the Jobs' uids say how often each was created.
"""

import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import cluster
from tests.e2e.kube import Kube, condition, events, result
from tests.e2e.manifests import CHAIN, mount_folder, shell, workflow
from tests.e2e.operator import OperatorProcess

SEED = 20261124
KILLS = 20

MIXED = """
def mixed(step, add):
    def run(chain, width):
        value = step(0)
        for _ in range(chain - 1):
            value = step(value)
        squares = [step(n) for n in range(width)]
        return add(value, squares)
    return run
"""
CAUGHT = """
from flowy import TaskCancelled, wait

def caught(long, short):
    def run():
        try:
            wait(long())
        except TaskCancelled as error:
            return [short(), error.task]
        return "never"
    return run
"""
ONE = """
def one(t):
    def run():
        return t()
    return run
"""
LOGGED = 'echo "$FLOWY_WORKFLOW $FLOWY_TASK $FLOWY_ATTEMPT $(hostname)" >> /log/ran; '
NEXT = LOGGED + "echo $(($1 + 1)) > $FLOWY_RESULT_FILE"


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the node, which is this machine, for what ran."""
    folder = tmp_path_factory.mktemp("ran")
    folder.chmod(0o777)
    return folder


def logged(task: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The task with the log mounted at /log."""
    mount_folder(task, folder, "/log")
    return task


def ran(folder: Path, name: str) -> list[tuple[str, str, str]]:
    """What ran of a workflow, as often as it did: task, attempt, pod."""
    lines = [line.split() for line in (folder / "ran").read_text().splitlines()]
    return [(task, attempt, pod) for workflow_, task, attempt, pod in lines if workflow_ == name]


def jobs_of(kube: Kube, name: str) -> list[dict[str, Any]]:
    return kube.list("jobs", f"flowy.dev/workflow={name}")


def check_each_once(kube: Kube, folder: Path, body: dict[str, Any]) -> None:
    """Each scheduled attempt ran once, in the pod of the one Job that was ever made for it; the history is whole."""
    name = body["metadata"]["name"]
    scheduled = {(e["task"], str(e.get("attempt", 1))) for e in events(body, "TaskScheduled")}
    assert Counter((task, attempt) for task, attempt, _ in ran(folder, name)) == dict.fromkeys(scheduled, 1)
    # A Job made a second time would have another uid than the one that owns the pod that ran.
    owners = {
        pod["metadata"]["name"]: pod["metadata"]["ownerReferences"][0]["uid"]
        for pod in kube.list("pods", f"flowy.dev/workflow={name}")
    }
    assert Counter(owners[pod] for *_, pod in ran(folder, name)) == Counter(
        job["metadata"]["uid"] for job in jobs_of(kube, name)
    )
    assert [event["id"] for event in body["status"]["history"]] == list(range(1, len(body["status"]["history"]) + 1))


@contextmanager
def meanwhile(act: Callable[[threading.Event], None]) -> Iterator[None]:
    """Do something else until left."""
    stop = threading.Event()
    thread = threading.Thread(target=act, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@pytest.mark.timeout(420)
def test_operator_killed_twenty_times_over_thirty_tasks(kube: Kube, operator: OperatorProcess, log: Path) -> None:
    total = (
        LOGGED + "echo $1 | tr -d '[]' | tr ',' '\\n' | awk -v s=\"$2\" '{s+=$1} END {print s}' > $FLOWY_RESULT_FILE"
    )
    tasks = [
        logged(shell("step", NEXT, "$(FLOWY_ARG_0)"), log),
        logged(shell("add", total, "$(FLOWY_ARG_1)", "$(FLOWY_ARG_0)"), log),
    ]
    chain, width = 14, 15
    kube.apply(workflow("mixed", MIXED, tasks, chain, width, parallelism=6))
    dice = random.Random(SEED)
    # Spread over the history, so that every kill finds the workflow open however fast the machine is.
    for length in sorted(dice.choices(range(2 * (chain + width)), k=KILLS)):
        kube.wait_until("workflow", "mixed", _history_has(length))
        time.sleep(dice.uniform(0, 0.5))  # the moment is the point: anywhere in a pass
        operator.kill()
        operator.start()
    body = kube.wait_end("mixed", 240)
    assert result(body) == chain + sum(n + 1 for n in range(width))
    check_each_once(kube, log, body)


def test_sigterm_ends_within_its_grace_and_the_work_goes_on(kube: Kube, operator: OperatorProcess, log: Path) -> None:
    kube.apply(workflow("term", CHAIN, [logged(shell("step", NEXT, "$(FLOWY_ARG_0)"), log)], 4))
    kube.wait_until("workflow", "term", lambda body: bool(events(body, "TaskCompleted")))
    assert operator.stop(timeout_s=5) == 0
    operator.start()
    body = kube.wait_end("term")
    assert result(body) == 4
    check_each_once(kube, log, body)


def test_job_deleted_by_hand_is_a_cancelled_task(kube: Kube, operator: OperatorProcess) -> None:
    tasks = [shell("long", "sleep 300"), shell("short", "echo 7 > $FLOWY_RESULT_FILE")]
    kube.apply(workflow("deleted", CAUGHT, tasks))
    job = _running_job(kube, "deleted")
    kube.run("delete", "job", job)
    body = kube.wait_end("deleted")
    assert result(body) == [7, "long-0"]
    (cancelled,) = events(body, "TaskCancelled")
    assert (cancelled["task"], cancelled["reason"]) == ("long-0", "Deleted")


def test_job_deleted_while_no_operator_runs_is_a_cancelled_task_too(kube: Kube, operator: OperatorProcess) -> None:
    source = CAUGHT.replace(
        "wait(long())", "wait(long(), short())"
    )  # short's end brings on record that long's Job was made
    tasks = [shell("long", "sleep 300"), shell("short", "echo 7 > $FLOWY_RESULT_FILE")]
    kube.apply(workflow("missed", source, tasks))
    kube.wait_until("workflow", "missed", lambda body: len(events(body, "TaskCompleted")) == 1)
    operator.kill()
    kube.run("delete", "job", "-l", "flowy.dev/workflow=missed,flowy.dev/task=long-0")
    operator.start()
    body = kube.wait_end("missed")
    assert result(body) == [7, "long-0"]
    assert [event["reason"] for event in events(body, "TaskCancelled")] == ["Deleted"]
    assert len([event for event in events(body, "TaskScheduled") if event["task"] == "long-0"]) == 1


DISRUPTIONS = {
    "evicted": lambda kube, pod: kube.run(
        "create",
        "--raw",
        f"/api/v1/namespaces/{kube.namespace}/pods/{pod}/eviction",
        "-f",
        "-",
        stdin=f'{{"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {{"name": "{pod}"}}}}',
    ),
    "pod-deleted": lambda kube, pod: kube.run("delete", "pod", pod),
}


@pytest.mark.parametrize("name", DISRUPTIONS)
def test_a_disruption_spends_no_attempt(kube: Kube, operator: OperatorProcess, tmp_path: Path, name: str) -> None:
    tmp_path.chmod(0o777)
    # Waits for ever the first time, and does its work the second time: the mark outlives the pod.
    script = "if [ -e /log/mark ]; then echo $FLOWY_ATTEMPT > $FLOWY_RESULT_FILE; else touch /log/mark; sleep 300; fi"
    task = logged(shell("t", script, retry={"maxAttempts": 1}), tmp_path)
    kube.apply(workflow(name, ONE, [task]))
    job = _running_job(kube, name)
    (pod,) = kube.list("pods", f"batch.kubernetes.io/job-name={job}")
    kube.wait_until("pod", pod["metadata"]["name"], lambda body: (tmp_path / "mark").exists())
    DISRUPTIONS[name](kube, pod["metadata"]["name"])
    body = kube.wait_end(name)
    assert result(body) == 1
    (disrupted,) = events(body, "TaskDisrupted")
    assert (disrupted["task"], disrupted["launch"]) == ("t-0", 0)
    assert len(jobs_of(kube, name)) == 2


def test_status_writes_refused_by_conflict(kube: Kube, operator: OperatorProcess, log: Path) -> None:
    kube.apply(workflow("conflict", CHAIN, [logged(shell("step", NEXT, "$(FLOWY_ARG_0)"), log)], 4))

    def disturb(stop: threading.Event) -> None:
        n = 0
        while not stop.is_set():
            n += 1
            kube.run("annotate", "--overwrite", "workflow", "conflict", f"example.com/n={n}")
            seen = f'{{"status": {{"observedGeneration": {100 + n % 2}}}}}'
            kube.run("patch", "workflow", "conflict", "--subresource=status", "--type=merge", "-p", seen)

    with meanwhile(disturb):
        body = kube.wait_end("conflict")
    assert result(body) == 4
    check_each_once(kube, log, kube.get("workflow", "conflict"))


def test_decider_killed_in_the_middle(kube: Kube, operator: OperatorProcess, log: Path) -> None:
    kube.apply(workflow("decider", CHAIN, [logged(shell("step", NEXT, "$(FLOWY_ARG_0)"), log)], 3))
    kube.wait_until("workflow", "decider", lambda body: bool(events(body, "TaskScheduled")))
    operator.kill_children()
    body = kube.wait_end("decider")
    assert result(body) == 3
    check_each_once(kube, log, body)


def test_frozen_operator_thaws_beside_its_successor(
    kube: Kube, operator: OperatorProcess, log: Path, tmp_path: Path
) -> None:
    kube.apply(workflow("frozen", CHAIN, [logged(shell("step", NEXT, "$(FLOWY_ARG_0)"), log)], 5))
    kube.wait_until("workflow", "frozen", lambda body: bool(events(body, "TaskCompleted")))
    operator.send(signal.SIGSTOP)
    successor = OperatorProcess(kube.kubeconfig, kube.namespace, tmp_path / "log")
    successor.start()
    try:
        kube.wait_until("workflow", "frozen", lambda body: len(events(body, "TaskCompleted")) >= 3)
        operator.send(signal.SIGCONT)
        body = kube.wait_end("frozen")
    finally:
        operator.send(signal.SIGCONT)
        assert successor.stop() == 0
    assert result(body) == 5
    check_each_once(kube, log, body)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("component", ["kube-apiserver", "etcd"])
def test_control_plane_killed_in_the_middle(kube: Kube, operator: OperatorProcess, log: Path, component: str) -> None:
    assert cluster.external_kubeconfig() is None, "this test kills parts of the embedded cluster"
    name = f"without-{component}"
    kube.apply(workflow(name, CHAIN, [logged(shell("step", NEXT, "$(FLOWY_ARG_0)"), log)], 5))
    kube.wait_until("workflow", name, lambda body: bool(events(body, "TaskCompleted")))
    cluster.kill(component)
    cluster.start(component)
    body = kube.wait_end(name, 180)
    assert result(body) == 5
    check_each_once(kube, log, body)
    assert condition(body, "Stalled")[0] == "False"


def _history_has(length: int) -> Callable[[dict[str, Any]], bool]:
    return lambda body: len((body.get("status") or {}).get("history", ())) >= length


def _running_job(kube: Kube, name: str) -> str:
    """The name of the workflow's only Job, once its container runs."""
    kube.wait_until("workflow", name, lambda body: len(jobs_of(kube, name)) == 1)
    (job,) = jobs_of(kube, name)
    kube.wait_until("job", job["metadata"]["name"], lambda body: body["status"].get("ready", 0) == 1)
    found: str = job["metadata"]["name"]
    return found
