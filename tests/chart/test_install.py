"""A release on the embedded cluster, from a package as a user gets one: installed, used, upgraded, removed, installed again.

In a namespace that takes nothing but restricted pods, with the workflows in another of that kind. One story, in the order
of its steps: each goes on from where the one before it ended.
"""

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.chart.address import held
from tests.chart.helm import CHART, Release, helm
from tests.cluster import cluster, flowy_images
from tests.e2e.kube import Kube, condition, result
from tests.e2e.manifests import CHAIN, workflow
from tests.repo.pins import pins

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        cluster.external_kubeconfig() is not None, reason="images can't be put on that cluster from here"
    ),
]

GATEWAY = "10.96.0.82"
"""The Service's address. Elsewhere activities find it by its name, but there is no DNS in the embedded cluster."""

RESTRICTED = "pod-security.kubernetes.io/enforce=restricted"
PODS_RESTRICTED = {"spec": {"securityContext": {"runAsNonRoot": True, "runAsUser": 65532}}}
# By hand: `heartbeat` goes on without an answer, and so would prove nothing. Tried again while an operator that has just
# started is not yet behind its Service.
PYTHON_ACTIVITY = """
import json, os, time
from urllib.error import URLError
from urllib.request import Request, urlopen
from flowy.activity import main

def beat():
    token = open(os.environ["FLOWY_TOKEN_FILE"]).read()
    call = Request(os.environ["FLOWY_URL"] + "/heartbeat", b"", {"Authorization": f"Bearer {token}"})
    for _ in range(60):
        try:
            return json.load(urlopen(call, timeout=30))
        except URLError as error:
            last = error
            time.sleep(1)
    raise last

def step(value):
    assert beat() == {"continue": True}
    return value + 1

main(step)
"""


@dataclass(frozen=True)
class Installation:
    release: Release
    package: Path
    operators: Kube
    workflows: Kube

    def settle(self, verb: str, *words: str) -> str:
        values = (
            f"--set=image.repository={repository}",
            f"--set=image.tag={tag}",
            f"--set=gateway.clusterIP={GATEWAY}",
        )
        url = f"--set=gateway.url=http://{GATEWAY}:8082"
        told = self.release.run(verb, self.package, *values, url, "--wait", "--timeout=3m", *words, check=False)
        assert told.returncode == 0, told.stderr + self.operators.run("logs", "deployment/flowy", check=False).stdout
        return told.stdout


repository, _, tag = flowy_images.OPERATOR.rpartition(":")


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    kubeconfig = cluster.up()
    flowy_images.build_all()
    folder = tmp_path_factory.mktemp("chart")
    helm("package", CHART, f"--destination={folder}")
    (package,) = folder.glob("flowy-*.tgz")
    suffix = uuid.uuid4().hex[:6]
    spaces = [Kube(kubeconfig, f"chart-{what}-{suffix}") for what in ("operator", "workflows")]
    release = Release(kubeconfig, spaces[0].namespace)
    with held(kubeconfig, GATEWAY):  # first: whoever is refused leaves no namespaces behind
        for space in spaces:
            space.run("create", "namespace", space.namespace)
            space.run("label", "namespace", space.namespace, RESTRICTED)
        yield Installation(release, package, *spaces)
        release.run("uninstall", "--ignore-not-found")
    for space in spaces:
        space.run("delete", "namespace", space.namespace, "--wait=false")


def chain(name: str) -> dict[str, object]:
    """Two steps in Flowy's image for Python activities. Each calls the gateway through its Service."""
    activity = {
        "image": flowy_images.ACTIVITY,
        "args": ["-c", PYTHON_ACTIVITY],
        "gateway": True,
        "template": PODS_RESTRICTED,
    }
    return workflow(name, CHAIN, [{"name": "step", "activity": activity}], 2)


def test_installed_it_works(installation: Installation) -> None:
    # Other tests' CRDs are in the cluster already, applied by kubectl.
    notes = installation.settle("install", "--take-ownership")
    assert "looks after the whole cluster" in notes
    installation.workflows.apply(chain("first"))
    assert result(installation.workflows.wait_end("first")) == 2
    pods = "app.kubernetes.io/component=operator"
    assert len(installation.operators.list("pods", pods)) == 2
    assert len(installation.operators.list("pods", f"{pods},flowy.dev/leader=true")) == 1


def test_its_own_test_passes(installation: Installation) -> None:
    said = installation.release.run("test", "--logs", "--timeout=3m").stdout
    assert "two steps, result 84: the operator works" in said


def test_upgraded_to_one_namespace_it_works_there_alone(installation: Installation) -> None:
    installation.settle(
        "upgrade", f"--set=namespaces={{{installation.workflows.namespace}}}", "--set=restrict.inlineCode=true"
    )
    installation.workflows.apply(chain("second"))
    installation.workflows.wait_until("workflow", "second", lambda body: condition(body, "Stalled")[0] == "True")
    account = f"--as=system:serviceaccount:{installation.operators.namespace}:flowy"
    for space, answer in ((installation.workflows, "yes"), (installation.operators, "no")):
        assert space.run("auth", "can-i", "create", "jobs", account, check=False).stdout.strip() == answer
    assert "result 84" in installation.release.run("test", "--logs", "--timeout=3m").stdout


def test_removed_it_leaves_kinds_and_workflows(installation: Installation) -> None:
    installation.release.run("uninstall", "--wait")
    assert installation.operators.list("deployments,services,serviceaccounts", "app.kubernetes.io/instance=flowy") == []
    assert len(installation.operators.list("crds", "app.kubernetes.io/instance=flowy")) == 3
    assert condition(installation.workflows.get("workflow", "first"), "Succeeded")[0] == "True"


def test_installed_again_it_goes_on(installation: Installation) -> None:
    installation.settle("install")
    assert result(installation.workflows.wait_end("second")) == 2


# -- the images -------------------------------------------------------------------------------------------------------


def output(space: Kube, name: str, image: str, *command: str) -> str:
    """What a container says that may write nowhere and is nobody."""
    container = {
        "name": "main",
        "image": image,
        "command": command,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
    }
    security = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    spec = {"restartPolicy": "Never", "securityContext": security, "containers": [container]}
    space.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})
    ended = space.wait_until("pod", name, lambda body: body["status"]["phase"] in {"Succeeded", "Failed"})
    said = space.run("logs", name).stdout
    assert ended["status"]["phase"] == "Succeeded", said
    return said


def test_the_activitys_image_has_the_runtime_alone(installation: Installation) -> None:
    code = (
        "import flowy, flowy.activity, importlib.util, os\n"
        "absent = ['kopf', 'kubernetes', 'pydantic', 'aiohttp', 'flowy_operator']\n"
        "print(os.getuid(), [name for name in absent if importlib.util.find_spec(name)])"
    )
    assert output(installation.workflows, "bare", flowy_images.ACTIVITY, "python3", "-c", code) == "65532 []\n"


def test_the_operators_image_says_what_is_in_it(installation: Installation) -> None:
    code = "import os; print(os.getuid()); print(open('/opt/flowy/sbom.cdx.json').read())"
    said = output(installation.workflows, "sbom", flowy_images.OPERATOR, "/opt/flowy/bin/python", "-c", code)
    uid, _, bill = said.partition("\n")
    assert uid == "65532"
    listed = {(one["name"].lower().replace("_", "-"), one["version"]) for one in json.loads(bill)["components"]}
    assert listed - {("flowy-operator", version("flowy-operator"))} == set(pins("images/operator.txt"))
