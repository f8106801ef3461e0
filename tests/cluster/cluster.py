"""The cluster as a whole: bring it up, take it down, and hurt its parts. This is the API that test fixtures use.

One cluster a machine, shared by all clones of the repository; a lock keeps two callers from starting or stopping it at once. With
KUBECONFIG set by the user, that cluster is used and nothing here is started, stopped or changed.
"""

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import (
    build,
    certificates,
    images,
    network,
    packages,
    paths,
    ports,
    processes,
    readiness,
    remains,
    starting,
)
from tests.cluster.commands import run
from tests.cluster.component import Component, Limits
from tests.cluster.components import NAMES, all_components, check_known
from tests.cluster.errors import ClusterError, say
from tests.cluster.kubectl import kubectl_path
from tests.cluster.place import FIRST

__all__ = [
    "ComponentStatus",
    "build_image",
    "down",
    "external_kubeconfig",
    "import_image",
    "kill",
    "kubectl_path",
    "list_images",
    "log_path",
    "restart",
    "start",
    "status",
    "up",
]


@dataclass(frozen=True, slots=True)
class ComponentStatus:
    """`pid` is None for a component that does not run."""

    name: str
    pid: int | None
    ready: bool
    memory_mib: int


def up() -> Path:
    """Make the cluster run, whatever state it is in, and return the path of an admin's kubeconfig.

    Nothing runs: a start with an empty etcd. Some of it runs: the rest is started and what changed is restarted, with all objects
    kept. All of it runs as the sources say: nothing is done.
    """
    external = external_kubeconfig()
    if external is not None:
        run([kubectl_path(), "get", "--raw", "/readyz"], doing=f"asking the cluster that KUBECONFIG={external} names")
        say("KUBECONFIG is set: using that cluster, starting nothing")
        return Path(external)
    _check_root()
    _check_no_other()
    with _lock():
        # Not first: the binary's hash costs a millisecond where it is there, minutes where it is not.
        components = all_components(build.kubernetes(), Limits.chosen())
        running = {name: processes.find(name) for name in components}
        stale = [n for n, c in components.items() if (p := running[n]) is None or p.fingerprint != c.fingerprint]
        if not stale and readiness.is_ready(components["kube-apiserver"]):
            say("the cluster is up already")
            return paths.KUBECONFIG
        packages.ensure(packages.NEEDED)
        certificates.ensure()
        if any(running.values()):
            starting.some(components, stale)
        else:
            starting.fresh(components)
        say("the cluster is up")
        return paths.KUBECONFIG


def down() -> None:
    """End everything and take away what it left; images and certificates stay for the next start. May be repeated."""
    if external_kubeconfig() is not None:
        say("KUBECONFIG is set: that cluster is not ours to stop")
        return
    _check_root()
    _check_no_other()
    with _lock():
        say("stopping the cluster")
        # Killed, not asked: etcd's data goes with them, and the API server alone would take seconds over its open watches. From
        # the kubelet on, because it would start again what is ended below.
        for name in reversed(NAMES):
            if name != "containerd":
                processes.stop(name, grace_s=0)
        remains.end_added_nodes()
        remains.end_containers([FIRST])
        if processes.find("containerd") is not None:
            starting.forget_containers()
            processes.stop("containerd", grace_s=5.0)
        remains.clear()
        left = remains.listing()
        if left:
            raise ClusterError("the cluster is stopped, but this is left of it:\n  " + "\n  ".join(left))
        say("the cluster is stopped")


def status() -> list[ComponentStatus]:
    _check_root()
    # The binary's path plays no part here, and finding it might mean building it.
    return [_status(component) for component in all_components(Path("kubernetes"), Limits.chosen()).values()]


def kill(name: str) -> None:
    """End a component as a crash would (SIGKILL). Pods go on, data stays; `start` brings it back."""
    _check_ours()
    check_known(name)
    with _lock():
        if not processes.stop(name, grace_s=0):
            raise ClusterError(f"{name} does not run")


def start(name: str) -> None:
    """Start a component that was killed, and wait until it works."""
    _check_ours()
    check_known(name)
    with _lock():
        if processes.find(name) is not None:
            raise ClusterError(f"{name} runs already")
        starting.again(all_components(build.kubernetes(), Limits.chosen()), name)


def restart(name: str) -> None:
    """End a component in good order (SIGTERM), start it, and wait until it works."""
    _check_ours()
    check_known(name)
    with _lock():
        components = all_components(build.kubernetes(), Limits.chosen())
        processes.stop(name, grace_s=components[name].grace_s)
        starting.again(components, name)


def build_image(
    folder: Path, tag: str, *, dockerfile: Path | None = None, build_args: Mapping[str, str] | None = None
) -> str:
    """Build a Dockerfile into the cluster's node and return the image's full name; nothing is done if nothing changed."""
    _check_ours("images must be pushed by hand to a registry that it can reach")
    return images.build(folder, tag, dockerfile=dockerfile, build_args=build_args)


def import_image(archive: Path) -> list[str]:
    """Put the images of an archive (Docker's or OCI's format) on the cluster's node and return their names."""
    _check_ours("images must be pushed by hand to a registry that it can reach")
    return images.load(archive)


def list_images() -> list[str]:
    _check_ours("its nodes' images are not visible from here")
    return images.listing()


def log_path(name: str) -> Path:
    """Return where a component's output is."""
    check_known(name)
    return paths.LOGS / f"{name}.log"


def external_kubeconfig() -> str | None:
    """Return the user's KUBECONFIG, if it is one and not ours."""
    named = os.environ.get("KUBECONFIG", "")
    return named if named and Path(named).absolute() != paths.KUBECONFIG else None


def _check_ours(instead: str = "its parts can only be started and stopped by who runs it") -> None:
    """Raise unless it is the embedded cluster that is meant, and the caller may touch it."""
    external = external_kubeconfig()
    if external is not None:
        raise ClusterError(f"KUBECONFIG={external} names a cluster that is not the embedded one: {instead}")
    _check_root()


def _check_root() -> None:
    if os.geteuid() != 0:
        raise ClusterError(
            "starting and stopping containers needs root: run it again as root (sudo --preserve-env=HOME,FLOWY_CACHE), "
            "or set KUBECONFIG to use a cluster you have"
        )


def _check_no_other() -> None:
    """Raise if the cluster on this machine belongs to another cache folder and lives: cleaning up would be its end."""
    owner = paths.OWNER.read_text() if paths.OWNER.exists() else str(paths.CACHE)
    if owner != str(paths.CACHE) and ports.is_taken("127.0.0.1", network.ETCD_PORT):
        raise ClusterError(
            f"the cluster on this machine was started with the cache folder {owner}, and there can be one only. "
            f"Use it (FLOWY_CACHE={owner}), or stop it: FLOWY_CACHE={owner} python3 -m tests.cluster down"
        )


def _status(component: Component) -> ComponentStatus:
    process = processes.find(component.name)
    if process is None:
        return ComponentStatus(component.name, None, ready=False, memory_mib=0)
    resident_pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
    memory_mib = resident_pages * os.sysconf("SC_PAGE_SIZE") // 2**20
    return ComponentStatus(component.name, process.pid, readiness.is_ready(component), memory_mib)


@contextmanager
def _lock() -> Iterator[None]:
    paths.CLUSTER.mkdir(parents=True, exist_ok=True)
    with paths.LOCK.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            say(f"waiting: process {file.read().strip() or '?'} starts or stops the cluster just now")
            fcntl.flock(file, fcntl.LOCK_EX)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
