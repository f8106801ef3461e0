"""The role on the page about operating is enough: an operator with it, and nothing else, on a real API server."""

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster import cluster
from tests.docs.pages import blocks
from tests.e2e.kube import Kube, condition, install_crds, result
from tests.e2e.manifests import shell, workflow
from tests.e2e.operator import OperatorProcess

pytestmark = pytest.mark.cluster

CALL = 'wget -q -O - --header "Authorization: Bearer $(cat $FLOWY_TOKEN_FILE)" --post-data "" $FLOWY_URL'
SOURCE = """
def w(t):
    def run():
        return t()
    return run
"""
LONG = """
from flowy import restart, wait

def w(say, hear):
    def run(n=0):
        heard = hear(say())
        wait(heard)
        return restart(n + 1) if n < 2 else heard
    return run
"""


@pytest.fixture
def admin() -> Iterator[Kube]:
    kube = Kube(cluster.up(), f"docs-rights-{uuid.uuid4().hex[:6]}")
    install_crds(kube.kubeconfig)
    kube.run("create", "namespace", kube.namespace)
    yield kube
    kube.run("delete", "namespace", kube.namespace, "--wait=false")
    name = f"flowy-operator-tokens-{kube.namespace}"
    kube.run("delete", "clusterrolebinding,clusterrole", name, "--ignore-not-found")


def _bind_the_cluster_role(admin: Kube) -> None:
    """The page's second role, under a name of this test's own: it has no namespace."""
    _, second, *_ = (yaml.safe_load(block.text) for block in blocks("operating.md", "yaml"))
    name = second["metadata"]["name"] = f"{second['metadata']['name']}-{admin.namespace}"
    admin.apply(second)
    account = f"--serviceaccount={admin.namespace}:operator"
    admin.run("create", "clusterrolebinding", name, f"--clusterrole={name}", account)


def _kubeconfig_of_the_role(admin: Kube, folder: Path) -> Path:
    """A kubeconfig of a service account that has the page's role."""
    role: dict[str, Any] = yaml.safe_load(next(blocks("operating.md", "yaml")).text)
    role["metadata"]["namespace"] = admin.namespace
    admin.apply(role)
    admin.run("create", "serviceaccount", "operator")
    admin.run(
        "create", "rolebinding", "operator", "--role=flowy-operator", f"--serviceaccount={admin.namespace}:operator"
    )
    _bind_the_cluster_role(admin)
    config = yaml.safe_load(admin.kubeconfig.read_text())
    token = admin.run("create", "token", "operator").stdout.strip()
    for user in config["users"]:
        user["user"] = {"token": token}
    path = folder / "kubeconfig"
    path.write_text(json.dumps(config))
    return path


def _bind_the_leaders_role(admin: Kube) -> None:
    """The page's third role, in the namespace of the operator's pod; here it is the same one."""
    _, _, third = [role for role in map(yaml.safe_load, _yaml()) if isinstance(role, dict) and "rules" in role]
    third["metadata"]["namespace"] = admin.namespace
    admin.apply(third)
    account = f"--serviceaccount={admin.namespace}:operator"
    admin.run("create", "rolebinding", "leader", f"--role={third['metadata']['name']}", account)


def _yaml() -> list[str]:
    return [block.text for block in blocks("operating.md", "yaml")]


def test_the_role_is_enough(admin: Kube, tmp_path: Path) -> None:
    kubeconfig = _kubeconfig_of_the_role(admin, tmp_path)
    _bind_the_leaders_role(admin)
    admin.run(
        "run", "own", "--image=docker.io/library/busybox:1", "--image-pull-policy=IfNotPresent", "--", "sleep", "600"
    )
    operator = OperatorProcess(
        kubeconfig,
        admin.namespace,
        tmp_path / "log",
        options=["--leader-election", "--lease-seconds=60"],
        environment={"POD_NAMESPACE": admin.namespace, "POD_NAME": "own"},
    )
    operator.start()
    admin.run("wait", "--for=jsonpath={.metadata.labels.flowy\\.dev/leader}=true", "pod/own", "--timeout=10s")
    try:
        task = shell("t", "echo 1 > $FLOWY_RESULT_FILE")
        admin.apply(workflow("stays", SOURCE, [task], jobs={"keepSucceededSeconds": 1}))
        beats = shell("t", f"{CALL}/heartbeat > $FLOWY_RESULT_FILE", activity={"gateway": True})
        admin.apply(workflow("beats", SOURCE, [beats]))
        admin.apply(workflow("goes", SOURCE, [task], ttlSecondsAfterFinished=1))
        say = shell("say", "printf '\"%300000s\"' y", activity={"result": {"from": "Log"}})
        hear = shell("hear", "wc -c < $FLOWY_INPUT_FILE > $FLOWY_RESULT_FILE")
        admin.apply(workflow("long", LONG, [say, hear], jobs={"keepSucceededSeconds": 1}))
        named = workflow("named", SOURCE, [task])
        code = {"code": named["spec"].pop("code"), "tasks": named["spec"].pop("tasks")}
        named["spec"]["definitionRef"] = {"name": "defined"}
        admin.apply(named)
        admin.wait_until("workflow", "named", lambda body: condition(body, "Stalled")[1] == "DefinitionNotFound")
        admin.apply({**named, "kind": "WorkflowDefinition", "metadata": {"name": "defined"}, "spec": code})
        assert result(admin.wait_end("named")) == 1
        assert result(admin.wait_end("stays")) == 1
        assert result(admin.wait_end("beats")) == {"continue": True}
        assert result(admin.wait_end("long")) > 300_000
        admin.run("wait", "--for=delete", "jobs", "-l", "flowy.dev/workflow=long", "--timeout=60s")
        # The results of the last two runs; the arguments went with their Jobs, older results with their runs.
        assert len(admin.list("configmaps", "flowy.dev/workflow=long")) == 2
        admin.run("wait", "--for=delete", "workflow/goes", "--timeout=60s")
        admin.run("wait", "--for=delete", "jobs", "-l", "flowy.dev/workflow=stays", "--timeout=60s")
        reasons = {event["reason"] for event in admin.list("events")}
        assert "Completed" in reasons
    finally:
        assert operator.stop() == 0
    warned = {line["message"] for line in operator.lines(level="WARNING")}
    assert warned == {"workflow can't be acted upon"}  # of the missing definition
    assert operator.lines(level="ERROR") == []
