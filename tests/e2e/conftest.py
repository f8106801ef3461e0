"""Where tests on the cluster find an operator: one that the chart installs for all modules, or a process for one alone.

`served` is a namespace that the installed one looks after. Who kills the operator, or wants other settings, takes `kube`, a
namespace that nobody looks after, and the process `operator` for it: a restart costs it 2 s instead of the 15 s of a Lease.
Each module has namespaces of its own.
"""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.cluster import cluster, flowy_images
from tests.e2e.installed import Installed
from tests.e2e.kube import Kube, install_crds
from tests.e2e.operator import OperatorProcess


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.cluster)


def pytest_collection_finish(session: pytest.Session) -> None:
    """The first who wants the installed operator may have to wait for helm and the images to be built."""
    for item in _wanting(session.items)[:1]:
        item.add_marker(pytest.mark.timeout(900), append=False)


@pytest.fixture(scope="session")
def kubeconfig() -> Path:
    path = cluster.up()
    install_crds(path)
    return path


@pytest.fixture(scope="module")
def kube(kubeconfig: Path, request: pytest.FixtureRequest) -> Iterator[Kube]:
    """A namespace of this module's own, deleted in the background at its end."""
    name = _name(request.module.__name__)
    kube = Kube(kubeconfig, name)
    kube.run("create", "namespace", name)
    yield kube
    kube.run("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="session")
def installed(kubeconfig: Path, request: pytest.FixtureRequest) -> Iterator[Installed]:
    """The operator as its chart installs it, for a namespace of each module of this session that wants it."""
    flowy_images.build_all()
    modules = {item.module.__name__ for item in _wanting(request.session.items)}
    installed = Installed(kubeconfig, _name("operator"), {module: _name(module) for module in sorted(modules)})
    try:
        installed.install()
        yield installed
    finally:
        installed.remove()


@pytest.fixture(scope="module")
def served(installed: Installed, request: pytest.FixtureRequest) -> Iterator[Kube]:
    """A namespace of this module's own that the installed operator looks after; it logs no error meanwhile."""
    kube = Kube(installed.kube.kubeconfig, installed.namespaces[request.module.__name__])
    began = datetime.now(UTC).isoformat()
    yield kube
    # The namespace stays as long as the operator, which would complain of rights that are gone with it.
    kube.run("delete", "workflows.flowy.dev,jobs,pods", "--all", "--wait=false")
    bugs = installed.errors(began)
    assert not bugs, f"the operator logged errors: {bugs[:3]}"


@pytest.fixture(scope="module")
def operator(kube: Kube, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatorProcess]:
    process = OperatorProcess(kube.kubeconfig, kube.namespace, tmp_path_factory.mktemp("operator") / "log")
    process.start()
    yield process
    assert process.stop() == 0
    # kopf logs an error for each request that it will try again.
    bugs = [line for line in process.lines(level="ERROR") if not str(line.get("logger")).startswith("kopf")]
    assert not bugs, f"the operator logged errors: {bugs[:3]}"


def _wanting(items: list[pytest.Item]) -> list[pytest.Function]:
    return [item for item in items if isinstance(item, pytest.Function) and "served" in item.fixturenames]


def _name(module: str) -> str:
    return f"{module.rpartition('.')[2].replace('_', '-')}-{uuid.uuid4().hex[:6]}"
