"""The processes of the cluster: what each is called with, in the order in which they start."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from tests.cluster import certificates, network, paths
from tests.cluster.errors import ClusterError

PAUSE_IMAGE = "flowy.local/pause:1"
NODE_HTTPS = f"https://{network.NODE_ADDRESS}"
HOST_HTTPS = "https://127.0.0.1"
HOST_HTTP = "http://127.0.0.1"


class Limits(StrEnum):
    """How many calls Kubernetes' own parts may make a second."""

    RAISED = "raised"  # so that the operator is measured and not the Job controller's 20 calls a second
    DEFAULT = "default"  # as on a cluster that nobody tuned

    @classmethod
    def chosen(cls) -> "Limits":
        value = os.environ.get("FLOWY_CLUSTER_LIMITS", cls.RAISED)
        try:
            return cls(value)
        except ValueError:
            raise ClusterError(f"FLOWY_CLUSTER_LIMITS is {value!r}; it may be 'raised' or 'default'") from None


@dataclass(frozen=True, slots=True)
class Component:
    """A process. `ready` is the URL that answers 200 when it works, or the path of a socket that takes connections."""

    name: str
    argv: tuple[str, ...]
    ready: str
    ports: tuple[tuple[str, int], ...] = ()
    files: Mapping[Path, str] = field(default_factory=dict)
    grace_s: float = 5.0

    @property
    def fingerprint(self) -> str:
        """Changes with anything that asks for a restart."""
        files = {str(path): text for path, text in self.files.items()}
        return hashlib.sha256(json.dumps([self.argv, files], sort_keys=True).encode()).hexdigest()[:16]


def all_components(kubernetes: Path, limits: Limits) -> list[Component]:
    """Return every component, in the order of starting; `kubernetes` is the binary that holds most of them."""
    binary = str(kubernetes)
    return [
        _containerd(),
        _etcd(binary),
        _api_server(binary, limits),
        _controller_manager(binary, limits),
        _scheduler(binary, limits),
        _kubelet(binary),
        _proxy(binary),
    ]


def _containerd() -> Component:
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


def _etcd(binary: str) -> Component:
    client, peer = f"{HOST_HTTP}:{network.ETCD_PORT}", f"{HOST_HTTP}:{network.ETCD_PEER_PORT}"
    return Component(
        name="etcd",
        argv=(
            binary,
            "etcd",
            f"--data-dir={paths.ETCD}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            # What is lost is only what a power cut would lose; a killed process loses nothing. Writes become ten times as fast.
            "--unsafe-no-fsync",
            "--quota-backend-bytes=4294967296",
        ),
        ready=f"{client}/health",
        ports=(("127.0.0.1", network.ETCD_PORT), ("127.0.0.1", network.ETCD_PEER_PORT)),
        grace_s=1.0,  # it too waits for its clients, and the API server does not let go
    )


def _api_server(binary: str, limits: Limits) -> Component:
    raised = (
        ("--max-requests-inflight=4000", "--max-mutating-requests-inflight=2000") if limits is Limits.RAISED else ()
    )
    return Component(
        name="kube-apiserver",
        argv=(
            binary,
            "kube-apiserver",
            f"--etcd-servers={HOST_HTTP}:{network.ETCD_PORT}",
            # Not 127.0.0.1: kube-proxy sends what pods say to 10.96.0.1 to this address, and a pod's 127.0.0.1 is its own.
            f"--bind-address={network.NODE_ADDRESS}",
            f"--advertise-address={network.NODE_ADDRESS}",
            f"--secure-port={network.API_PORT}",
            f"--service-cluster-ip-range={network.SERVICES}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged=true",
            f"--client-ca-file={certificates.CA}",
            *_serving_flags(),
            *_FRONT_PROXY_FLAGS,
            f"--kubelet-client-certificate={certificates.ADMIN.certificate}",
            f"--kubelet-client-key={certificates.ADMIN.key}",
            f"--kubelet-certificate-authority={certificates.CA}",
            "--kubelet-preferred-address-types=InternalIP",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-account-key-file={certificates.SERVICE_ACCOUNT_PUBLIC_KEY}",
            f"--service-account-signing-key-file={certificates.SERVICE_ACCOUNT_KEY}",
            *raised,
        ),
        ready=f"{NODE_HTTPS}:{network.API_PORT}/readyz",
        ports=((network.NODE_ADDRESS, network.API_PORT),),
        # It would wait until the last client has let go of its watch, which the kubelet never does.
        grace_s=2.0,
    )


