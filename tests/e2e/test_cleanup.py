"""What some twenty mixed workflows leave on a real cluster: logs as long as they are kept, and in the end no object of any kind."""

import json
import time
from collections import Counter
from typing import Any

import pytest

from tests.e2e.kube import Kube, condition
from tests.e2e.manifests import shell, workflow
from tests.e2e.operator import OperatorProcess

ONE = "def w(t):\n    def run():\n        return t()\n    return run\n"
CHAIN = "def w(t):\n    def run():\n        return t(t(1))\n    return run\n"
WIDE = "def w(t):\n    def run():\n        return [t(n) for n in range(3)]\n    return run\n"
LONG = "def w(t):\n    def run():\n        return len(t('x' * 300_000))\n    return run\n"
RACE = """
    from flowy import first

    def w(t, slow):
        def run():
            return first([slow(), t()])
        return run
"""
CAREFUL = """
    from flowy import TaskCancelled, wait

    def w(t, undo):
        def run():
            a = t()
            try:
                wait(a)
            except TaskCancelled:
                return undo()
            return a
        return run
"""
AGAIN = """
    from flowy import restart

    def w(t):
        def run(n=0):
            return restart(n + 1) if len(t()) and n < 2 else n
        return run
"""

FAMILY = """
from flowy import first

def parent(sub, t):
    def run():
        return t(sub(1))
    return run

def hasty(sub, t):
    def run():
        return first([sub(1), t()])
    return run

def sub(t, slow):
    def run(n):
        return [t(n), slow(n)]
    return run
"""

GOOD = shell("t", "echo 1 > $FLOWY_RESULT_FILE")
BAD = shell("t", "echo attempt $FLOWY_ATTEMPT broke >&2; exit 3", retry={"when": ["Error"]})
LUCKY = shell("t", "[ $FLOWY_ATTEMPT = 2 ] || exit 1", retry={"when": ["Error"]})
HANGS = shell("t", "sleep 300", timeouts={"startToCloseSeconds": 2}, retry={"maxAttempts": 2})
NOWHERE = shell(
    "t",
    "true",
    timeouts={"scheduleToStartSeconds": 3},
    activity={"template": {"spec": {"nodeSelector": {"example.com/no-such": "node"}}}},
)
LOGS = shell("t", "head -c 6000 /dev/zero | tr '\\0' x | sed 's/.*/\"&\"/'", activity={"result": {"from": "Log"}})
FOREVER = shell("t", "sleep 300")
SLOW, UNDO = shell("slow", "sleep 15"), shell("undo", "true")

SUB = {"name": "sub", "workflow": {"entrypoint": "sub"}}

KEPT = "fails-and-keeps"
SPECS: dict[str, tuple[str, list[dict[str, Any]], dict[str, Any]]] = {
    "chain": (CHAIN, [GOOD], {}),
    "wide": (WIDE, [GOOD], {}),
    "narrow": (WIDE, [GOOD], {"parallelism": 1}),
    KEPT: (ONE, [BAD], {"jobs": {"keepSucceededSeconds": 1}}),
    "fails": (ONE, [BAD], {}),
    "fails-wide": (WIDE, [BAD], {}),
    "lucky": (WIDE, [LUCKY], {}),
    "times-out": (ONE, [HANGS], {}),
    "nowhere": (ONE, [NOWHERE], {}),
    "times-out-whole": (ONE, [FOREVER], {"timeouts": {"workflowSeconds": 4}}),
    "invalid": ("def w(:", [GOOD], {}),
    "raises": ("def w(t):\n    def run():\n        return 1 / 0\n    return run\n", [GOOD], {}),
    "long-result": (ONE, [LOGS], {}),
    "long-argument": (LONG, [LOGS], {}),
    "restarted": (AGAIN, [LOGS], {}),
    "loser": (RACE, [GOOD, SLOW], {}),
    "loser-abandoned": (RACE, [GOOD, SLOW], {"onEnd": "Abandon"}),
    "stopped": (CAREFUL, [FOREVER, UNDO], {}),
    "terminated": (WIDE, [FOREVER], {}),
    "deleted": (WIDE, [FOREVER], {}),
    "family": (FAMILY, [SUB, GOOD, SLOW], {"code": {"entrypoint": "parent", "source": FAMILY}}),
    "family-hasty": (FAMILY, [SUB, GOOD, SLOW], {"code": {"entrypoint": "hasty", "source": FAMILY}}),
    "family-abandons": (
        FAMILY,
        [SUB | {"onParentEnd": "Abandon"}, GOOD, SLOW],
        {"code": {"entrypoint": "hasty", "source": FAMILY}},
    ),
}
ENDS = {
    "chain": "Completed",
    "wide": "Completed",
    "narrow": "Completed",
    KEPT: "Failed",
    "fails": "Failed",
    "fails-wide": "Failed",
    "lucky": "Completed",
    "times-out": "Failed",
    "nowhere": "Failed",
    "times-out-whole": "TimedOut",
    "invalid": "InvalidCode",
    "raises": "Failed",
    "long-result": "Completed",
    "long-argument": "Completed",
    "restarted": "Completed",
    "loser": "Completed",
    "loser-abandoned": "Completed",
    "stopped": "Completed",
    "terminated": "Terminated",
    "family": "Completed",
    "family-hasty": "Completed",
    "family-abandons": "Completed",
}

