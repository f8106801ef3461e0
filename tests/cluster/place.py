"""Where a node is: its name, its address, its folders. Every cluster has the first one; tests add others (`added_node.py`)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import network, paths

_ADDED = re.compile(rf"{network.NODE}-(\d)")
FIRST_ADDED, LAST_ADDED = 2, 9


@dataclass(frozen=True, slots=True)
class Place:
    """`kept` holds images, logs and what the kubelet keeps; `run` sockets, which need a short path, and running containers."""

    name: str
    address: str
    kept: Path
    run: Path

    def component(self, name: str) -> str:
        """What its kubelet or containerd is called among the processes of the cluster."""
        return name if self == FIRST else f"{name}-{self.address.rpartition('.')[2]}"

    @property
    def kubelet(self) -> Path:
        return self.kept / "kubelet"

    @property
    def pod_logs(self) -> Path:
        return self.kept / "pod-logs"

    @property
    def containerd_root(self) -> Path:
        """Images and snapshots: of the first node they are kept when the cluster stops."""
        return self.kept / "containerd"

    @property
    def containerd_state(self) -> Path:
        return self.run / "containerd"

    @property
    def containerd_socket(self) -> Path:
        return self.run / "containerd.sock"

    @property
    def runc_root(self) -> Path:
        return self.run / "runc"


FIRST = Place(network.NODE, network.NODE_ADDRESS, paths.CLUSTER, paths.RUN)


def added(number: int) -> Place:
    """The place of an added node, 2 to 9."""
    if not FIRST_ADDED <= number <= LAST_ADDED:
        raise ValueError(f"added nodes are numbered {FIRST_ADDED} to {LAST_ADDED}, not {number}")
    name = f"{network.NODE}-{number}"
    network_part = network.NODE_ADDRESS.rpartition(".")[0]
    return Place(name, f"{network_part}.{number}", paths.ADDED_NODES / name, paths.ADDED_NODES_RUN / name)


def all_added() -> Iterator[Place]:
    """Those that have folders: they run, or somebody was killed before they were taken away."""
    for folder in sorted(paths.ADDED_NODES_RUN.glob("*/")):
        if match := _ADDED.fullmatch(folder.name):
            yield added(int(match[1]))
