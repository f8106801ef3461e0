"""Two replicas on a real API server: the one that works is killed, frozen, stopped, and the other goes on."""

import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.kube import Kube, events, result
from tests.e2e.manifests import CHAIN, mount_folder, shell, workflow
from tests.e2e.operator import READY, OperatorProcess
from tests.e2e.test_health import ask

LEASE_S = 30
"""So long that a machine on which much else is tested doesn't keep the leader from renewing it."""
WAITS = "waiting for the lease"
NEXT = 'echo "$FLOWY_TASK $FLOWY_ATTEMPT" >> /log/ran; sleep 1; echo $(($1 + 1)) > $FLOWY_RESULT_FILE'

Replicas = Callable[[], OperatorProcess]


@pytest.fixture
def replica(kube: Kube, tmp_path: Path) -> Iterator[Replicas]:
    """Makes replicas of one operator, each with a pod of its own to its name. They end with the test."""
    made: list[OperatorProcess] = []

    def make() -> OperatorProcess:
        pod = f"replica-{len(made)}"
        kube.run(
            "run", pod, "--image=docker.io/library/busybox:1", "--image-pull-policy=IfNotPresent", "--", "sleep", "600"
        )
        pods = {"POD_NAMESPACE": kube.namespace, "POD_NAME": pod}
        process = OperatorProcess(
            kube.kubeconfig,
            kube.namespace,
            tmp_path / pod,
            options=["--leader-election", f"--lease-seconds={LEASE_S}"],
            environment=pods,
        )
        made.append(process)
        return process

    yield make
    for process in made:
        process.send(signal.SIGCONT)
        process.stop()
    kube.run("delete", "pod", *(f"replica-{n}" for n in range(len(made))), "--now")
    kube.run("delete", "lease", "flowy-operator", "--ignore-not-found")


def leaders(kube: Kube) -> list[str]:
    """The pods that bear the label."""
    return [pod["metadata"]["name"] for pod in kube.list("pods", "flowy.dev/leader=true")]


def begin(kube: Kube, folder: Path, name: str, length: int) -> None:
    """Start a chain that leaves a line for each attempt, and whose Jobs go as soon as they may."""
    folder.chmod(0o777)
    task = shell("step", NEXT, "$(FLOWY_ARG_0)")
    mount_folder(task, folder, "/log")
    kube.apply(workflow(name, CHAIN, [task], length, jobs={"keepSucceededSeconds": 1}))
    kube.wait_until("workflow", name, lambda body: bool(events(body, "TaskCompleted")))


def check_each_once(folder: Path, length: int) -> None:
    ran = Counter(tuple(line.split()) for line in (folder / "ran").read_text().splitlines())
    assert ran == {(f"step-{n}", "1"): 1 for n in range(length)}


@pytest.mark.timeout(240)
def test_the_leader_is_killed_and_the_other_goes_on(kube: Kube, replica: Replicas, tmp_path: Path) -> None:
    leader, waiter = replica(), replica()
    leader.start()
    waiter.start(until=WAITS)
    assert ask(waiter, "/readyz") == (200, "decider: ok\nlease: ok\n")
    assert "flowy_leader 0.0" in ask(waiter, "/metrics")[1]
    assert "flowy_leader 1.0" in ask(leader, "/metrics")[1]
    kube.wait_until("pod", "replica-0", lambda _: leaders(kube) == ["replica-0"])
    begin(kube, tmp_path, "killed", 5)
    leader.kill()
    waiter.says(READY, 1, timeout_s=3 * LEASE_S)
    kube.wait_until("pod", "replica-1", lambda _: leaders(kube) == ["replica-1"])
    leader.start(until=WAITS)  # as its kubelet would; it is one who waits now
    assert result(kube.wait_end("killed", 90)) == 5
    check_each_once(tmp_path, 5)


@pytest.mark.timeout(240)
def test_a_leader_that_was_frozen_writes_nothing_when_it_thaws(kube: Kube, replica: Replicas, tmp_path: Path) -> None:
    leader, waiter = replica(), replica()
    leader.start()
    waiter.start(until=WAITS)
    begin(kube, tmp_path, "frozen", 6)
    leader.send(signal.SIGSTOP)
    waiter.says(READY, 1, timeout_s=3 * LEASE_S)
    kube.wait_until("pod", "replica-1", lambda _: leaders(kube) == ["replica-1"])
    kube.wait_until("workflow", "frozen", lambda body: len(events(body, "TaskCompleted")) >= 4)
    leader.send(signal.SIGCONT)
    assert leader.ended() == 1
    assert "couldn't be renewed for 20 s" in leader.log.read_text()
    assert result(kube.wait_end("frozen", 90)) == 6
    check_each_once(tmp_path, 6)
    assert leaders(kube) == ["replica-1"]


@pytest.mark.timeout(240)
def test_a_leader_that_is_stopped_hands_over_at_once(kube: Kube, replica: Replicas, tmp_path: Path) -> None:
    leader, waiter = replica(), replica()
    leader.start()
    waiter.start(until=WAITS)
    begin(kube, tmp_path, "stopped", 4)
    assert leader.stop(timeout_s=5) == 0
    assert leaders(kube) in ([], ["replica-1"])
    waiter.says(READY, 1, timeout_s=10)
    assert result(kube.wait_end("stopped")) == 4
    check_each_once(tmp_path, 4)
    assert waiter.stop(timeout_s=5) == 0
    lease = kube.get("lease", "flowy-operator")
    assert "holderIdentity" not in lease["spec"]
    assert leaders(kube) == []
