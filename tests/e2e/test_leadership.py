"""Two replicas as the chart installs them: the one that works is killed, frozen, cut off or replaced, and the other goes on.

With the Lease that the chart comes with. Every attempt leaves a line on the node: none is lost, and none runs twice.
"""

import os
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.chart.helm import CHART
from tests.cluster import cluster, flowy_images, images
from tests.e2e.installed import LEADER, OPERATORS, Installed
from tests.e2e.kube import Kube, events, result
from tests.e2e.manifests import mount_folder, shell, workflow

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.skipif(cluster.external_kubeconfig() is not None, reason="the processes are on another machine"),
]

UNTIL_TOLD = 1000
"""Steps of a chain that ends when the file `enough` is there."""
SOURCE = """
def chain(step):
    def run(n):
        done = 0
        while done < n:
            done = done + 1
            if step(done) == "enough":
                break
        return done
    return run
"""
STEP = """
echo "$FLOWY_TASK $FLOWY_ATTEMPT" >> /log/ran
sleep 1
if [ -e /log/enough ]; then echo '"enough"'; else echo $1; fi > $FLOWY_RESULT_FILE
"""
OTHER = flowy_images.OPERATOR + "-other"
"""The same program under another name: to the cluster a version like any other."""


def begin(kube: Kube, folder: Path, name: str, length: int) -> None:
    """Start a chain that leaves a line for each attempt, and whose Jobs go as soon as they may."""
    folder.chmod(0o777)
    task = shell("step", STEP, "$(FLOWY_ARG_0)")
    mount_folder(task, folder, "/log")
    kube.apply(workflow(name, SOURCE, [task], length, jobs={"keepSucceededSeconds": 1}))
    kube.wait_until("workflow", name, has_done(1))


def has_done(count: int) -> Callable[[dict[str, Any]], bool]:
    return lambda body: len(events(body, "TaskCompleted")) >= count


def check_each_once(folder: Path, length: int) -> None:
    ran = Counter(tuple(line.split()) for line in (folder / "ran").read_text().splitlines())
    assert ran == {(f"step-{n}", "1"): 1 for n in range(length)}


def restarts(installed: Installed, pod: str) -> int:
    return sum(one["restartCount"] for one in installed.kube.get("pod", pod)["status"]["containerStatuses"])


def test_the_leader_is_killed_and_the_other_goes_on(installed: Installed, served: Kube, tmp_path: Path) -> None:
    leader = installed.leader()
    before = restarts(installed, leader)
    begin(served, tmp_path, "killed", 5)
    os.kill(installed.pid(leader), signal.SIGKILL)
    assert installed.leader(other_than=leader) != leader
    assert result(served.wait_end("killed")) == 5
    check_each_once(tmp_path, 5)
    # Its kubelet has started it again, and now it waits.
    installed.kube.wait_until("pod", leader, lambda _: restarts(installed, leader) > before)
    installed.kube.run("wait", "--for=condition=Ready", f"pod/{leader}", "--timeout=60s")
    assert installed.ask(leader, "readyz") == "decider: ok\nlease: ok\n"
    assert 'flowy_leader{shard="0"} 0.0' in installed.ask(leader, "metrics")
    assert 'flowy_leader{shard="0"} 1.0' in installed.ask(installed.leader(), "metrics")


def test_a_leader_that_was_frozen_writes_nothing_when_it_thaws(
    installed: Installed, served: Kube, tmp_path: Path
) -> None:
    leader = installed.leader()
    before = restarts(installed, leader)
    begin(served, tmp_path, "frozen", UNTIL_TOLD)
    pid = installed.pid(leader)
    os.kill(pid, signal.SIGSTOP)
    try:
        assert installed.leader(other_than=leader) != leader
        goes_on(served, "frozen")
        (tmp_path / "enough").touch()
    finally:
        os.kill(pid, signal.SIGCONT)
    check_each_once(tmp_path, result(served.wait_end("frozen")))
    # It ends as soon as it sees that it no longer leads.
    installed.kube.wait_until("pod", leader, lambda _: restarts(installed, leader) > before)
    said = installed.kube.run("logs", leader, "-c", "operator", "--previous").stdout
    assert "couldn't be renewed for 10 s" in said


@contextmanager
def cut_off(pid: int) -> Iterator[None]:
    """Nothing that this process's pod sends arrives meanwhile: routes that win over its default one lead nowhere."""
    words = ["nsenter", "--target", str(pid), "--net", "ip", "route"]
    halves = ("0.0.0.0/1", "128.0.0.0/1")
    for half in halves:
        subprocess.run([*words, "add", "blackhole", half], check=True)
    try:
        yield
    finally:
        for half in halves:
            subprocess.run([*words, "delete", "blackhole", half], check=True)


def test_a_leader_without_network_ends_and_the_other_goes_on(
    installed: Installed, served: Kube, tmp_path: Path
) -> None:
    leader = installed.leader()
    begin(served, tmp_path, "cut", 5)
    with cut_off(installed.pid(leader, "decider")):  # which goes on, while its neighbour ends
        assert installed.leader(other_than=leader) != leader
        assert result(served.wait_end("cut")) == 5
    check_each_once(tmp_path, 5)
    installed.kube.run("wait", "--for=condition=Ready", f"pod/{leader}", "--timeout=90s")


def test_an_upgrade_and_its_rollback_while_a_workflow_runs(installed: Installed, served: Kube, tmp_path: Path) -> None:
    images.ctr("images", "tag", "--force", flowy_images.OPERATOR, OTHER, doing="naming the other version")
    begin(served, tmp_path, "upgraded", UNTIL_TOLD)
    first = installed.leader()
    installed.settle("upgrade", CHART, "--reset-then-reuse-values", f"--set=image.tag={OTHER.rpartition(':')[2]}")
    assert running(installed) == {OTHER}
    second = installed.leader(other_than=first)
    goes_on(served, "upgraded")
    installed.settle("rollback")
    assert running(installed) == {flowy_images.OPERATOR}
    assert installed.leader(other_than=second) != second
    goes_on(served, "upgraded")
    (tmp_path / "enough").touch()
    check_each_once(tmp_path, result(served.wait_end("upgraded")))


def goes_on(kube: Kube, name: str) -> None:
    """Wait until something is done that is not yet."""
    done = len(events(kube.get("workflow", name), "TaskCompleted"))
    kube.wait_until("workflow", name, has_done(done + 1))


def running(installed: Installed) -> set[str]:
    """The images of the operators that are there to stay."""
    pods = [pod for pod in installed.kube.list("pods", OPERATORS) if "deletionTimestamp" not in pod["metadata"]]
    assert len(pods) == 2
    return {container["image"] for pod in pods for container in pod["spec"]["containers"]}


def test_a_leader_that_is_told_to_end_hands_over_at_once(installed: Installed, served: Kube, tmp_path: Path) -> None:
    leader = installed.leader()
    begin(served, tmp_path, "stopped", 4)
    installed.kube.run("delete", "pod", leader, "--wait=true")
    # Less than the time after which the Lease would have ended by itself.
    assert installed.leader(other_than=leader, timeout_s=12) != leader
    assert result(served.wait_end("stopped")) == 4
    check_each_once(tmp_path, 4)
    assert len(installed.kube.list("pods", LEADER)) == 1
