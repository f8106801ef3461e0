"""The operator as its chart installs it: two replicas that share a Lease, the decider in a container of its own, activities
that come to the gateway by its Service.

One release serves the namespaces of all modules that want it, with a Role in each: it stands before the first test of them,
and is away after the last. What the node can do to it (kill, freeze, cut off) is here as well.
"""

import json
import re
import time
from contextlib import ExitStack
from pathlib import Path

from tests.chart.address import held
from tests.chart.helm import CHART, Release
from tests.cluster import cluster, flowy_images
from tests.e2e.kube import Kube

GATEWAY = "10.96.0.81"
"""The Service's address: there is no DNS in the embedded cluster."""

OPERATORS = "app.kubernetes.io/component=operator"
LEADER = "flowy.dev/leader=true"


class Installed:
    """One release in a namespace of its own. `namespaces` are those that it looks after, by the modules they belong to."""

    def __init__(self, kubeconfig: Path, namespace: str, namespaces: dict[str, str]) -> None:
        self.kube = Kube(kubeconfig, namespace)
        self.release = Release(kubeconfig, namespace)
        self.namespaces = namespaces
        self._address = ExitStack()

    def install(self) -> None:
        for namespace in (self.kube.namespace, *self.namespaces.values()):
            self.kube.run("create", "namespace", namespace)
        repository, _, tag = flowy_images.OPERATOR.rpartition(":")
        values = [
            f"image.repository={repository}",
            f"image.tag={tag}",
            f"namespaces={{{','.join(self.namespaces.values())}}}",
            "crds.enabled=false",  # those are there already, and other operators of this cluster use them as well
        ]
        if cluster.external_kubeconfig() is None:
            self._address.enter_context(held(self.kube.kubeconfig, GATEWAY))
            values += [f"gateway.clusterIP={GATEWAY}", f"gateway.url=http://{GATEWAY}:8082"]
        self.settle("install", CHART, *(f"--set={value}" for value in values))

    def settle(self, verb: str, *words: str | Path) -> None:
        """helm with these words; wait until all replicas of what it made are ready."""
        done = self.release.run(verb, *words, "--wait", "--timeout=2m", check=False)
        assert done.returncode == 0, done.stderr + self.log()
        self.leader()

    def remove(self) -> None:
        self.release.run("uninstall", "--ignore-not-found")
        self._address.close()
        self.kube.run("delete", "namespace", self.kube.namespace, *self.namespaces.values(), "--wait=false")

    # -- what it says -------------------------------------------------------------------------------------------------

    def leader(self, other_than: str = "", timeout_s: float = 60) -> str:
        """The pod that works, once it is another one than this. There may be none for a while."""
        deadline = time.monotonic() + timeout_s
        while True:
            names = [pod["metadata"]["name"] for pod in self.kube.list("pods", LEADER)]
            if len(names) == 1 and names[0] != other_than:
                return str(names[0])
            assert time.monotonic() < deadline, f"{names} lead after {timeout_s} s:\n{self.log()}"
            time.sleep(0.2)

    def log(self, *words: str) -> str:
        """What the operators of all replicas have written."""
        return self.kube.run("logs", "-l", OPERATORS, "-c", "operator", "--tail=-1", *words, check=False).stdout

    def errors(self, since: str) -> list[str]:
        """Lines of bugs since this moment, in RFC 3339. kopf logs an error for each request that it will try again."""
        found = []
        for text in self.log(f"--since-time={since}").splitlines():
            line = json.loads(text) if text.startswith("{") else {"level": "ERROR"}
            if line["level"] == "ERROR" and not str(line.get("logger")).startswith("kopf"):
                found.append(text)
        return found

    def ask(self, pod: str, path: str) -> str:
        """What the kubelet and Prometheus get of this pod: `healthz`, `readyz`, `metrics`. It has to be 200."""
        proxy = f"/api/v1/namespaces/{self.kube.namespace}/pods/{pod}:8080/proxy/{path}"
        return self.kube.run("get", "--raw", proxy).stdout

    # -- what a node can do to it; the embedded cluster's node is this machine ----------------------------------------

    def pid(self, pod: str, container: str = "operator") -> int:
        """The first process of a container: the operator itself, or its decider."""
        identity = self._containers(pod)[container]
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                first = re.search(r"^NSpid:.*\t1$", (folder / "status").read_text(), re.MULTILINE)
                if first and identity in (folder / "cgroup").read_text():
                    return int(folder.name)
            except OSError:
                continue  # it has ended
        raise AssertionError(f"no process of {container} of {pod} is on this machine")

    def memory_bytes(self, pod: str) -> int:
        """What the pod holds with all its containers, as `kubectl top` counts: without pages of files that nobody uses."""
        return sum(_memory_bytes(self.pid(pod, container)) for container in self._containers(pod))

    def _containers(self, pod: str) -> dict[str, str]:
        """Their ids by their names."""
        status = self.kube.get("pod", pod)["status"]
        every = [*status["initContainerStatuses"], *status["containerStatuses"]]
        return {one["name"]: one["containerID"].rpartition("/")[2] for one in every}


def _memory_bytes(pid: int) -> int:
    """Of the control group of this process, of either version."""
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    groups = {kinds: path for _, kinds, path in (line.split(":", 2) for line in lines)}
    first = "memory" in groups
    folder = Path(f"/sys/fs/cgroup/{'memory' if first else ''}{groups['memory' if first else '']}")
    used = int((folder / ("memory.usage_in_bytes" if first else "memory.current")).read_text())
    counts = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    return used - int(counts["total_inactive_file" if first else "inactive_file"])
