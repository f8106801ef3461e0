"""The order of starting: everything from nothing, some of it, or one component again."""

from collections.abc import Collection, Mapping

from tests.cluster import api, images, network, paths, ports, processes, readiness, remains
from tests.cluster.component import Component
from tests.cluster.components import API_CLIENTS
from tests.cluster.errors import say
from tests.cluster.place import FIRST

DEFAULT_STORAGE_CLASS = {
    "apiVersion": "storage.k8s.io/v1",
    "kind": "StorageClass",
    "metadata": {"name": "standard", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
    "provisioner": "kubernetes.io/host-path",
    "reclaimPolicy": "Delete",
    "volumeBindingMode": "Immediate",
}


def fresh(components: Mapping[str, Component]) -> None:
    """Start everything, with an empty etcd, over whatever is left of a former run."""
    remains.end_added_nodes()
    remains.end_containers([FIRST])
    remains.clear()
    network.prepare()
    paths.RUN.mkdir(mode=0o711)
    paths.OWNER.write_text(str(paths.CACHE))
    say("starting containerd, etcd and the API server")
    containerd, api_server = components["containerd"], components["kube-apiserver"]
    start(containerd)
    start(components["etcd"])
    readiness.wait_for(components["etcd"])
    start(api_server)
    readiness.wait_for(containerd)
    if forget_containers():
        # It read the records of the former run's pods before they were deleted, and would tell the kubelet of them.
        processes.stop("containerd", grace_s=containerd.grace_s)
        start(containerd)
        readiness.wait_for(containerd)
    images.ensure_needed()
    readiness.wait_for(api_server)
    say("starting controllers and node")
    _start_together([components[name] for name in API_CLIENTS])
    _complete()


def some(components: Mapping[str, Component], names: Collection[str]) -> None:
    """Start what does not run and restart what has changed, and with the API server its clients (see `again`)."""
    wanted = set(names) | (set(API_CLIENTS) if "kube-apiserver" in names else set())
    chosen = [component for component in components.values() if component.name in wanted]
    say(f"starting {', '.join(component.name for component in chosen)}; all objects are kept")
    network.prepare()
    for component in reversed(chosen):
        processes.stop(component.name, grace_s=component.grace_s)
    for component in chosen:
        start(component)
        readiness.wait_for(component)
    images.ensure_needed()
    _complete()


def again(components: Mapping[str, Component], name: str) -> None:
    """Start one that was ended, wait until it works, and wake up who depends on it.

    An API server listens before it has read its RBAC rules, and answers 403 in between. The clients that ask in that moment then
    wait, up to a minute after a few restarts; where several servers stand behind a load balancer nobody sees this. Here they are
    started anew, which costs a second.
    """
    start(components[name])
    readiness.wait_for(components[name])
    if name == "kube-apiserver":
        # The controller manager is one that doesn't wait: forbidden to read what it needs, it ends.
        readiness.wait_for_rules()
        clients = [components[client] for client in API_CLIENTS]
        _start_together([client for client in clients if processes.stop(client.name, grace_s=client.grace_s)])


def forget_containers() -> bool:
    """Delete containerd's records of containers (they have ended) and their root filesystems; tell whether there were any."""
    names = images.ctr("containers", "list", "--quiet", doing="listing containers").split()
    if names:
        images.ctr("containers", "rm", *names, doing="deleting containers")
    return bool(names)


def _start_together(components: Collection[Component]) -> None:
    for component in components:
        start(component)
    for component in components:
        readiness.wait_for(component)


def start(component: Component) -> None:
    """Start its process; `readiness` tells when it works."""
    for path, text in component.files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    ports.check_free(component)
    processes.start(component.name, component.argv, component.fingerprint)


def _complete() -> None:
    """Make the objects every cluster has, and wait until pods can be made."""
    api.apply("/apis/storage.k8s.io/v1/storageclasses", DEFAULT_STORAGE_CLASS)
    readiness.wait_for_node()
