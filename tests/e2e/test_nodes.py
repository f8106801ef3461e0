"""Trouble with nodes, on real ones that are added for it: what is waited for, what is launched again, and that nothing runs twice.

Waiting for Kubernetes is nearly all of it, so every trouble has its own node or moment, and all happen at the same time.
Activities write what they do to a file of this machine, which is all nodes': what ran, and when, is read there.
"""

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import api, cluster
from tests.cluster.added_node import AddedNode, added_nodes, pod_template
from tests.e2e.kube import Kube, condition, events, result
from tests.e2e.manifests import BUSYBOX, mount_folder, shell, workflow
from tests.e2e.operator import OperatorProcess

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        cluster.external_kubeconfig() is not None, reason="nodes are added to the embedded cluster alone"
    ),
]

ONE = """
def w(t):
    def run():
        return t()
    return run
"""
UNREACHABLE = "node.kubernetes.io/unreachable"
GIVEN_UP = "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute"
BALLAST_MIB = 100
GRACE_S = 10  # to write one line, on a machine that starts five nodes

# Its first pod stays until it is told to go, the next one does the work.
STAYS = """
say() { echo "$FLOWY_WORKFLOW $1 $FLOWY_ATTEMPT $(hostname)" >> /log/ran; }
say began
trap 'say told; exit 1' TERM
if mkdir /log/$FLOWY_WORKFLOW; then sleep 600 & wait; fi
echo $FLOWY_ATTEMPT > $FLOWY_RESULT_FILE
"""
ENDS_WHEN_ASKED = """
say() { echo "$FLOWY_WORKFLOW $1 $FLOWY_ATTEMPT $(hostname)" >> /log/ran; }
say began
until [ -e /log/$FLOWY_WORKFLOW-may-end ]; do sleep 0.2; done
echo $FLOWY_ATTEMPT > $FLOWY_RESULT_FILE
say ended
"""
# The first attempt beats until it is asked to be quiet, and has a result when another one has been launched in its place.
COMES_LATE = """
say() { echo "$FLOWY_WORKFLOW $1 $FLOWY_ATTEMPT $(hostname)" >> /log/ran; }
call() { wget -q -O - --header "Authorization: Bearer $(cat $FLOWY_TOKEN_FILE)" "$@"; }
say began
if mkdir /log/$FLOWY_WORKFLOW; then
  until [ -e /log/$FLOWY_WORKFLOW-quiet ]; do call --post-data 1 $FLOWY_URL/heartbeat; sleep 1; done
  until [ -e /log/$FLOWY_WORKFLOW-late ]; do sleep 0.2; done
  wget -S -O - --header "Authorization: Bearer $(cat $FLOWY_TOKEN_FILE)" --post-data 0 $FLOWY_URL/result > /log/$FLOWY_WORKFLOW-said 2>&1
  sleep 600 & wait
fi
call --post-data $FLOWY_ATTEMPT $FLOWY_URL/result
"""


@dataclass(frozen=True, slots=True)
class Seen:
    """A workflow at its end, and what `kubectl describe` told of it then and in the midst of the trouble."""

    body: Mapping[str, Any]
    described: str
    meanwhile: str = ""

    @property
    def types(self) -> list[str]:
        return [event["type"] for event in self.body["status"]["history"]]


