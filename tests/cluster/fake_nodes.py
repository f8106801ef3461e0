"""Nodes that only claim to run their pods, for figures at a scale that no laptop runs: KWOK plays the kubelet.

The control plane, the Job controller and the scheduler are the real ones; a pod just ends well a moment after it is bound.
"""

import json
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum, auto
from pathlib import Path
from typing import Any

from tests.cluster import build
from tests.cluster.commands import run
from tests.cluster.errors import ClusterError
from tests.cluster.kubectl import kubectl_path

LABEL = "flowy.test/fake"
PODS_A_NODE = 1000  # the scheduler counts them; nobody else does
RESULT = "1"
READY_S = 60.0

POD_TEMPLATE: dict[str, Any] = {
    "spec": {
        "nodeSelector": {LABEL: "true"},
        "tolerations": [{"key": LABEL, "operator": "Exists", "effect": "NoSchedule"}],
    }
}
"""What sends a pod to a fake node: laid under an activity, or into a Job's template."""

# The container has "run" by the time the pod is first reported, as with the shortest real ones: one write of status a pod.
_ENDED = """
{{ $now := Now }}
conditions:
- {type: Initialized, status: "True", lastTransitionTime: {{ $now | Quote }}}
- {type: Ready, status: "False", reason: PodCompleted, lastTransitionTime: {{ $now | Quote }}}
- {type: ContainersReady, status: "False", reason: PodCompleted, lastTransitionTime: {{ $now | Quote }}}
containerStatuses:
{{ range .spec.containers }}
- image: {{ .image | Quote }}
  name: {{ .name | Quote }}
  ready: false
  restartCount: 0
  started: false
  state:
    terminated:
      exitCode: 0
      reason: Completed
      message: "RESULT"
      startedAt: {{ $now | Quote }}
      finishedAt: {{ $now | Quote }}
{{ end }}
phase: Succeeded
startTime: {{ $now | Quote }}
""".replace("RESULT", RESULT)

_READY = """
{{ $now := Now }}
conditions:
- {type: Ready, status: "True", reason: KubeletReady, lastHeartbeatTime: {{ $now | Quote }}, lastTransitionTime: {{ $now | Quote }}}
capacity: {cpu: "1000", memory: 1Ti, pods: "PODS"}
allocatable: {cpu: "1000", memory: 1Ti, pods: "PODS"}
phase: Running
""".replace("PODS", str(PODS_A_NODE))


class Pods(Enum):
    """What happens to the pods of a fake node."""

    END_AT_ONCE = auto()
    UNTOUCHED = auto()
    """Their kubelet is the caller: KWOK only keeps the nodes ready."""


@contextmanager
def fake_nodes(kubeconfig: Path, count: int, pods: Pods = Pods.END_AT_ONCE) -> Iterator[None]:
    """So many nodes until left; their pods go with them. ClusterError if KWOK doesn't get them ready."""
    names = [f"fake-{n}" for n in range(count)]
    kubectl = [str(kubectl_path()), f"--kubeconfig={kubeconfig}"]
    with tempfile.TemporaryDirectory() as folder:
        stages, log = Path(folder) / "stages.yaml", Path(folder) / "log"
        stages.write_text("\n---\n".join(json.dumps(stage) for stage in _stages(pods)))
        argv = [str(build.kwok()), f"--kubeconfig={kubeconfig}", f"--config={stages}", "--server-address=127.0.0.1:0"]
        argv += [f"--manage-nodes-with-label-selector={LABEL}=true", "--node-lease-duration-seconds=40"]
        with log.open("wb") as output:
            process = subprocess.Popen(argv, stdout=output, stderr=subprocess.STDOUT, env={"HOME": folder})
        try:
            # Those of a run that was killed look ready, and nobody keeps them so.
            run([*kubectl, "delete", "nodes", "-l", f"{LABEL}=true"], doing="deleting old fake nodes")
            nodes = json.dumps({"apiVersion": "v1", "kind": "List", "items": [_node(name) for name in names]})
            run([*kubectl, "apply", "-f", "-"], doing="making fake nodes", stdin=nodes)
            _wait_ready(kubectl, count, process, log)
            yield
        finally:
            run([*kubectl, "delete", "nodes", "--ignore-not-found", *names], doing="deleting the fake nodes")
            process.terminate()
            process.wait(10)


def _wait_ready(kubectl: list[str], count: int, process: subprocess.Popen[bytes], log: Path) -> None:
    ready = ["get", "nodes", "-l", f"{LABEL}=true", "-o", "jsonpath={.items[*].status.phase}"]
    deadline = time.monotonic() + READY_S
    while run([*kubectl, *ready], doing="looking at the fake nodes").split().count("Running") < count:
        if process.poll() is not None or time.monotonic() > deadline:
            raise ClusterError(f"KWOK gets no nodes ready:\n{log.read_text()[-2000:]}")
        time.sleep(0.2)


def _node(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {LABEL: "true"}},
        "spec": {"taints": [{"key": LABEL, "value": "true", "effect": "NoSchedule"}]},
    }


def _stages(pods: Pods) -> Iterator[dict[str, Any]]:
    deleted = {"key": ".metadata.deletionTimestamp", "operator": "Exists"}
    alive = {"key": ".metadata.deletionTimestamp", "operator": "DoesNotExist"}
    pending = {"key": ".status.phase", "operator": "In", "values": ["Pending"]}
    running = {"key": ".status.phase", "operator": "NotIn", "values": ["Running"]}
    if pods is Pods.END_AT_ONCE:
        yield _stage("pod-end", "v1", "Pod", [alive, pending], {"statusTemplate": _ENDED})
        yield _stage("pod-delete", "v1", "Pod", [deleted], {"delete": True})
    yield _stage("node-ready", "v1", "Node", [alive, running], {"statusTemplate": _READY})


def _stage(name: str, group: str, kind: str, matches: list[dict[str, Any]], then: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "kwok.x-k8s.io/v1alpha1",
        "kind": "Stage",
        "metadata": {"name": name},
        "spec": {
            "resourceRef": {"apiGroup": group, "kind": kind},
            "selector": {"matchExpressions": matches},
            "next": then,
        },
    }
