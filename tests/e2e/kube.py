"""kubectl for tests, as a user has it."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flowy_operator.core.history import event_json
from flowy_operator.core.pages import join
from tests.cluster.kubectl import kubectl_path

Manifest = Mapping[str, Any]

CRDS = Path(__file__).parents[2] / "crds"


@dataclass(frozen=True, slots=True)
class Kube:
    """One namespace of a cluster."""

    kubeconfig: Path
    namespace: str

    def run(self, *words: str, stdin: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
        """kubectl with these words. AssertionError with its own words if it fails."""
        done = subprocess.run(
            [str(kubectl_path()), "--namespace", self.namespace, *words],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"KUBECONFIG": str(self.kubeconfig)},
        )
        assert not check or done.returncode == 0, f"kubectl {' '.join(words)}: {done.stderr.strip()}"
        return done

    def apply(self, manifest: Manifest) -> None:
        self.run("apply", "-f", "-", stdin=json.dumps(manifest))

    def refusal(self, manifest: Manifest) -> str:
        """What the API server says of a manifest that it must refuse."""
        done = self.run("create", "-f", "-", stdin=json.dumps(manifest), check=False)
        assert done.returncode != 0, "the API server took it"
        return done.stderr

    def get(self, kind: str, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run("get", kind, name, "-o", "json").stdout)
        return found

    def list(self, kind: str, selector: str = "") -> list[dict[str, Any]]:
        words = ["get", kind, "-o", "json", *(["-l", selector] if selector else [])]
        items: list[dict[str, Any]] = json.loads(self.run(*words).stdout)["items"]
        return items

    def wait_end(self, name: str, timeout_s: float = 90) -> dict[str, Any]:
        """The Workflow once it has ended."""
        return self.wait_until("workflow", name, lambda body: condition(body, "Succeeded")[0] != "Unknown", timeout_s)

    def wait_until(
        self, kind: str, name: str, holds: Callable[[dict[str, Any]], bool], timeout_s: float = 60
    ) -> dict[str, Any]:
        """The object once `holds` is true of it. AssertionError with its status after the timeout."""
        deadline = time.monotonic() + timeout_s
        while True:
            body = self.get(kind, name)
            if holds(body):
                return body
            if time.monotonic() > deadline:
                raise AssertionError(f"{kind} {name} after {timeout_s} s: {json.dumps(body.get('status'), indent=1)}")
            time.sleep(0.2)


def install_crds(kubeconfig: Path) -> None:
    """Have the cluster know our kinds as they are in this checkout."""
    kube = Kube(kubeconfig, "default")
    kube.run("apply", "--server-side", "--force-conflicts", "-f", str(CRDS))
    kube.run("wait", "--for=condition=Established", "-f", str(CRDS))


def condition(body: Manifest, kind: str) -> tuple[str, str, str]:
    """Status, reason and message of a condition; `Unknown` if it isn't there."""
    for found in (body.get("status") or {}).get("conditions", ()):
        if found["type"] == kind:
            return found["status"], found["reason"], found["message"]
    return "Unknown", "", ""


def events(body: Manifest, kind: str) -> list[dict[str, Any]]:
    """The events of one type in the history."""
    return [event for event in (body.get("status") or {}).get("history", ()) if event["type"] == kind]


def whole_history(kube: Kube, body: Manifest) -> list[dict[str, Any]]:
    """All events of a Workflow that there are, those in pages too."""
    pages = kube.list("historypages", f"flowy.dev/workflow-uid={body['metadata']['uid']}")
    return [event_json(event) for event in join(pages, body.get("status") or {})]


def result(body: Manifest) -> Any:
    """The workflow's result. AssertionError with the whole status if it has none."""
    status, reason, message = condition(body, "Succeeded")
    assert status == "True", f"{reason}: {message}\n{json.dumps(body['status'], indent=1)}"
    return json.loads(body["status"]["result"])
