"""Definitions on a real Kubernetes, with kubectl as a user has it."""

from pathlib import Path
from typing import Any

import pytest

from tests.e2e.kube import Kube, condition, events, result
from tests.e2e.manifests import shell, workflow
from tests.e2e.operator import OperatorProcess

SOURCE = """
def w(add):
    def run(n):
        return add(add(n))
    return run
"""
OTHER = SOURCE.replace("add(add(n))", "add(add(add(n)))")
add = shell("add", "echo $(($1 + 1)) > $FLOWY_RESULT_FILE", "$(FLOWY_ARG_0)")
slow = shell("add", "sleep 4; echo $(($1 + 1)) > $FLOWY_RESULT_FILE", "$(FLOWY_ARG_0)")


def definition(name: str, source: str, task: dict[str, Any], **spec: Any) -> dict[str, Any]:
    made = workflow(name, source, [task], **spec)
    del made["spec"]["input"]
    return made | {"kind": "WorkflowDefinition"}


def run_of(definition: str, name: str, *args: Any, **spec: Any) -> dict[str, Any]:
    made = workflow(name, "", [], *args, definitionRef={"name": definition}, **spec)
    del made["spec"]["code"], made["spec"]["tasks"]
    return made


def stalled(body: dict[str, Any]) -> str:
    status, reason, _ = condition(body, "Stalled")
    return reason if status == "True" else ""


def test_three_workflows_of_one_definition(served: Kube) -> None:
    served.apply(definition("adder-v1", SOURCE, add))
    for n in range(3):
        served.apply(run_of("adder-v1", f"sum-{n}", n))
    served.apply(workflow("inline", SOURCE, [add], 0))
    assert [result(served.wait_end(f"sum-{n}")) for n in range(3)] == [2, 3, 4]
    digests = {served.get("workflow", f"sum-{n}")["status"]["definitionDigest"] for n in range(3)}
    assert len(digests) == 1
    words = ["get", "workflows.flowy.dev", "--field-selector", "spec.definitionRef.name=adder-v1", "-o", "name"]
    assert served.run(*words).stdout.split() == [f"workflow.flowy.dev/sum-{n}" for n in range(3)]
    told = {event["reason"] for event in served.list("events") if event["involvedObject"]["name"] == "sum-0"}
    assert "DefinitionNotFound" not in told, "it was there from the start"


def test_a_definition_cannot_be_changed(served: Kube) -> None:
    served.apply(definition("fixed-v1", SOURCE, add))
    changed = served.run(
        "patch", "fwd", "fixed-v1", "--type=merge", "-p", '{"spec": {"code": {"source": "x = 1"}}}', check=False
    )
    assert changed.returncode != 0
    assert "a WorkflowDefinition can't be changed, what its Workflows have run depends on it" in changed.stderr
    assert "create another one under a name of its own, such as video-v2" in changed.stderr


def test_a_workflow_waits_for_its_definition_and_goes_on_by_itself(served: Kube) -> None:
    served.apply(run_of("late-v1", "early", 5))
    body = served.wait_until("workflow", "early", lambda body: stalled(body) == "DefinitionNotFound")
    assert condition(body, "Succeeded")[:2] == ("Unknown", "Stalled")
    assert (
        f"there is no WorkflowDefinition 'late-v1' in the namespace '{served.namespace}'"
        in condition(body, "Stalled")[2]
    )
    served.apply(definition("late-v1", SOURCE, add))
    assert result(served.wait_end("early")) == 7


@pytest.mark.timeout(180)
def test_a_run_ends_with_the_code_that_it_began_with(kube: Kube, operator: OperatorProcess) -> None:
    """Its definition goes, the operator dies, other content comes, and the old is back."""
    kube.apply(definition("torn-v1", SOURCE, slow))
    kube.apply(run_of("torn-v1", "torn", 1))
    kube.wait_until("workflow", "torn", lambda body: bool(events(body, "TaskScheduled")))
    kube.run("delete", "fwd", "torn-v1")
    kube.wait_until("workflow", "torn", lambda body: stalled(body) == "DefinitionNotFound")
    operator.kill()
    kube.apply(definition("torn-v1", OTHER, slow))
    operator.start()
    body = kube.wait_until("workflow", "torn", lambda body: stalled(body) == "DefinitionChanged")
    assert body["status"]["definitionDigest"] in condition(body, "Stalled")[2]
    kube.run("wait", "--for=jsonpath={.status.succeeded}=1", "job", "-l", "flowy.dev/workflow=torn", "--timeout=60s")
    assert [event["type"] for event in kube.get("workflow", "torn")["status"]["history"]] == ["TaskScheduled"]
    kube.run("delete", "fwd", "torn-v1")
    kube.apply(definition("torn-v1", SOURCE, slow))
    body = kube.wait_end("torn")
    assert result(body) == 3
    assert len(events(body, "TaskScheduled")) == len(events(body, "TaskCompleted")) == 2


def test_an_operator_for_definitions_only(served: Kube, tmp_path: Path) -> None:
    other = Kube(served.kubeconfig, f"{served.namespace}-only")
    other.run("create", "namespace", other.namespace)
    process = OperatorProcess(other.kubeconfig, other.namespace, tmp_path / "log", options=["--definitions-only"])
    process.start()
    try:
        other.apply(workflow("inline", SOURCE, [add], 0))
        other.apply(definition("adder-v1", SOURCE, add))
        other.apply(run_of("adder-v1", "named", 1))
        assert result(other.wait_end("named")) == 3
        body = other.wait_until("workflow", "inline", lambda body: stalled(body) == "InlineCodeForbidden")
        assert "history" not in body["status"] or body["status"]["history"] == []
        assert other.list("jobs", "flowy.dev/workflow=inline") == []
    finally:
        assert process.stop() == 0
        other.run("delete", "namespace", other.namespace, "--wait=false")


def test_a_task_that_is_a_definition_runs_as_a_workflow_of_it(served: Kube) -> None:
    source = "def outer(twice):\n    def run(n):\n        return twice(twice(n))\n    return run\n"
    served.apply(workflow("outer", source, [{"name": "twice", "workflow": {"definitionRef": {"name": "inner-v1"}}}], 1))
    body = served.wait_until(
        "workflow", "outer", lambda body: "DefinitionNotFound" in str(body.get("status", {}).get("waitingOn"))
    )
    assert "there is no WorkflowDefinition 'inner-v1'" in body["status"]["waitingOn"][0]["reason"]
    served.apply(definition("inner-v1", SOURCE, add))
    assert result(served.wait_end("outer")) == 5
    words = ["get", "workflows.flowy.dev", "--field-selector", "spec.definitionRef.name=inner-v1", "-o", "name"]
    assert len(served.run(*words).stdout.split()) == 2
