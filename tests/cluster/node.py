"""The node's processes: what each is called with."""

import json

from tests.cluster import certificates, network, paths
from tests.cluster.component import Component

PAUSE_IMAGE = "flowy.local/pause:1"
KUBELET_HEALTH_PORT = 10248


def containerd() -> Component:
    config = paths.CONFIG / "containerd.toml"
    # restrict_oom_score_adj: where CAP_SYS_RESOURCE is missing (many containers and sandboxes), lowering a score is refused, and
    # every pod then fails with "can't get final child's PID". netns_mounts_under_state_dir: else they are among those that
    # `ip netns` shows, mixed with other people's. Plug-ins left out need kernel modules, or write outside our folders.
    text = f"""version = 2
root = "{paths.CONTAINERD_ROOT}"
state = "{paths.CONTAINERD_STATE}"
disabled_plugins = [
  "io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
]

[grpc]
address = "{paths.CONTAINERD_SOCKET}"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE_IMAGE}"
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "{network.POD_NETWORK_FOLDER}"

[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "{"overlayfs" if paths.overlay_works() else "native"}"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
Root = "{paths.RUNC_ROOT}"
"""
    return Component(
        name="containerd",
        argv=("containerd", "--config", str(config)),
        ready=str(paths.CONTAINERD_SOCKET),
        files={config: text, **network.pod_network_files()},
    )


def kubelet(binary: str) -> Component:
    config = paths.CONFIG / "kubelet.json"
    content = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": network.NODE_ADDRESS,
        "port": network.KUBELET_PORT,
        "healthzBindAddress": "127.0.0.1",
        "healthzPort": KUBELET_HEALTH_PORT,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(certificates.CA)},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(certificates.SERVING.certificate),
        "tlsPrivateKeyFile": str(certificates.SERVING.key),
        "containerRuntimeEndpoint": f"unix://{paths.CONTAINERD_SOCKET}",
        "podLogsDir": str(paths.POD_LOGS),
        "volumePluginDir": str(paths.KUBELET / "plug-ins"),
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
    return Component(
        name="kubelet",
        argv=(
            binary,
            "kubelet",
            f"--config={config}",
            f"--kubeconfig={certificates.KUBELET.kubeconfig}",
            f"--root-dir={paths.KUBELET}",
            f"--hostname-override={network.NODE}",
            f"--node-ip={network.NODE_ADDRESS}",
        ),
        ready=f"http://127.0.0.1:{KUBELET_HEALTH_PORT}/healthz",
        ports=((network.NODE_ADDRESS, network.KUBELET_PORT), ("127.0.0.1", KUBELET_HEALTH_PORT)),
        files={config: json.dumps(content, indent=2)},
    )


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
