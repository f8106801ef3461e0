"""The command line against a real Kubernetes, as a user types it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.kubectl import kubectl_path
from tests.e2e.kube import Kube, condition
from tests.e2e.manifests import shell, workflow

PROGRAMS = Path(sys.executable).parent

double = shell("double", 'echo "doubling $1"; echo $(($1 * 2)) > $FLOWY_RESULT_FILE', "$(FLOWY_ARG_0)")
slow = shell("slow", "for i in 1 2 3; do echo line $i; sleep 1; done; echo null > $FLOWY_RESULT_FILE")
forever = shell("forever", "trap exit TERM; while :; do sleep 1; done")

CHAIN = """
def chain(double):
    def workflow(n, times):
        for _ in range(times):
            n = double(n)
        return n
    return workflow
"""


def typed(kube: Kube, *words: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """`flowy` with these words."""
    return subprocess.run(
        [str(PROGRAMS / "flowy"), *words],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
        env=_environment(kube),
    )


def _environment(kube: Kube) -> dict[str, str]:
    path = f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"KUBECONFIG": str(kube.kubeconfig), "PATH": path}


def flowy(kube: Kube, *words: str, stdin: str | None = None) -> str:
    """The standard output of a command in the test's namespace that must succeed."""
    done = typed(kube, *words, "-n", kube.namespace, stdin=stdin)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def chain(served: Kube) -> str:
    """A Workflow that has ended: four doublings of 3."""
    made = workflow("chain-v1", CHAIN, [double])
    del made["spec"]["input"]
    served.apply(made | {"kind": "WorkflowDefinition"})
    done = typed(served, "start", "chain-v1", "3", "4", "--name", "chain", "--wait", "-n", served.namespace)
    assert (done.returncode, done.stdout) == (0, "48\n"), done.stderr
    assert done.stderr.startswith("chain\n")
    assert done.stderr.endswith("chain: Completed: the code returned (4/4)\n")
    return "chain"


def test_start_and_wait_have_given_the_result(served: Kube, chain: str) -> None:
    assert flowy(served, "wait", chain) == "48\n"
    body = served.get("workflow", chain)
    assert json.loads(body["spec"]["input"]["json"]) == {"args": [3, 4], "kwargs": {}}


def test_what_there_is(served: Kube, chain: str) -> None:
    assert flowy(served, "list", "--definition", "chain-v1").splitlines()[1].split()[:5] == [
        chain,
        "Completed",
        "4/4",
        "0",
        "chain-v1",
    ]
    told = flowy(served, "describe", chain)
    assert "Result:      48" in told
    assert "double-3   5      completed" in told
    assert flowy(served, "definitions").splitlines()[1].split()[:3] == ["chain-v1", "1", "0"]
    events = json.loads(flowy(served, "history", chain, "-o", "json"))
    assert [event["type"] for event in events] == ["TaskScheduled", "TaskCompleted"] * 4


def test_logs_of_tasks(served: Kube, chain: str) -> None:
    assert flowy(served, "logs", chain, "double-1") == "doubling 6\n"
    lines = [f"double-{n} | doubling {3 * 2**n}\n" for n in range(4)]
    assert flowy(served, "logs", chain, "double") == "".join(lines)


def test_logs_as_they_come(served: Kube) -> None:
    served.apply(workflow("slow", "def w(slow):\n    return lambda: slow()\n", [slow]))
    assert flowy(served, "logs", "slow", "--follow") == "".join(f"slow-0 | line {n}\n" for n in (1, 2, 3))


def test_a_real_history_is_replayed(served: Kube, chain: str, tmp_path: Path) -> None:
    told = flowy(served, "replay", chain)
    assert told.count("\ndecision ") == 4
    assert told.splitlines()[-2:] == ["  double-3 completed: 48", "  the code returned 48"]
    saved = tmp_path / "chain.yaml"
    saved.write_text(flowy(served, "export", chain))
    assert typed(served, "replay", str(saved)).stdout == told
    new = tmp_path / "new.py"
    new.write_text(CHAIN.replace("double(n)", "double(n + 0.5)"))
    diverged = typed(served, "replay", str(saved), "--code", str(new))
    assert diverged.returncode == 1
    assert "    expected   double-0(3), line 5\n    got        double-0(3.5)\n" in diverged.stdout


def test_what_kubectl_prints_is_replayed(served: Kube) -> None:
    served.apply(workflow("piped", CHAIN, [double], 1, 2))
    served.wait_end("piped")
    printed = served.run("get", "workflows.flowy.dev", "piped", "-o", "yaml").stdout
    done = typed(served, "replay", "-", stdin=printed)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "  the code returned 4")


def test_a_run_is_stopped(served: Kube) -> None:
    served.apply(workflow("stopped", "def w(forever):\n    return lambda: forever()\n", [forever]))
    served.wait_until("workflow", "stopped", lambda body: bool((body.get("status") or {}).get("waitingOn")))
    assert (
        "stopped hasn't ended after 1 s"
        in typed(served, "wait", "stopped", "--timeout", "1", "-n", served.namespace).stderr
    )
    flowy(served, "cancel", "stopped")
    done = typed(served, "wait", "stopped", "-n", served.namespace)
    assert (done.returncode, done.stdout) == (1, "")
    assert "flowy: stopped: Cancelled" in done.stderr
    assert condition(served.get("workflow", "stopped"), "Succeeded")[1] == "Cancelled"
    assert flowy(served, "retry", "stopped") == "stopped-2\n"
    flowy(served, "terminate", "stopped-2")
    assert "stopped-2: Terminated" in typed(served, "wait", "stopped-2", "-n", served.namespace).stderr


def test_kubectl_finds_it(served: Kube, chain: str) -> None:
    words = ["flowy", "get", chain, "-n", served.namespace]
    done = subprocess.run(
        [str(kubectl_path()), *words], capture_output=True, text=True, check=False, env=_environment(served)
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1].split()[:2] == [chain, "Completed"]
    offered = subprocess.run(
        [str(PROGRAMS / "kubectl_complete-flowy"), "describe", "-n", served.namespace, "cha"],
        capture_output=True,
        text=True,
        check=True,
        env=_environment(served),
    )
    assert offered.stdout == "chain\n:4\n"


REFUSALS: dict[str, tuple[list[str], int, str]] = {
    "no such Workflow": (["describe", "nothing"], 3, "there is no Workflow 'nothing' in the namespace"),
    "no such definition": (["start", "nothing-v1"], 3, "there is no WorkflowDefinition 'nothing-v1'"),
    "a name that is none": (["start", "chain-v1", "1", "1", "--name", "No_Name"], 4, "the API server refuses it"),
    "a selector that is none": (["list", "-l", "a=b=c"], 4, "the API server refuses it"),
}


@pytest.mark.parametrize(("words", "code", "said"), REFUSALS.values(), ids=REFUSALS)
def test_refusals_of_the_real_one(words: list[str], code: int, said: str, served: Kube, chain: Any) -> None:
    done = typed(served, *words, "-n", served.namespace)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
