"""`make demo`: Flowy installed by its chart on the cluster at hand, and the video example run by it.

Before your eyes: its progress, its result, its history and the time it took. Operator and workflow stay, so that you can look
around and go on; the next demo begins with fresh ones.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.cluster import build, cluster, flowy_images
from tests.cluster.kubectl import kubectl_path

ROOT = Path(__file__).resolve().parents[1]
NAMESPACE = "flowy-demo"
OPERATOR = "flowy-demo-system"
"""Not `flowy-system`: on a cluster of yours that may be an installation which is in use."""
GATEWAY = "10.96.0.80"
"""The Service's address: there is no DNS in the embedded cluster."""
WORKFLOW = "tour"
LIMIT_S = 300

Body = Mapping[str, Any]


def main() -> None:
    kubeconfig = cluster.up()
    environment = os.environ | {"KUBECONFIG": str(kubeconfig)}
    kubectl = Program([str(kubectl_path()), f"--namespace={NAMESPACE}"], environment)
    helm = Program([str(build.helm())], environment)
    say("a fresh namespace for the workflow, and one for the operator")
    helm("uninstall", "flowy", f"--namespace={OPERATOR}", "--ignore-not-found", "--wait", "--timeout=60s")
    kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=60s")
    kubectl("create", "namespace", NAMESPACE)
    say(f"helm install flowy charts/flowy --namespace {OPERATOR} --set 'namespaces={{{NAMESPACE}}}'")
    install(helm)
    kubectl(f"--namespace={OPERATOR}", "wait", "--for=create", "pod", "-l", "flowy.dev/leader=true", "--timeout=60s")
    video = ROOT / "examples" / "video"
    say("kubectl apply -f examples/video/storage.yaml -f examples/video/shelf.yaml")
    kubectl("apply", "-f", str(video / "storage.yaml"), "-f", str(video / "shelf.yaml"))
    kubectl("wait", "--for=condition=Ready", "--timeout=60s", "pod/shelf")
    say("kubectl apply -f examples/video/workflow.yaml")
    kubectl("apply", "-f", str(video / "workflow.yaml"))
    body = follow(kubectl)
    show(body)
    print(look_around(kubeconfig))
    if condition(body)["status"] != "True":
        sys.exit(1)


class Program:
    """A command-line program on the demo's cluster. A failure ends the demo with the program's own words."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._command = command
        self._environment = environment

    def __call__(self, *words: str) -> str:
        done = subprocess.run(  # noqa: S603  our own words
            [*self._command, *words], capture_output=True, text=True, check=False, env=self._environment
        )
        if done.returncode:
            sys.exit(f"{Path(self._command[0]).name} {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout


def install(helm: Program) -> None:
    """The chart, as docs/installing.md says, for the demo's namespace alone."""
    repository, _, tag = flowy_images.OPERATOR.rpartition(":")
    values = [f"namespaces={{{NAMESPACE}}}", f"image.repository={repository}", f"image.tag={tag}"]
    # The CRDs of the embedded cluster may have come by kubectl, for tests. Those of your cluster stay whose they are.
    ownership = []
    if cluster.external_kubeconfig() is None:
        values += [f"gateway.clusterIP={GATEWAY}", f"gateway.url=http://{GATEWAY}:8082"]
        ownership = ["--take-ownership", "--force-conflicts"]
    helm(
        *("install", "flowy", str(ROOT / "charts" / "flowy"), f"--namespace={OPERATOR}", "--create-namespace"),
        *(f"--set={value}" for value in values),
        *ownership,
        *("--wait", "--timeout=2m"),
    )


