"""What a second shard brings: the same workflows by one replica that looks after both shards, and by one for each.

On fake nodes, beside the API server on the same cores. There two replicas can do no more than share what is left of them:
the rate says what sharing costs, and the CPU of the busiest replica how far it goes where each has a machine of its own.
"""

import asyncio
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from flowy_operator.adapters.kube.client import KubeClient
from tests.bench import scale
from tests.bench.figures import Figure, figure
from tests.cluster.fake_nodes import fake_nodes
from tests.e2e.kube import Kube, install_crds
from tests.e2e.operator import OperatorProcess
from tests.e2e.shares import wait_for_shares


def figures(kubeconfig: Path) -> list[Figure]:
    """The rate, the CPU of a workflow, and that of the busiest replica."""
    install_crds(kubeconfig)
    kube = Kube(kubeconfig, f"bench-{uuid.uuid4().hex[:6]}")
    kube.run("create", "namespace", kube.namespace)
    try:
        with fake_nodes(kubeconfig, scale.FAKE_NODES):
            with _replicas(kube, [[0, 1]]) as one:
                alone = asyncio.run(_measure(kube, one))
            with _replicas(kube, [[0], [1]]) as two:
                shared = asyncio.run(_measure(kube, two))
    finally:
        kube.run("delete", "namespace", kube.namespace, "--wait=false")
    return [
        figure("shards-2-per-s", shared.per_s, "/s", "", alone.per_s),
        figure("shards-2-cpu-per-workflow-ms", shared.cpu_ms, "ms", "", alone.cpu_ms),
        figure("shards-2-busiest-s", shared.busiest_s, "s of CPU", "", alone.busiest_s),
    ]


async def _measure(kube: Kube, replicas: Sequence[OperatorProcess]) -> scale.Rate:
    async with await KubeClient.connect(str(kube.kubeconfig)) as client:
        return await scale.many(client, kube.namespace, replicas, scale.MANY)


@contextmanager
def _replicas(kube: Kube, shares: Sequence[list[int]]) -> Iterator[list[OperatorProcess]]:
    """As many replicas as there are shares of the two shards, once each has one of them."""
    options = ("--leader-election", f"--lease-namespace={kube.namespace}", "--lease-name=flowy", "--shards=2")
    with tempfile.TemporaryDirectory() as folder:
        replicas = [
            OperatorProcess(kube.kubeconfig, kube.namespace, Path(folder) / str(n), log_level="info", options=options)
            for n in range(len(shares))
        ]
        try:
            for replica in replicas:
                replica.start(until="waiting for the lease")
            wait_for_shares(replicas, shares)
            yield replicas
        finally:
            for replica in replicas:
                replica.stop(30)
