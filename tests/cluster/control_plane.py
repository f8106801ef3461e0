"""The control plane's processes: what each is called with."""

import json
from typing import Any

from tests.cluster import certificates, network, paths
from tests.cluster.component import Component, Limits

HOST_HTTPS = "https://127.0.0.1"
HOST_HTTP = "http://127.0.0.1"


# Nobody has a certificate of that name: the flags only make complete the ConfigMap that the scheduler and the controller manager
# watch, which otherwise write two errors about it a minute.
_FRONT_PROXY_FLAGS = (
    f"--requestheader-client-ca-file={certificates.CA}",
    "--requestheader-allowed-names=flowy-front-proxy",
    "--requestheader-username-headers=X-Remote-User",
    "--requestheader-group-headers=X-Remote-Group",
    "--requestheader-extra-headers-prefix=X-Remote-Extra-",
)


def etcd(binary: str) -> Component:
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


def api_server(binary: str, limits: Limits) -> Component:
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
        ready=f"https://{network.NODE_ADDRESS}:{network.API_PORT}/readyz",
        ports=((network.NODE_ADDRESS, network.API_PORT),),
        # It would wait until the last client has let go of its watch, which the kubelet never does.
        grace_s=2.0,
    )


def controller_manager(binary: str, limits: Limits) -> Component:
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


def scheduler(binary: str, limits: Limits) -> Component:
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


def _serving_flags() -> tuple[str, ...]:
    serving = certificates.SERVING
    return (f"--tls-cert-file={serving.certificate}", f"--tls-private-key-file={serving.key}")


def _kubeconfig_flags(identity: certificates.Identity) -> tuple[str, ...]:
    path = identity.kubeconfig
    return (f"--kubeconfig={path}", f"--authentication-kubeconfig={path}", f"--authorization-kubeconfig={path}")
