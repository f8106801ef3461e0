"""`make demo`: the video example on the cluster at hand, with its progress, result, history and the time it took.

It starts an operator outside the cluster, for one namespace of its own, and stops it at the end. The namespace stays, so
that you can look around; the next demo begins with a fresh one.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.cluster import cluster
from tests.cluster.kubectl import kubectl_path

ROOT = Path(__file__).resolve().parents[1]
NAMESPACE = "flowy-demo"
WORKFLOW = "tour"
LIMIT_S = 300

Body = Mapping[str, Any]


def main() -> None:
    kubeconfig = cluster.up()
    kubectl = Kubectl(kubeconfig)
    say("the CRD, and a fresh namespace")
    kubectl("apply", "--server-side", "--force-conflicts", "-f", str(ROOT / "crds"))
    kubectl("wait", "--for=condition=Established", "crd/workflows.flowy.dev")
    kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=60s")
    kubectl("create", "namespace", NAMESPACE)
    with operator(kubeconfig):
        video = ROOT / "examples" / "video"
        say("kubectl apply -f examples/video/storage.yaml -f examples/video/shelf.yaml")
        kubectl("apply", "-f", str(video / "storage.yaml"), "-f", str(video / "shelf.yaml"))
        kubectl("wait", "--for=condition=Ready", "--timeout=60s", "pod/shelf")
        say("kubectl apply -f examples/video/workflow.yaml")
        kubectl("apply", "-f", str(video / "workflow.yaml"))
        body = follow(kubectl)
    show(body)
    print(f"\nLook around: export KUBECONFIG={kubeconfig}; kubectl -n {NAMESPACE} get workflows.flowy.dev,jobs,pods")
    if condition(body)["status"] != "True":
        sys.exit(1)


class Kubectl:
    """kubectl in the demo's namespace. A failure ends the demo with kubectl's own words."""

    def __init__(self, kubeconfig: Path) -> None:
        self._command = [str(kubectl_path()), "--namespace", NAMESPACE]
        self._environment = os.environ | {"KUBECONFIG": str(kubeconfig)}

    def __call__(self, *words: str) -> str:
        done = subprocess.run(  # noqa: S603  our own words
            [*self._command, *words], capture_output=True, text=True, check=False, env=self._environment
        )
        if done.returncode:
            sys.exit(f"kubectl {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout


@contextmanager
def operator(kubeconfig: Path) -> Iterator[None]:
    """An operator for the demo's namespace, its log beside the temporary files."""
    log = Path(os.environ.get("TMPDIR", "/tmp")) / "flowy-demo-operator.log"  # noqa: S108  a log, for whoever looks
    say(f"the operator, outside the cluster; its log is {log}")
    command = [str(Path(sys.executable).with_name("flowy-operator")), "run", f"--kubeconfig={kubeconfig}"]
    command += [f"--namespace={NAMESPACE}", "--log-format=text", "--gateway-port=0", "--health-port=0"]
    with log.open("w") as output:
        process = subprocess.Popen(command, stderr=output)  # noqa: S603  our own words
    try:
        yield
        if process.poll() is not None:
            sys.exit(f"the operator has ended: see {log}")
    finally:
        process.terminate()
        process.wait(15)


def follow(kubectl: Kubectl) -> Body:
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
        print(json.dumps(json.loads(status["result"]), indent=2))
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
