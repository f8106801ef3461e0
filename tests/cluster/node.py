"""The node's processes: what each is called with."""

import json
from typing import Any

from tests.cluster import certificates, network, paths
from tests.cluster.component import Component
from tests.cluster.place import FIRST, Place

PAUSE_IMAGE = "flowy.local/pause:1"
KUBELET_HEALTH_PORT = 10248
ADDED = "flowy.test/node"
"""Label and taint of the nodes that a test adds: the label's value is the node's name, and pods go there only on purpose."""

FULL_DISK = "30%"  # of an added node's disk must be free, or its kubelet evicts


def containerd(place: Place = FIRST) -> Component:
    name = place.component("containerd")
    config = paths.CONFIG / f"{name}.toml"
    # restrict_oom_score_adj: where CAP_SYS_RESOURCE is missing (many containers and sandboxes), lowering a score is refused, and
    # every pod then fails with "can't get final child's PID". netns_mounts_under_state_dir: else they are among those that
    # `ip netns` shows, mixed with other people's. Plug-ins left out need kernel modules, or write outside our folders.
    text = f"""version = 2
root = "{place.containerd_root}"
state = "{place.containerd_state}"
disabled_plugins = [
  "io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
]

[grpc]
address = "{place.containerd_socket}"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE_IMAGE}"
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "{network.POD_NETWORK_FOLDER}"

[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "{"overlayfs" if paths.overlay_works(place.kept) else "native"}"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
Root = "{place.runc_root}"
"""
    return Component(
        name=name,
        argv=("containerd", "--config", str(config)),
        ready=str(place.containerd_socket),
        files={config: text, **network.pod_network_files()},
    )


def kubelet(binary: str, place: Place = FIRST) -> Component:
    name = place.component("kubelet")
    config = paths.CONFIG / f"{name}.json"
    identity, serving = certificates.of_kubelet(place)
    health_address = "127.0.0.1" if place == FIRST else place.address
    content: dict[str, Any] = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": place.address,
        "port": network.KUBELET_PORT,
        "healthzBindAddress": health_address,
        "healthzPort": KUBELET_HEALTH_PORT,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(certificates.CA)},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(serving.certificate),
        "tlsPrivateKeyFile": str(serving.key),
        "containerRuntimeEndpoint": f"unix://{place.containerd_socket}",
        "podLogsDir": str(place.pod_logs),
        "volumePluginDir": str(place.kubelet / "plug-ins"),
        # Works with either version of control groups, without systemd, and without rights on the root group.
        "failCgroupV1": False,
        "cgroupDriver": "cgroupfs",
        "cgroupsPerQOS": False,
        "enforceNodeAllocatable": [],
        "localStorageCapacityIsolation": False,
        "failSwapOn": False,
        # A developer's disk is often 90 % full: neither evict pods for it nor delete images that no registry can give back.
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "0%", "imagefs.available": "0%"},
        "imageGCHighThresholdPercent": 100,
        # Names resolve nowhere, at once: nothing listens there. Without any address the kubelet writes an Event for every pod.
        "clusterDNS": [network.NODE_ADDRESS],
        "clusterDomain": "cluster.local",
        "maxPods": 250,
        "serializeImagePulls": False,
        "registryPullQPS": 0,
        "kubeAPIQPS": 1000,
        "kubeAPIBurst": 2000,
        "eventRecordQPS": 50,
        "eventBurst": 100,
    }
    words = [f"--hostname-override={place.name}", f"--node-ip={place.address}"]
    if place != FIRST:
        content |= _on_a_small_disk()
        content["registerWithTaints"] = [{"key": ADDED, "value": place.name, "effect": "NoSchedule"}]
        words.append(f"--node-labels={ADDED}={place.name}")
    return Component(
        name=name,
        argv=(
            binary,
            "kubelet",
            f"--config={config}",
            f"--kubeconfig={identity.kubeconfig}",
            f"--root-dir={place.kubelet}",
            *words,
        ),
        ready=f"http://{health_address}:{KUBELET_HEALTH_PORT}/healthz",
        ports=((place.address, network.KUBELET_PORT), (health_address, KUBELET_HEALTH_PORT)),
        files={config: json.dumps(content, indent=2)},
    )


def _on_a_small_disk() -> dict[str, Any]:
    """What differs where the disk is the node's own, whose device the kubelet knows: it is looked after as on any node."""
    return {
        "localStorageCapacityIsolation": True,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": FULL_DISK, "imagefs.available": FULL_DISK},
        "evictionPressureTransitionPeriod": "5s",  # else five minutes, for which nothing starts there
    }


def proxy(binary: str) -> Component:
    config = paths.CONFIG / "proxy.json"
    content = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(certificates.PROXY.kubeconfig)},
        "mode": "iptables",
        "hostnameOverride": network.NODE,
        "clusterCIDR": network.PODS,
        "healthzBindAddress": f"127.0.0.1:{network.PROXY_HEALTH_PORT}",
        "metricsBindAddress": f"127.0.0.1:{network.PROXY_METRICS_PORT}",
        "nodePortAddresses": [f"{network.NODE_ADDRESS}/32"],
        "iptables": {"localhostNodePorts": False, "minSyncPeriod": "100ms"},
        # Zero leaves the machine's connection tracking as it is.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }
    return Component(
        name="kube-proxy",
        argv=(binary, "kube-proxy", f"--config={config}"),
        ready=f"http://127.0.0.1:{network.PROXY_HEALTH_PORT}/livez",
        ports=(("127.0.0.1", network.PROXY_HEALTH_PORT), ("127.0.0.1", network.PROXY_METRICS_PORT)),
        files={config: json.dumps(content, indent=2)},
    )
