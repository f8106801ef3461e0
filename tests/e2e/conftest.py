"""One namespace and one operator for each module of tests, on one cluster for all."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import cluster
from tests.e2e.kube import Kube
from tests.e2e.operator import OperatorProcess

CRDS = Path(__file__).parents[2] / "crds"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.cluster)


@pytest.fixture(scope="session")
def kubeconfig() -> Path:
    path = cluster.up()
    admin = Kube(path, "default")
    admin.run("apply", "--server-side", "--force-conflicts", "-f", str(CRDS))
    admin.run("wait", "--for=condition=Established", "-f", str(CRDS))
    return path


@pytest.fixture(scope="module")
def kube(kubeconfig: Path, request: pytest.FixtureRequest) -> Iterator[Kube]:
    """A namespace of this module's own, deleted in the background at its end."""
    name = f"{request.module.__name__.rpartition('.')[2].replace('_', '-')}-{uuid.uuid4().hex[:6]}"
    kube = Kube(kubeconfig, name)
    kube.run("create", "namespace", name)
    yield kube
    kube.run("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="module")
def operator(kube: Kube, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatorProcess]:
    process = OperatorProcess(kube.kubeconfig, kube.namespace, tmp_path_factory.mktemp("operator") / "log")
    process.start()
    yield process
    assert process.stop() == 0
    # kopf logs an error for each request that it will try again.
    bugs = [line for line in process.lines(level="ERROR") if not str(line.get("logger")).startswith("kopf")]
    assert not bugs, f"the operator logged errors: {bugs[:3]}"
