"""A slice of `make chaos`: ten workflows, three kills of operators, one of the API server."""

import uuid
from pathlib import Path

import pytest

from tests.chaos.plan import SLICE, plan_of
from tests.chaos.run import carry_out
from tests.cluster import cluster
from tests.e2e.kube import Kube, install_crds

SEED = 20261128


@pytest.mark.cluster
@pytest.mark.timeout(400)  # KWOK may have to be built first
@pytest.mark.skipif(cluster.external_kubeconfig() is not None, reason="it kills parts of the embedded cluster")
async def test_nothing_lost_nothing_twice(tmp_path: Path) -> None:
    kube = Kube(cluster.up(), f"chaos-{uuid.uuid4().hex[:6]}")
    install_crds(kube.kubeconfig)
    kube.run("create", "namespace", kube.namespace)
    try:
        report = await carry_out(plan_of(SEED, SLICE), kube, tmp_path / "run", print)
    finally:
        kube.run("delete", "namespace", kube.namespace, "--wait=false")
    assert report.wrong == []
    assert report.ran > 10