WORKFLOWS = "workflows.flowy.dev"

OTHERS = {"events", "events.events.k8s.io", "serviceaccounts", "configmaps/kube-root-ca.crt"}
"""What Kubernetes puts into every namespace, and Events, which it forgets by itself."""


def _applied(kube: Kube) -> None:
    quick = {"keepSucceededSeconds": 1, "keepFailedSeconds": 1}
    items = [workflow(name, source, tasks, **({"jobs": quick} | spec)) for name, (source, tasks, spec) in SPECS.items()]
    kube.apply({"apiVersion": "v1", "kind": "List", "items": items})


def _patched(kube: Kube, names: list[str], **spec: Any) -> None:
    kube.run("patch", WORKFLOWS, *names, "--type=merge", "-p", json.dumps({"spec": spec}))


@pytest.fixture(scope="module")
def ended(kube: Kube, operator: OperatorProcess) -> dict[str, str]:
    _applied(kube)
    for name in ("stopped", "terminated", "deleted"):
        pods = ("pod", "-l", f"flowy.dev/workflow={name}", "--timeout=60s")
        kube.run("wait", "--for=create", *pods)  # the next one gives up at once where there is none yet
        kube.run("wait", "--for=jsonpath={.status.phase}=Running", *pods)
    _patched(kube, ["stopped"], stop="Cancel")
    _patched(kube, ["terminated"], stop="Terminate")
    kube.run("delete", WORKFLOWS, "deleted")
    operator.kill()  # in the middle of whatever it is
    operator.start()
    kube.run("wait", "--for=condition=Reconciling=False", WORKFLOWS, "--all", "--timeout=120s")
    return {body["metadata"]["name"]: condition(body, "Succeeded")[1] for body in kube.list(WORKFLOWS)}


def _objects(kube: Kube) -> list[str]:
    """All objects of the namespace, of every kind that there is, as `kind/name`."""
    kinds = kube.run("api-resources", "--namespaced", "--verbs=list", "-o", "name").stdout.split()
    wanted = [kind for kind in kinds if kind not in OTHERS and not kind.endswith("metrics.k8s.io")]
    lines = kube.run("get", ",".join(wanted), "-o", "name").stdout.split()
    return [name for name in lines if name.replace("configmap/", "configmaps/") not in OTHERS]


def _wait_for(kube: Kube, left: set[str], timeout_s: float = 60) -> None:
    """Wait until what is there is of these kinds alone."""
    deadline = time.monotonic() + timeout_s
    while others := [name for name in _objects(kube) if name.partition("/")[0] not in left]:
        assert time.monotonic() < deadline, f"still there: {others}"
        time.sleep(1)


@pytest.mark.timeout(300)
def test_twenty_mixed_workflows_leave_nothing(kube: Kube, ended: dict[str, str]) -> None:
    assert {name: reason for name, reason in ended.items() if name in SPECS} == ENDS
    children = Counter(reason for name, reason in ended.items() if name not in SPECS)
    assert children == {"Completed": 2, "Terminated": 1}
    # What failed can be read as long as it is kept: by default a day.
    for attempt in (1, 2, 3):
        labels = f"flowy.dev/workflow={KEPT},flowy.dev/attempt={attempt}"
        assert kube.run("logs", "-l", labels, "--tail=-1").stdout == f"attempt {attempt} broke\n"
    kept = kube.list("jobs", f"flowy.dev/workflow={KEPT}")
    assert len(kept) == 3
    # Everybody else's Jobs and pods go, and what their arguments were. Histories stay, and the long results in them.
    kube.run("wait", "--for=delete", "job,pod", "-l", f"flowy.dev/workflow,flowy.dev/workflow!={KEPT}", "--timeout=60s")
    assert not kube.list("configmaps", "flowy.dev/workflow=deleted")
    names = [body["metadata"]["name"] for body in kube.list("configmaps", "flowy.dev/workflow=long-argument")]
    assert len(names) == 1, "the result alone"
    # Then they go themselves, with all that they own.
    roots = [body["metadata"] for body in kube.list(WORKFLOWS) if "ownerReferences" not in body["metadata"]]
    assert len(roots) == len(ENDS) + 1, "the abandoned child is nobody's"
    _patched(kube, [metadata["name"] for metadata in roots], ttlSecondsAfterFinished=1)
    kube.run("wait", "--for=delete", WORKFLOWS, "--all", "--timeout=60s")
    _wait_for(kube, set())
