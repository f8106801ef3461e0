"""What the kubelet and Prometheus get of an operator that runs: exact counts after known workflows."""

import urllib.error
import urllib.request

from tests.adapters.scrape import samples
from tests.e2e.kube import Kube, condition, result
from tests.e2e.manifests import CHAIN, shell, workflow
from tests.e2e.operator import OperatorProcess

LOOPS = """
def w(t):
    def run():
        while True:
            pass
    return run
"""
NEXT = "echo $(($1 + 1)) > $FLOWY_RESULT_FILE"
BEAT = 'wget -q -O - --header "Authorization: Bearer $(cat $FLOWY_TOKEN_FILE)" --post-data "" $FLOWY_URL/heartbeat'


def ask(operator: OperatorProcess, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{operator.health_port}{path}", timeout=10) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_an_operator_at_work_is_alive_and_ready(operator: OperatorProcess) -> None:
    assert ask(operator, "/healthz") == (200, "ok\n")
    assert ask(operator, "/readyz") == (200, "decider: ok\nworkflows: ok\njobs: ok\npods: ok\n")


def test_figures_after_known_workflows(kube: Kube, operator: OperatorProcess) -> None:
    beats = shell("step", f"{BEAT} && {NEXT}", "$(FLOWY_ARG_0)", activity={"gateway": True})
    kube.apply(workflow("three", CHAIN, [beats], 3))
    source = "def w(t):\n    def run():\n        return t()\n    return run\n"
    retry = {"maxAttempts": 2, "when": ["Error"], "delaysSeconds": [0]}
    kube.apply(workflow("fails", source, [shell("t", "exit 3", retry=retry)]))
    kube.apply(workflow("loops", LOOPS, [shell("t", "true")]))
    assert result(kube.wait_end("three")) == 3
    kube.wait_end("fails")
    kube.wait_until("workflow", "loops", lambda body: condition(body, "Stalled")[1] == "DecisionTimeout")
    status, text = ask(operator, "/metrics")
    assert status == 200
    found = samples(text)
    expected = {
        'flowy_leader{shard="0"}': 1,
        "flowy_open_workflows": 1,
        "flowy_open_tasks": 0,
        "flowy_retries_total": 1,
        'flowy_tasks_total{outcome="completed"}': 3,
        'flowy_tasks_total{outcome="failed"}': 1,
        'flowy_workflows_total{reason="Completed"}': 1,
        'flowy_workflows_total{reason="Failed"}': 1,
        'flowy_stalled_workflows{reason="DecisionTimeout"}': 1,
        'flowy_stalls_total{reason="DecisionTimeout"}': 1,
        'flowy_gateway_calls_total{code="200",path="/heartbeat"}': 3,
        'flowy_api_calls_total{code="201",resource="jobs",verb="create"}': 5,
        'flowy_foreign_objects{kind="Job"}': 0,
        'flowy_foreign_objects{kind="Pod"}': 0,
        'flowy_reconcile_seconds_count{outcome="failed"}': 0,
    }
    assert {name: found.get(name) for name in expected} == expected
    assert found["flowy_dead_time_seconds_count"] >= 2
    assert found['flowy_decision_seconds_count{end="cpu"}'] >= 1
    assert found['flowy_decision_seconds_count{end="answered"}'] >= 5
    assert 0 < found["process_resident_memory_bytes"] < 500 * 2**20
