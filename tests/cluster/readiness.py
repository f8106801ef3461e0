"""Whether a component works, and waiting until it does."""

import http.client
import json
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import suppress

from tests.cluster import api, certificates, paths, processes
from tests.cluster.component import Component
from tests.cluster.errors import ClusterError
from tests.cluster.place import FIRST, Place

PATIENCE_S = 90.0  # a start takes 2 s; a machine whose cores are all busy has been seen to need 30
PAUSE_S = 0.05
SHOWN_LINES = 15


def is_ready(component: Component) -> bool:
    try:
        if not component.ready.startswith("http"):
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(component.ready)
            return True
        opener = urllib.request.build_opener(  # without the user's proxies, which cannot reach our addresses
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=api.admin_context())
        )
        with opener.open(component.ready, timeout=5) as answer:
            return bool(answer.status == http.client.OK)
    except (OSError, http.client.HTTPException, urllib.error.URLError):
        return False


def wait_for(component: Component) -> None:
    """Wait until it works; if it ends instead, the error shows its last words."""

    def check() -> bool:
        if processes.find(component.name) is None:
            raise ClusterError(f"{component.name} ended while starting. Its last words:\n{last_words(component.name)}")
        return is_ready(component)

    wait_until(check, f"{component.name} to answer at {component.ready}", component.name)


def wait_for_rules() -> None:
    """Wait until the API server has read its RBAC rules: until the controller manager may do what it needs for its start."""
    asked = {"verb": "get", "resource": "serviceaccounts", "namespace": "kube-system"}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": certificates.CONTROLLER_MANAGER.user, "resourceAttributes": asked},
    }

    def check() -> bool:
        try:
            answer = json.loads(api.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review))
        except (OSError, api.ApiError):
            return False
        return bool(answer["status"]["allowed"])

    wait_until(check, "the API server to have read its rules", "kube-apiserver")


def wait_for_node(place: Place = FIRST) -> None:
    """Wait until pods can be made: the node is ready, and `default` has its service account."""

    def check() -> bool:
        with suppress(OSError, api.ApiError, http.client.HTTPException):
            node = api.get(f"/api/v1/nodes/{place.name}")
            api.get("/api/v1/namespaces/default/serviceaccounts/default")
            return any(c["type"] == "Ready" and c["status"] == "True" for c in node["status"].get("conditions", []))
        return False

    wait_until(check, f"node {place.name} to be ready", place.component("kubelet"))


def wait_until(check: Callable[[], bool], what: str, log: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not check():
        if time.monotonic() > deadline:
            raise ClusterError(f"waited {PATIENCE_S:.0f} s for {what}. Last words of {log}:\n{last_words(log)}")
        time.sleep(PAUSE_S)


def last_words(name: str) -> str:
    log = paths.LOGS / f"{name}.log"
    lines: Sequence[str] = log.read_text(errors="replace").splitlines() if log.exists() else []
    return "\n".join(f"  {line[:400]}" for line in lines[-SHOWN_LINES:]) + f"\n  (all of it: {log})"
