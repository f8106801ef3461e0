"""A fixed address for a Service in the embedded cluster, which has no DNS: for one test run at a time.

A run that is killed leaves its release there, and its Service keeps the address from every run that comes after.
Whoever holds the address has a lock, which ends with the process however that ends: who gets the lock knows that what
has the address belongs to nobody.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.chart.helm import Object, Release
from tests.cluster import paths
from tests.cluster.errors import ClusterError, say
from tests.e2e.kube import Kube

_RELEASE, _NAMESPACE = "meta.helm.sh/release-name", "meta.helm.sh/release-namespace"


@contextmanager
def held(kubeconfig: Path, address: str) -> Iterator[None]:
    """Hold the address as long as the block runs; at its start, what a killed run has left there is removed.

    ClusterError if another run holds it, whose release stays as it is.
    """
    paths.CLUSTER.mkdir(parents=True, exist_ok=True)
    with (paths.CLUSTER / f"service-{address}.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            raise ClusterError(
                f"another test run, process {lock.read() or '?'}, has the Service at {address}; wait until it has ended"
            ) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        for service in holders(kubeconfig, address):
            _remove(kubeconfig, service, address)
        yield


def holders(kubeconfig: Path, address: str) -> list[Object]:
    """The Services, of any namespace, that have this address: one or none."""
    found = json.loads(Kube(kubeconfig, "default").run("get", "services", "--all-namespaces", "-o", "json").stdout)
    return [service for service in found["items"] if service["spec"].get("clusterIP") == address]


def _remove(kubeconfig: Path, service: Object, address: str) -> None:
    metadata = service["metadata"]
    name, namespace = metadata["name"], metadata["namespace"]
    notes = metadata.get("annotations", {})
    if _RELEASE in notes and _NAMESPACE in notes:
        say(f"removing the release {notes[_RELEASE]} in {notes[_NAMESPACE]}: a killed test run left it at {address}")
        Release(kubeconfig, notes[_NAMESPACE], notes[_RELEASE]).run("uninstall", "--ignore-not-found")
    else:
        say(f"removing the Service {name} in {namespace}: it was left at {address}")
    # The release took it along, unless helm no longer knows of that.
    Kube(kubeconfig, namespace).run("delete", "service", name, "--ignore-not-found")
