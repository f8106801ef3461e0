"""Addresses and ports, and what of them must be told to the kernel.

The node has an address of its own on the loopback interface: the kubelet refuses 127.0.0.1 as a node's address, pods could not
reach it, and every other address of the machine is open to its neighbours. So nothing listens where another host can call.
"""

import json
from pathlib import Path

from tests.cluster.commands import run, succeeds
from tests.cluster.paths import CONFIG, POD_ADDRESSES

NODE = "flowy-node"
NODE_ADDRESS = "10.254.254.1"
SERVICES = "10.96.0.0/16"
FIRST_SERVICE = "10.96.0.1"  # always `kubernetes.default`
PODS = "10.244.0.0/20"  # 4,096 addresses: the 250 of a /24 are used up while those of finished pods are still held

API_PORT = 6443
KUBELET_PORT = 10250
# Not etcd's own 2379, which a developer's machine may well have in use; on 127.0.0.1, where pods cannot reach it.
ETCD_PORT = 22379
ETCD_PEER_PORT = 22380
CONTROLLER_MANAGER_PORT = 10257
SCHEDULER_PORT = 10259
PROXY_HEALTH_PORT = 10256
PROXY_METRICS_PORT = 10249

POD_NETWORK = "flowy"
POD_NETWORK_FOLDER = CONFIG / "cni"
FORWARD_CHAIN = "FLOWY-CLUSTER"


def pod_network_files() -> dict[Path, str]:
    """One veth pair a pod, routed: no bridge. No masquerading either, since pods have no business outside this machine."""
    configuration = {
        "cniVersion": "0.4.0",
        "name": POD_NETWORK,
        "plugins": [
            {
                "type": "ptp",
                "ipMasq": False,
                "ipam": {
                    "type": "host-local",
                    "dataDir": str(POD_ADDRESSES),
                    "ranges": [[{"subnet": PODS}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            }
        ],
    }
    return {POD_NETWORK_FOLDER / "10-flowy.conflist": json.dumps(configuration, indent=2)}


def prepare() -> None:
    """Give the node its address and let pods' packets through; may be repeated."""
    give(NODE_ADDRESS)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1\n")
    # A container engine on the same machine sets FORWARD to DROP; pods would then reach services but not each other.
    chain = ["iptables", "--wait", "-t", "filter"]
    if not succeeds([*chain, "-n", "-L", FORWARD_CHAIN]):
        run([*chain, "-N", FORWARD_CHAIN], doing="making the pods' iptables chain")
        for direction in ("-s", "-d"):
            run([*chain, "-A", FORWARD_CHAIN, direction, PODS, "-j", "ACCEPT"], doing="letting pods' packets through")
    if not succeeds([*chain, "-C", "FORWARD", "-j", FORWARD_CHAIN]):
        run([*chain, "-I", "FORWARD", "-j", FORWARD_CHAIN], doing="letting pods' packets through")


def give(address: str) -> None:
    """Give a node its address; may be repeated."""
    run(["ip", "address", "replace", f"{address}/32", "dev", "lo"], doing="giving the node its address")


def release(address: str) -> None:
    """Take a node's address away again. The chain goes with the others (`remains.py`)."""
    succeeds(["ip", "address", "del", f"{address}/32", "dev", "lo"])
