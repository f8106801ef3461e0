"""All processes of the cluster, in the order in which they start."""

from pathlib import Path

from tests.cluster import control_plane, node
from tests.cluster.component import Component, Limits
from tests.cluster.errors import ClusterError

NAMES = (
    "containerd",
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
)
API_CLIENTS = NAMES[3:]


def check_known(name: str) -> None:
    if name not in NAMES:
        raise ClusterError(f"there is no component {name!r}; there are: {', '.join(NAMES)}")


def all_components(kubernetes: Path, limits: Limits) -> dict[str, Component]:
    """Return every component by its name; `kubernetes` is the binary that holds most of them."""
    binary = str(kubernetes)
    listed = (
        node.containerd(),
        control_plane.etcd(binary),
        control_plane.api_server(binary, limits),
        control_plane.controller_manager(binary, limits),
        control_plane.scheduler(binary, limits),
        node.kubelet(binary),
        node.proxy(binary),
    )
    return {component.name: component for component in listed}