def _controller_manager(binary: str, limits: Limits) -> Component:
    raised = ("--kube-api-qps=1000", "--kube-api-burst=2000", "--concurrent-job-syncs=50", "--concurrent-gc-syncs=50")
    return Component(
        name="kube-controller-manager",
        argv=(
            binary,
            "kube-controller-manager",
            *_kubeconfig_flags(certificates.CONTROLLER_MANAGER),
            "--use-service-account-credentials=true",
            f"--service-account-private-key-file={certificates.SERVICE_ACCOUNT_KEY}",
            f"--root-ca-file={certificates.CA}",
            f"--cluster-signing-cert-file={certificates.CA}",
            f"--cluster-signing-key-file={certificates.CA_KEY}",
            "--leader-elect=false",  # there is one; renewing a lease would be noise in every count of API calls
            "--enable-hostpath-provisioner=true",
            "--bind-address=127.0.0.1",
            f"--secure-port={network.CONTROLLER_MANAGER_PORT}",
            *_serving_flags(),
            *(raised if limits is Limits.RAISED else ()),
        ),
        ready=f"{HOST_HTTPS}:{network.CONTROLLER_MANAGER_PORT}/healthz",
        ports=(("127.0.0.1", network.CONTROLLER_MANAGER_PORT),),
    )


def _scheduler(binary: str, limits: Limits) -> Component:
    config = paths.CONFIG / "scheduler.json"
    connection: dict[str, Any] = {"kubeconfig": str(certificates.SCHEDULER.kubeconfig)}
    if limits is Limits.RAISED:
        connection |= {"qps": 1000, "burst": 2000}
    content = {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "clientConnection": connection,
        "leaderElection": {"leaderElect": False},
    }
    return Component(
        name="kube-scheduler",
        argv=(
            binary,
            "kube-scheduler",
            f"--config={config}",
            f"--authentication-kubeconfig={certificates.SCHEDULER.kubeconfig}",
            f"--authorization-kubeconfig={certificates.SCHEDULER.kubeconfig}",
            "--bind-address=127.0.0.1",
            f"--secure-port={network.SCHEDULER_PORT}",
            *_serving_flags(),
        ),
        ready=f"{HOST_HTTPS}:{network.SCHEDULER_PORT}/healthz",
        ports=(("127.0.0.1", network.SCHEDULER_PORT),),
        files={config: json.dumps(content, indent=2)},
    )


def _kubelet(binary: str) -> Component:
    config = paths.CONFIG / "kubelet.json"
    content = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": network.NODE_ADDRESS,
        "port": network.KUBELET_PORT,
        "healthzBindAddress": "127.0.0.1",
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
        ready=f"{HOST_HTTP}:10248/healthz",
        ports=((network.NODE_ADDRESS, network.KUBELET_PORT), ("127.0.0.1", 10248)),
        files={config: json.dumps(content, indent=2)},
    )


def _proxy(binary: str) -> Component:
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
        ready=f"{HOST_HTTP}:{network.PROXY_HEALTH_PORT}/livez",
        ports=(("127.0.0.1", network.PROXY_HEALTH_PORT), ("127.0.0.1", network.PROXY_METRICS_PORT)),
        files={config: json.dumps(content, indent=2)},
    )


# Nobody has a certificate of that name: the flags only make complete the ConfigMap that the scheduler and the controller manager
# watch, which otherwise write two errors about it a minute.
_FRONT_PROXY_FLAGS = (
    f"--requestheader-client-ca-file={certificates.CA}",
    "--requestheader-allowed-names=flowy-front-proxy",
    "--requestheader-username-headers=X-Remote-User",
    "--requestheader-group-headers=X-Remote-Group",
    "--requestheader-extra-headers-prefix=X-Remote-Extra-",
)


def _serving_flags() -> tuple[str, ...]:
    serving = certificates.SERVING
    return (f"--tls-cert-file={serving.certificate}", f"--tls-private-key-file={serving.key}")


def _kubeconfig_flags(identity: certificates.Identity) -> tuple[str, ...]:
    path = identity.kubeconfig
    return (f"--kubeconfig={path}", f"--authentication-kubeconfig={path}", f"--authorization-kubeconfig={path}")
