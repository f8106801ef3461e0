"""`helm test`: a workflow of two steps, the second with the first one's result, on the operator that was just installed.

Runs in the operator's image with the standard library alone. Ends with 1 and says why if the workflow doesn't succeed.
"""

import json
import os
import ssl
import sys
import time
import urllib.request
from typing import Any

ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
GROUP = f"/apis/flowy.dev/v1alpha1/namespaces/{os.environ['TEST_NAMESPACE']}"
WORKFLOWS, DEFINITIONS = f"{GROUP}/workflows", f"{GROUP}/workflowdefinitions"
LIMIT_S = 120

SOURCE = """
def two_steps(double):
    def workflow(n):
        return double(double(n))
    return workflow
"""
DOUBLE = "import os; open(os.environ['FLOWY_RESULT_FILE'], 'w').write(str(2 * int(os.environ['FLOWY_ARG_0'])))"


def call(method: str, path: str, body: Any = None) -> Any:
    """Ask the API server as the test's service account."""
    host = os.environ["KUBERNETES_SERVICE_HOST"]
    address = f"https://{f'[{host}]' if ':' in host else host}:{os.environ['KUBERNETES_SERVICE_PORT']}{path}"
    with open(f"{ACCOUNT}/token") as token:
        headers = {"Authorization": f"Bearer {token.read()}", "Content-Type": "application/json"}
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address, content, headers, method=method)
    trust = ssl.create_default_context(cafile=f"{ACCOUNT}/ca.crt")
    trust.verify_flags &= ~ssl.VERIFY_X509_STRICT  # the default from Python 3.13 on; kubectl is no stricter than this
    with urllib.request.urlopen(request, context=trust, timeout=30) as answer:
        return json.load(answer)


def definition() -> dict[str, Any]:
    """Both steps run in the operator's image: whatever else the nodes can pull, they have that one."""
    activity = {
        "image": os.environ["TEST_IMAGE"],
        "command": ["/opt/flowy/bin/python", "-c", DOUBLE],
        "template": json.loads(os.environ["TEST_TEMPLATE"]),
    }
    return {"code": {"source": SOURCE}, "tasks": [{"name": "double", "activity": activity}]}


def manifest(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "flowy.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def main() -> None:
    # A definition and a run of it: that works with restrict.inlineCode too.
    name = f"helm-test-{os.urandom(4).hex()}"
    call("POST", DEFINITIONS, manifest("WorkflowDefinition", name, definition()))
    call("POST", WORKFLOWS, manifest("Workflow", name, {"definitionRef": {"name": name}, "input": {"args": [21]}}))
    try:
        status = ended(name)
        result = json.loads(status.get("result", "null"))
        if result != 84:
            sys.exit(f"Workflow {name}: expected 84, got {result}. Its status:\n{json.dumps(status, indent=1)}")
    finally:
        call("DELETE", f"{WORKFLOWS}/{name}")
        call("DELETE", f"{DEFINITIONS}/{name}")
    print("two steps, result 84: the operator works")


def ended(name: str) -> dict[str, Any]:
    """The Workflow's status once it has ended, or after two minutes."""
    deadline = time.monotonic() + LIMIT_S
    while True:
        status: dict[str, Any] = call("GET", f"{WORKFLOWS}/{name}").get("status", {})
        outcomes = [c["status"] for c in status.get("conditions", ()) if c["type"] == "Succeeded"]
        if outcomes not in ([], ["Unknown"]) or time.monotonic() > deadline:
            return status
        time.sleep(0.5)


if __name__ == "__main__":
    main()
