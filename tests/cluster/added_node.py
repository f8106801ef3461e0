"""Nodes that come and go: a kubelet and a containerd of their own, on a small disk of their own, for tests of node trouble.

As real as the first one, whose network they share. Pods go there only on purpose: `pod_template`. A process holds each of them
(`python3 -m tests.cluster node 2`) until its standard input ends, so they go with whoever asked for them, however that one ends.
"""

import fcntl
import http.client
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster import (
    api,
    build,
    certificates,
    images,
    network,
    node,
    paths,
    place,
    processes,
    readiness,
    remains,
    starting,
)
from tests.cluster.commands import run
from tests.cluster.component import Component
from tests.cluster.errors import ClusterError
from tests.cluster.place import Place

DISK_MIB = 128
"""In memory, so that it is gone with its mount. Images and pods take 10 of them."""

READY = "ready"  # what the holder says, once

_REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class AddedNode:
    """A node, and what can be done to it. Containers go on whatever happens to kubelet and containerd."""

    place: Place

    @property
    def name(self) -> str:
        return self.place.name

    def freeze(self) -> None:
        """Stop the kubelet in its tracks: for the cluster the node is lost, and its pods run on."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def lose(self) -> None:
        """As when the power is cut: kubelet, containers, containerd."""
        remains.end_node(self.place)

    def kill_containerd(self) -> None:
        processes.stop(self.place.component("containerd"), grace_s=0)

    def start_containerd(self) -> None:
        _start(node.containerd(self.place))

    def kill_kubelet(self) -> None:
        processes.stop(self.place.component("kubelet"), grace_s=0)

    def start_kubelet(self) -> None:
        _start(_kubelet(self.place))

    def tag_image(self, name: str, new: str) -> None:
        """Have an image under another name, as if it had been imported by that."""
        images.ctr("images", "tag", name, new, doing=f"tagging {name}", place=self.place)

    def _signal(self, number: signal.Signals) -> None:
        kubelet = processes.find(self.place.component("kubelet"))
        if kubelet is None:
            raise ClusterError(f"{self.name} has no kubelet")
        os.kill(kubelet.pid, number)


def pod_template(name: str, **spec: Any) -> dict[str, Any]:
    """What sends a pod to an added node as long as it takes pods, and else elsewhere."""
    there = {"matchExpressions": [{"key": node.ADDED, "operator": "In", "values": [name]}]}
    affinity = {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "preference": there}]}
    tolerations = [{"key": node.ADDED, "operator": "Exists", "effect": "NoSchedule"}, *spec.pop("tolerations", ())]
    return {"spec": {"affinity": {"nodeAffinity": affinity}, "tolerations": tolerations, **spec}}


@contextmanager
def added_nodes(*numbers: int) -> Iterator[Sequence[AddedNode]]:
    """Nodes of these numbers (2 to 9) until left, made at the same time. ClusterError if one doesn't get ready."""
    with ExitStack() as stack:
        holders = [stack.enter_context(_holder(number)) for number in numbers]
        for holder in holders:
            assert holder.stdout is not None
            if holder.stdout.readline().strip() != READY:
                raise ClusterError("a node can't be added; its holder has said why on standard error")
        yield [AddedNode(place.added(number)) for number in numbers]
        for holder in holders:  # at the same time, too
            assert holder.stdin is not None
            holder.stdin.close()


@contextmanager
def _holder(number: int) -> Iterator[subprocess.Popen[str]]:
    # A session of its own: Ctrl-C is for the test, and the end of its input comes after it.
    command = [sys.executable, "-m", "tests.cluster", "node", str(number)]
    process = subprocess.Popen(
        command, cwd=_REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    with process:  # closes its input, and waits
        yield process


def hold(number: int) -> None:
    """Make a node, say so, keep it until standard input ends, take it away."""
    where = place.added(number)
    paths.ADDED_NODES.mkdir(exist_ok=True)
    with (paths.ADDED_NODES / f"{where.name}.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ClusterError(f"{where.name} is there already; who holds it: fuser -v {lock.name}") from error
        _take_away(where)  # its former holder may have been killed
        try:
            _make(where)
            sys.stdout.write(f"{READY}\n")
            sys.stdout.flush()
            sys.stdin.read()
        finally:
            _take_away(where)


def _make(where: Place) -> None:
    certificates.ensure_of_kubelet(where)
    network.give(where.address)
    where.run.mkdir(parents=True, mode=0o711)
    where.kept.mkdir(parents=True)
    words: list[str | Path] = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m,mode=711", where.name, where.kept]
    run(words, doing="making the node's disk")
    _start(node.containerd(where))
    images.load_needed(where)
    _start(_kubelet(where))
    readiness.wait_for_node(where)


def _take_away(where: Place) -> None:
    remains.end_node(where)
    remains.clear_node(where)
    with suppress(ConnectionRefusedError):  # the cluster was stopped meanwhile, and with it all objects went
        _forget(where)


def _forget(where: Place) -> None:
    pods = api.get(f"/api/v1/pods?fieldSelector=spec.nodeName={where.name}")["items"]
    for metadata in (pod["metadata"] for pod in pods):
        # Nobody is left to say that they have ended.
        _delete(f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}?gracePeriodSeconds=0")
    _delete(f"/api/v1/nodes/{where.name}")


def _delete(path: str) -> None:
    try:
        api.request("DELETE", path)
    except api.ApiError as error:
        if error.status != http.client.NOT_FOUND:
            raise


def _kubelet(where: Place) -> Component:
    return node.kubelet(str(build.kubernetes()), where)


def _start(component: Component) -> None:
    starting.start(component)
    readiness.wait_for(component)