def look_around(kubeconfig: Path) -> str:
    """What to type next."""
    folders = [str(path.parent) for path in (kubectl_path(), build.helm(), Path(sys.executable))]
    return f"""
All of it is still there. To look around:
  export KUBECONFIG={kubeconfig} PATH="{":".join(folders)}:$PATH"
  kubectl -n {NAMESPACE} get workflows.flowy.dev,jobs,pods
  flowy timeline {WORKFLOW} -n {NAMESPACE}
  kubectl -n {OPERATOR} get pods -L flowy.dev/leader
  kubectl -n {OPERATOR} logs -l flowy.dev/leader=true -c operator
And to go on, with whatever you like:
  kubectl -n {NAMESPACE} apply -f examples/hello/workflow.yaml
To be rid of it: make cluster-stop. On a cluster of yours:
  helm uninstall flowy -n {OPERATOR}; kubectl delete namespace {NAMESPACE} {OPERATOR}"""


def follow(kubectl: Program) -> Body:
    """Tell each event of the history as it appears, until the workflow has ended."""
    print(f"\n{'':9}{'':3}{'task':20} what happened", flush=True)
    shown, deadline = 0, time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        body: Body = json.loads(kubectl("get", "workflows.flowy.dev", WORKFLOW, "-o", "json"))
        status = body.get("status", {})
        history = status.get("history", [])
        for event in [event for event in history if event["id"] > shown]:
            print(f"{since(status, event['time']):8.1f} s {line(event)}", flush=True)
        shown = history[-1]["id"] if history else shown
        if condition(body)["status"] != "Unknown":
            return body
        time.sleep(0.3)
    sys.exit(
        f"the workflow has not ended after {LIMIT_S} s: kubectl -n {NAMESPACE} describe workflows.flowy.dev {WORKFLOW}"
    )


def line(event: Body) -> str:
    """One event, for a person."""
    signs = {"TaskScheduled": "▸", "TaskCompleted": "✔"}
    words = {"TaskScheduled": "scheduled", "TaskCompleted": f"→ {event.get('result', 'null')}"}
    kind = event["type"]
    text = (
        words.get(kind)
        or f"{kind} {event.get('error', {}).get('message', event.get('reason', event.get('timer', '')))}"
    )
    return f"{signs.get(kind, '✘')} {event.get('task', ''):20} {text[:100]}"


def show(body: Body) -> None:
    """The result, the history as a table of steps, and the wall time beside the sum of the steps' times."""
    status = body["status"]
    print("\nResult" if "result" in status else f"\nFailed: {condition(body)['message']}")
    if "result" in status:
        print(*(f"  {key}: {json.dumps(value)}" for key, value in json.loads(status["result"]).items()), sep="\n")
    scheduled = {e["task"]: e for e in status["history"] if e["type"] == "TaskScheduled" and e.get("attempt", 1) == 1}
    finished = [e for e in status["history"] if e["type"] == "TaskCompleted"]
    print(f"\n{'task':20} {'line':>4} {'attempt':>7} {'scheduled':>10} {'started':>8} {'finished':>9} {'ran':>7}")
    total = 0.0
    for event in finished:
        first = scheduled[event["task"]]
        began, ended = since(status, event["startedAt"]), since(status, event["time"])
        # Kubernetes tells starts in whole seconds only.
        began = max(began, since(status, first["time"]))
        total += ended - began
        print(
            f"{event['task']:20} {first.get('line', ''):>4} {event.get('attempt', 1):>7} "
            f"{since(status, first['time']):8.1f} s {began:6.1f} s {ended:7.1f} s {ended - began:5.1f} s"
        )
    wall = since(status, status["completionTime"])
    print(
        f"\nSteps one after the other: {total:.1f} s. This run: {wall:.1f} s, with the concurrency nobody wrote down."
    )


def condition(body: Body) -> Body:
    for found in body.get("status", {}).get("conditions", ()):
        if found["type"] == "Succeeded":
            return dict(found)
    return {"status": "Unknown", "message": ""}


def since(status: Body, at: str) -> float:
    """Seconds from the workflow's start."""
    return (instant(at) - instant(status["startTime"])).total_seconds()


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def say(text: str) -> None:
    print(f"demo: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
