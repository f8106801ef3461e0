"""The fixed address of a Service: a killed run's is taken back, a living run's is not."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chart.address import held, holders
from tests.chart.helm import CHART, RELEASE, Release
from tests.cluster import cluster
from tests.cluster.errors import ClusterError
from tests.e2e.kube import Kube

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(600),
    pytest.mark.skipif(cluster.external_kubeconfig() is not None, reason="there the Services have no fixed address"),
]

ADDRESS = "10.96.0.83"
SERVICE = ("create", "service", "clusterip", "plain", f"--clusterip={ADDRESS}", "--tcp=80")


@pytest.fixture
def space() -> Iterator[Kube]:
    space = Kube(cluster.up(), f"address-{uuid.uuid4().hex[:6]}")
    space.run("create", "namespace", space.namespace)
    yield space
    space.run("delete", "services", "--all")  # at once: the address is the next test's
    space.run("delete", "namespace", space.namespace, "--wait=false")


def leave_release(space: Kube) -> Release:
    """What a run leaves that is killed after its install. Without replicas, since no pod matters here."""
    release = Release(space.kubeconfig, space.namespace)
    values = (f"gateway.clusterIP={ADDRESS}", f"namespaces={{{space.namespace}}}", "crds.enabled=false", "replicas=0")
    release.run("install", CHART, *(f"--set={value}" for value in values))
    return release


def at(kubeconfig: Path) -> list[str]:
    return [service["metadata"]["name"] for service in holders(kubeconfig, ADDRESS)]


def test_the_release_of_a_killed_run_gives_the_address_back(space: Kube, capsys: pytest.CaptureFixture[str]) -> None:
    release = leave_release(space)
    assert at(space.kubeconfig) == ["flowy"]
    assert "already allocated" in space.run(*SERVICE, check=False).stderr
    with held(space.kubeconfig, ADDRESS):
        assert release.run("status", check=False).returncode != 0
        assert space.list("deployments,services,roles,rolebindings,serviceaccounts", "app.kubernetes.io/instance") == []
        space.run(*SERVICE)
    said = f"removing the release flowy in {space.namespace}: a killed test run left it at {ADDRESS}\n"
    assert said in capsys.readouterr().err


def test_so_does_a_service_whose_release_helm_no_longer_knows(space: Kube) -> None:
    space.run(*SERVICE)
    notes = (f"meta.helm.sh/release-name={RELEASE}", f"meta.helm.sh/release-namespace={space.namespace}")
    space.run("annotate", "service", "plain", *notes)
    with held(space.kubeconfig, ADDRESS):
        assert at(space.kubeconfig) == []


def test_so_does_a_service_of_no_release(space: Kube, capsys: pytest.CaptureFixture[str]) -> None:
    space.run(*SERVICE)
    with held(space.kubeconfig, ADDRESS):
        assert at(space.kubeconfig) == []
    assert f"removing the Service plain in {space.namespace}: it was left at {ADDRESS}\n" in capsys.readouterr().err


def test_what_a_run_has_that_goes_on_is_left_alone(space: Kube) -> None:
    with held(space.kubeconfig, ADDRESS):
        space.run(*SERVICE)
        with pytest.raises(ClusterError, match=r"another test run, process \d+, has the Service at 10\.96\.0\.83"):
            held(space.kubeconfig, ADDRESS).__enter__()
        assert at(space.kubeconfig) == ["plain"]
    with held(space.kubeconfig, ADDRESS):
        assert at(space.kubeconfig) == []