class Trouble:
    """What the scenarios have in common: one namespace, one log."""

    def __init__(self, kube: Kube, log: Path) -> None:
        self.kube = kube
        self.log = log
        self.nodes: dict[str, str] = {}
        """Which node each workflow begins on."""

    def start(
        self, name: str, node: AddedNode, script: str, *, pod: Mapping[str, Any] | None = None, **task: Any
    ) -> None:
        """Begin a workflow of one activity on this node, and wait until it runs there."""
        self.apply(name, node, script, pod=pod, **task)
        self.until(lambda: bool(self.ran(name)), f"{name} to run")
        (pod_,) = self.kube.list("pods", f"flowy.dev/workflow={name}")
        assert pod_["spec"]["nodeName"] == node.name

    def apply(
        self, name: str, node: AddedNode, script: str, *, pod: Mapping[str, Any] | None = None, **task: Any
    ) -> None:
        self.nodes[name] = node.name
        one = shell("t", script, **task)
        spec = pod_template(node.name, terminationGracePeriodSeconds=GRACE_S, **(pod or {}))["spec"]
        one["activity"]["template"]["spec"] |= spec
        mount_folder(one, self.log, "/log")
        self.kube.apply(workflow(name, ONE, [one]))

    def ran(self, name: str) -> list[tuple[str, str, str]]:
        """What the pods of a workflow did: a word, the attempt, the pod."""
        file = self.log / "ran"
        lines = [line.split() for line in file.read_text().splitlines()] if file.exists() else []
        return [(word, attempt, pod) for workflow_, word, attempt, pod in lines if workflow_ == name]

    def body(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = api.get(f"/apis/flowy.dev/v1alpha1/namespaces/{self.kube.namespace}/workflows/{name}")
        return found

    def waits_for(self, name: str, words: str) -> str:
        """What `kubectl describe` tells once `waitingOn` has a reason with these words."""

        def is_told() -> bool:
            waiting = (self.body(name).get("status") or {}).get("waitingOn", ())
            return any(words in one.get("reason", "") for one in waiting)

        self.until(is_told, f"{name} to wait for {words!r}")
        return self.kube.run("describe", "workflow", name).stdout

    def end(self, name: str, meanwhile: str = "") -> Seen:
        self.until(lambda: "completionTime" in (self.body(name).get("status") or {}), f"{name} to end")
        return Seen(self.body(name), self.kube.run("describe", "workflow", name).stdout, meanwhile)

    def tell(self, file: str) -> None:
        (self.log / file).touch()

    @staticmethod
    def until(holds: Callable[[], bool], what: str, timeout_s: float = 120) -> None:
        deadline = time.monotonic() + timeout_s
        while not holds():
            assert time.monotonic() < deadline, f"waited {timeout_s} s for {what}"
            time.sleep(0.3)


def _evicted_and_drained(trouble: Trouble, node: AddedNode) -> dict[str, Seen]:
    kube = trouble.kube
    trouble.start("evicted", node, STAYS, retry={"maxAttempts": 1})
    trouble.start("drained", node, STAYS, retry={"maxAttempts": 1})
    pod = trouble.ran("evicted")[0][2]
    eviction = f'{{"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {{"name": "{pod}"}}}}'
    path = f"/api/v1/namespaces/{kube.namespace}/pods/{pod}/eviction"
    kube.run("create", "--raw", path, "-f", "-", stdin=eviction)
    evicted = trouble.end("evicted")
    kube.run("drain", node.name, "--pod-selector=flowy.dev/workflow=drained", "--timeout=60s")
    drained = trouble.end("drained")
    kube.run("uncordon", node.name)
    return {"evicted": evicted, "drained": drained}


def _restarted(trouble: Trouble, node: AddedNode) -> dict[str, Seen]:
    for name in ("without-containerd", "without-kubelet"):
        trouble.start(name, node, ENDS_WHEN_ASKED, retry={"maxAttempts": 1})
    node.kill_containerd()
    trouble.tell("without-containerd-may-end")
    trouble.until(lambda: len(trouble.ran("without-containerd")) == 2, "the container to end")
    time.sleep(1)  # its shim finds nobody to tell
    node.start_containerd()
    first = trouble.end("without-containerd")
    node.kill_kubelet()
    trouble.tell("without-kubelet-may-end")
    trouble.until(lambda: len(trouble.ran("without-kubelet")) == 2, "the container to end")
    node.start_kubelet()
    return {"without-containerd": first, "without-kubelet": trouble.end("without-kubelet")}


def _image_comes_late(trouble: Trouble, node: AddedNode) -> dict[str, Seen]:
    image = f"flowy.local/late:{uuid.uuid4().hex[:8]}"
    pod = {"nodeSelector": {"flowy.test/node": node.name}}
    trouble.apply("no-image", node, ENDS_WHEN_ASKED, pod=pod, activity={"image": image})
    trouble.tell("no-image-may-end")
    meanwhile = trouble.waits_for("no-image", f"image can't be pulled: {image}")
    node.tag_image(BUSYBOX, image)
    return {"no-image": trouble.end("no-image", meanwhile)}


def _rebooted(trouble: Trouble, node: AddedNode) -> dict[str, Seen]:
    trouble.start("rebooted", node, STAYS, retry={"maxAttempts": 1})
    node.lose()
    node.start_containerd()
    node.start_kubelet()
    return {"rebooted": trouble.end("rebooted")}


def _overran(trouble: Trouble, node: AddedNode) -> dict[str, Seen]:
    limits = {"resources": {"limits": {"ephemeral-storage": "5Mi"}}}
    trouble.apply("overran", node, "head -c 20000000 /dev/zero > /big; sleep 600", activity=limits)
    return {"overran": trouble.end("overran")}


def _calm(trouble: Trouble, node: AddedNode) -> dict[str, Seen]:
    return {
        **_evicted_and_drained(trouble, node),
        **_restarted(trouble, node),
        **_image_comes_late(trouble, node),
        **_rebooted(trouble, node),
    }


def _full(trouble: Trouble, node: AddedNode) -> dict[str, Seen]:
    overran = _overran(trouble, node)
    trouble.start("full-disk", node, STAYS, retry={"maxAttempts": 1})
    (node.place.kept / "ballast").write_bytes(b"x" * BALLAST_MIB * 2**20)
    return {"full-disk": trouble.end("full-disk"), **overran}


def _silent(trouble: Trouble, node: AddedNode) -> dict[str, Seen]:
    at_once = [{"key": UNREACHABLE, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 0}]
    trouble.start("patient", node, ENDS_WHEN_ASKED, retry={"maxAttempts": 1})
    trouble.start("moved", node, STAYS, pod={"tolerations": at_once}, retry={"maxAttempts": 1})
    timed: dict[str, Any] = {
        "activity": {"gateway": True},
        "timeouts": {"heartbeatSeconds": 10},
        "retry": {"maxAttempts": 2},
    }
    trouble.start("timed", node, COMES_LATE, **timed)
    node.freeze()
    trouble.tell("patient-may-end")
    meanwhile = trouble.waits_for("moved", f"DeletionByTaintManager, and node {node.name} hasn't said yet")
    trouble.tell("timed-quiet")
    trouble.end("timed")
    trouble.tell("timed-late")
    trouble.until((trouble.log / "timed-said").exists, "the late result to be answered")
    assert len(trouble.ran("moved")) == 1, "nobody knows yet that the first one has ended"
    node.thaw()
    return {
        "patient": trouble.end("patient"),
        "moved": trouble.end("moved", meanwhile),
        "timed": trouble.end("timed"),
    }


def _retired(trouble: Trouble, node: AddedNode) -> dict[str, Seen]:
    late: dict[str, Any] = {"activity": {"gateway": True}, "retry": {"maxAttempts": 1}}
    trouble.start("retired", node, COMES_LATE, **late)
    node.freeze()
    trouble.kube.run("taint", "node", node.name, GIVEN_UP)
    meanwhile = trouble.waits_for("retired", f"DeletionByTaintManager, and node {node.name} hasn't said yet")
    trouble.end("retired")
    trouble.tell("retired-quiet")
    trouble.tell("retired-late")
    trouble.until((trouble.log / "retired-said").exists, "the late result to be answered")
    node.thaw()
    return {"retired": trouble.end("retired", meanwhile)}


def _removed(trouble: Trouble, node: AddedNode) -> dict[str, Seen]:
    trouble.start("removed", node, STAYS, retry={"maxAttempts": 1})
    node.lose()
    trouble.kube.run("delete", "node", node.name)
    return {"removed": trouble.end("removed")}


# With the workflows that they tell of.
SCENARIOS = {
    _calm: ("evicted", "drained", "without-containerd", "without-kubelet", "no-image", "rebooted"),
    _full: ("overran", "full-disk"),
    _silent: ("patient", "moved", "timed"),
    _retired: ("retired",),
    _removed: ("removed",),
}


@pytest.fixture(scope="module")
def trouble(kube: Kube, tmp_path_factory: pytest.TempPathFactory) -> Trouble:
    log = tmp_path_factory.mktemp("ran")
    log.chmod(0o777)
    return Trouble(kube, log)


@pytest.fixture(scope="module")
def running(operator: OperatorProcess, trouble: Trouble) -> Iterator[Mapping[str, Future[dict[str, Seen]]]]:
    """All scenarios, each on its own node, by the names of the workflows in them."""
    numbers = range(2, 2 + len(SCENARIOS))
    with added_nodes(*numbers) as nodes, ThreadPoolExecutor(len(SCENARIOS)) as threads:
        begun = [threads.submit(act, trouble, node) for act, node in zip(SCENARIOS, nodes, strict=True)]
        yield {name: future for names, future in zip(SCENARIOS.values(), begun, strict=True) for name in names}


@pytest.fixture
def seen(name: str, running: Mapping[str, Future[dict[str, Seen]]]) -> Seen:
    return running[name].result()[name]


# The reason of the disruption, and Kubernetes' words.
DISRUPTED = {
    "evicted": ("EvictionByEvictionAPI", "Eviction API: evicting"),
    "drained": ("EvictionByEvictionAPI", "Eviction API: evicting"),
    "rebooted": ("ContainerStatusUnknown", ""),
    "full-disk": ("Evicted", "The node was low on resource: ephemeral-storage"),
    "moved": ("DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint"),
    "retired": ("DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint"),
    "removed": ("DeletionByPodGC", "PodGC: node no longer exists"),
}
LEAVE = ("drained", "full-disk", "moved", "retired", "removed")
"""Those that can't stay on their node. Where the others go is the scheduler's choice."""

TOLD = ("evicted", "drained", "moved")
"""Those whose first container is told to stop, and given time for it: by a node that is there, or is back."""


@pytest.mark.parametrize("name", DISRUPTED)
def test_a_disruption_spends_no_attempt(name: str, seen: Seen, trouble: Trouble) -> None:
    reason, words = DISRUPTED[name]
    assert result(seen.body) == 1, "its FLOWY_ATTEMPT, of one allowed"
    # A node whose disk is full is told apart by the scheduler a moment later only: it may refuse the next launch itself.
    disrupted = events(seen.body, "TaskDisrupted")
    assert {event["reason"] for event in disrupted} == {reason}
    assert words in disrupted[0].get("message", "")
    assert [event["launch"] for event in disrupted] == list(range(len(disrupted)))
    assert f"Reason:             {reason}" in seen.described
    assert words in seen.described


@pytest.mark.parametrize("name", DISRUPTED)
def test_it_runs_again_once(name: str, seen: Seen, trouble: Trouble) -> None:
    pods = [pod for word, _, pod in trouble.ran(name) if word == "began"]
    assert len(pods) == len(set(pods)) == 2


@pytest.mark.parametrize("name", LEAVE)
def test_it_goes_on_elsewhere(name: str, seen: Seen, trouble: Trouble) -> None:
    (completed,) = events(seen.body, "TaskCompleted")
    assert completed["node"] != trouble.nodes[name]


@pytest.mark.parametrize("name", TOLD)
def test_the_next_begins_after_the_first_has_ended(name: str, seen: Seen, trouble: Trouble) -> None:
    assert [word for word, *_ in trouble.ran(name)] == ["began", "told", "began"]


@pytest.mark.parametrize("name", ["without-containerd", "without-kubelet", "patient", "no-image"])
def test_what_its_node_gets_over_changes_nothing(name: str, seen: Seen, trouble: Trouble) -> None:
    assert result(seen.body) == 1
    assert seen.types == ["TaskScheduled", "TaskCompleted"]
    assert [word for word, *_ in trouble.ran(name)] == ["began", "ended"]


# What it waits for, as `kubectl describe` has it.
REASONS = {
    "no-image": "Pod: image can't be pulled: flowy.local/late:",
    "moved": "Pod: DeletionByTaintManager, and node flowy-node-4 hasn't said yet that it has stopped",
    "retired": "Pod: DeletionByTaintManager, and node flowy-node-5 hasn't said yet that it has stopped",
}


@pytest.mark.parametrize("name", REASONS)
def test_what_it_waits_for_is_told(name: str, seen: Seen) -> None:
    assert f"Reason:  {REASONS[name]}" in seen.meanwhile


@pytest.mark.parametrize("name", ["timed"])
def test_a_timer_ends_an_attempt_on_a_lost_node(seen: Seen) -> None:
    assert result(seen.body) == 2
    assert seen.types == ["TaskScheduled", "TaskTimedOut", "TaskScheduled", "TaskCompleted"]
    (timed_out,) = events(seen.body, "TaskTimedOut")
    assert (timed_out["timer"], timed_out["progress"]) == ("Heartbeat", "1")


# Of a pod that is still there it is known that it counts no more; of one that is gone nothing is known, for ever.
ANSWERS = {"timed": "HTTP/1.1 409 Conflict", "retired": "HTTP/1.1 503 Service Unavailable"}


@pytest.mark.parametrize("name", ANSWERS)
def test_a_late_result_is_refused(name: str, seen: Seen, trouble: Trouble) -> None:
    assert ANSWERS[name] in (trouble.log / f"{name}-said").read_text()


@pytest.mark.parametrize("name", ["overran"])
def test_an_eviction_for_a_limit_of_its_own_is_a_failure(seen: Seen) -> None:
    assert seen.body["status"]["error"].items() >= {"type": "Evicted", "attempt": 1}.items()
    assert "ephemeral local storage usage exceeds" in condition(seen.body, "Succeeded")[2]
