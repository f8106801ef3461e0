"""On a control plane that nobody has tuned: as many workflows a second as it makes Jobs?

The Job controller may make 20 calls a second there, and needs several for each Job. The rest of the benchmark raises that, so
that it is the operator which is measured.
"""

import asyncio
import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from flowy_operator.adapters.kube.client import KubeClient
from tests.bench import scale
from tests.bench.figures import Figure, figure
from tests.cluster import cluster
from tests.cluster.component import Limits
from tests.cluster.fake_nodes import fake_nodes
from tests.e2e.kube import Kube, install_crds
from tests.e2e.operator import OperatorProcess

COUNT = 100


def figures(_: Path) -> list[Figure]:
    """The rate of workflows of one task, and beside it that of Jobs by hand. Nothing of a cluster whose limits aren't ours to set."""
    if cluster.external_kubeconfig() is not None:
        return []
    with _limits(Limits.DEFAULT) as kubeconfig, tempfile.TemporaryDirectory() as folder:
        install_crds(kubeconfig)
        kube = Kube(kubeconfig, f"bench-{uuid.uuid4().hex[:6]}")
        kube.run("create", "namespace", kube.namespace)
        operator = OperatorProcess(kubeconfig, kube.namespace, Path(folder) / "log", log_level="info")
        operator.start()
        try:
            with fake_nodes(kubeconfig, scale.FAKE_NODES):
                per_s, bare_per_s = asyncio.run(_measure(kube, operator))
        finally:
            operator.stop()
            kube.run("delete", "namespace", kube.namespace, "--wait=false")
    return [figure("default-limits-per-s", per_s, "/s", ">= Jobs by hand", bare_per_s)]


async def _measure(kube: Kube, operator: OperatorProcess) -> tuple[float, float]:
    async with await KubeClient.connect(str(kube.kubeconfig)) as client:
        content = await scale.content_of_a_job(client, kube.namespace)
        bare = await scale.bare(client, kube.namespace, COUNT, content)
        many = await scale.many(client, kube.namespace, [operator], COUNT)
    return many.per_s, bare.per_s


@contextmanager
def _limits(limits: Limits) -> Iterator[Path]:
    """The embedded cluster with these limits, all objects kept; afterwards as it is chosen."""
    try:
        with patch.dict(os.environ, FLOWY_CLUSTER_LIMITS=limits):
            yield cluster.up()
    finally:
        cluster.up()
