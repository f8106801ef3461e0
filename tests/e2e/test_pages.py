"""Long histories on a real API server: real pages, read by a new operator, missed when they are gone, bounded by restarts."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.kube import Kube, condition, result, whole_history
from tests.e2e.manifests import workflow
from tests.e2e.operator import OperatorProcess

# No container: such a task ends at once, refused by the API server. Its events are those of any other.
ABSENT = {
    "name": "absent",
    "activity": {"image": "none.invalid/absent", "template": {"spec": {"priority": 1, "hostPID": 7}}},
}

# Its pods never start, so that nothing but the operator works.
WAITS = {"name": "waits", "activity": {"image": "none.invalid/waits", "template": {"spec": {"nodeName": "nowhere"}}}}

CHAIN = """
from flowy import TaskError, wait

def chain(absent, waits):
    def run(n):
        for i in range(n):
            try:
                wait(absent(i))
            except TaskError:
                pass
        return str(waits())
    return run
"""

LOOP = """
from flowy import TaskError, restart, wait

def loop(absent, waits):
    def run(left):
        try:
            wait(absent(left))
        except TaskError:
            pass
        return restart(left - 1) if left else "over"
    return run
"""


@pytest.fixture(scope="module")
def short(kube: Kube, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatorProcess]:
    """An operator that keeps little in the status."""
    log = tmp_path_factory.mktemp("operator") / "log"
    process = OperatorProcess(kube.kubeconfig, kube.namespace, log, options=["--history-tail-bytes=2000"])
    process.start()
    yield process
    assert process.stop() == 0
    assert [line for line in process.lines(level="ERROR") if not str(line.get("logger")).startswith("kopf")] == []


def pages_of(kube: Kube, name: str) -> list[dict[str, Any]]:
    found = kube.list("historypages", f"flowy.dev/workflow={name}")
    return sorted(found, key=lambda page: int(page["spec"]["first"]))


def waits(body: dict[str, Any]) -> bool:
    return any(wait["task"] == "waits-0" for wait in body.get("status", {}).get("waitingOn", ()))


def is_at(run: int) -> Callable[[dict[str, Any]], bool]:
    return lambda body: int(body.get("status", {}).get("run", 1)) >= run


@pytest.mark.timeout(180)
def test_a_long_history_is_sealed_read_again_and_missed(kube: Kube, short: OperatorProcess, tmp_path: Path) -> None:
    kube.apply(workflow("long", CHAIN, [ABSENT, WAITS], 30))
    body = kube.wait_until("workflow", "long", waits)
    pages = pages_of(kube, "long")
    assert len(pages) >= 3
    assert len(json.dumps(body["status"]["history"])) < 4000
    assert [event["id"] for event in whole_history(kube, body)] == list(range(1, 62))

    # A new operator reads the pages and goes on; a page can't be changed.
    name = pages[1]["metadata"]["name"]
    edit = json.dumps([{"op": "replace", "path": "/spec/last", "value": 7}])
    refused = kube.run("patch", "historypage", name, "--type=json", "-p", edit, check=False)
    assert "a page can't be changed" in refused.stderr
    short.kill()
    kube.run("patch", "workflow", "long", "--type=merge", "-p", '{"spec": {"parallelism": 7}}')
    short.start()
    kube.wait_until("workflow", "long", lambda found: found["status"]["observedGeneration"] == 2)

    # One that is missing is named, and found again.
    short.kill()
    kept = {key: pages[1]["metadata"][key] for key in ("name", "labels", "ownerReferences")}
    kube.run("delete", "historypage", name)
    short.start()
    stalled = kube.wait_until("workflow", "long", lambda found: condition(found, "Stalled")[0] == "True")
    assert condition(stalled, "Stalled")[1] == "HistoryInvalid"
    assert f"HistoryPage {name} is missing" in condition(stalled, "Stalled")[2]
    kube.apply({"apiVersion": "flowy.dev/v1alpha1", "kind": "HistoryPage", "metadata": kept, "spec": pages[1]["spec"]})
    kube.wait_until("workflow", "long", lambda found: condition(found, "Stalled")[0] == "False")
    kube.run("delete", "job", "-l", "flowy.dev/workflow=long,flowy.dev/task=waits-0", "--wait=false")
    ended = kube.wait_end("long")
    assert ended["status"]["error"]["type"] == "TaskCancelled"
    assert [event["id"] for event in whole_history(kube, ended)] == list(range(1, 63))


@pytest.mark.timeout(180)
def test_thirty_restarts_leave_one_run_behind_whoever_dies_meanwhile(kube: Kube, short: OperatorProcess) -> None:
    kube.apply(workflow("again", LOOP, [ABSENT, WAITS], 30))
    for run in (4, 11, 18, 25):
        kube.wait_until("workflow", "again", is_at(run))
        short.kill()
        short.start()
    body = kube.wait_end("again")
    assert result(body) == "over"
    assert body["status"]["run"] == 31
    assert len(json.dumps(body["status"])) < 4000
    assert {page["spec"]["run"] for page in pages_of(kube, "again")} <= {30, 31}
    # Two events a run, and thirty restarts: each once, whatever was cut short.
    assert body["status"]["history"][-1]["id"] == 31 * 2 + 30
