"""`make bench-scale`: much at once on the embedded cluster, with fake nodes: is it served, and by what memory?

1,000 open workflows in 20 namespaces, then beside them one workflow of 10,000 tasks side by side and one of 5,000 in a
chain. In the middle of it the operator is restarted, and each open workflow changed while it is away. It ends after twelve
minutes, whether the two are through or not: what is told is a rate. `--open 100 --wide 500 --chain 50 --seconds 60` is a
small one.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flowy_operator.adapters.kube import paths
from flowy_operator.adapters.kube.client import Json, KubeClient
from tests.bench import report
from tests.bench.figures import Figure, figure
from tests.bench.scale import ONE, STEP, WIDE, cpu_s, rss_bytes, side_by_side
from tests.cluster import cluster
from tests.cluster.fake_nodes import fake_nodes
from tests.e2e.kube import Kube, install_crds
from tests.e2e.manifests import CHAIN, workflow
from tests.e2e.operator import OperatorProcess

NAMESPACES = 20
LOOKS = 5
FAKE_NODES = 10
MIB = 1024 * 1024
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
"""What kubectl asks for: the API server makes the lines."""


@dataclass(frozen=True, slots=True)
class Sizes:
    open: int = 1000
    wide: int = 10_000
    chain: int = 5000
    seconds: int = 720


class Large:
    """One run. `kubes` are the namespaces; the first has the wide workflow, the second the chain."""

    def __init__(self, sizes: Sizes, kubes: Sequence[Kube], operator: OperatorProcess, client: KubeClient) -> None:
        self._sizes = sizes
        self._kubes = kubes
        self._operator = operator
        self._client = client
        self._ends_at = time.monotonic() + sizes.seconds

    async def measure(self) -> list[Figure]:
        open_ = self._sizes.open
        await self._create_open()
        await self._said(0)
        _say(f"{open_:,} open workflows; `kubectl get workflows.flowy.dev -A`, {LOOKS} times")
        quiet_s = self._looked_s()
        table, whole = await self._bytes(TABLE), await self._bytes("application/json")
        _say(f"one of {self._sizes.wide:,} tasks side by side, and one of {self._sizes.chain:,} in a chain")
        began, used = time.monotonic(), cpu_s(self._operator.pid)
        await self._create_long()
        await self._until(lambda done: done >= self._of_all() // 4, within=0.4)
        busy_s = self._looked_s()
        _say("the operator is stopped, and each open workflow changed")
        used = cpu_s(self._operator.pid) - used
        largest = rss_bytes(self._operator.pid)
        self._operator.stop()
        await self._change_open()
        on_record = await self._done()
        started = time.monotonic()
        self._operator.start()
        ready_s = time.monotonic() - started
        while await self._done() == on_record:  # noqa: ASYNC110  the operator is another process
            await asyncio.sleep(0.1)
        start_s = time.monotonic() - started
        await self._said(1)
        caught_up_s = time.monotonic() - started
        _say(
            f"started in {start_s:.1f} s, of which {ready_s:.1f} s until it watches; all is seen after {caught_up_s:.1f} s"
        )
        again = cpu_s(self._operator.pid)
        done = await self._until(lambda done: done >= self._of_all())
        seconds = time.monotonic() - began
        used += cpu_s(self._operator.pid) - again
        largest = max(largest, rss_bytes(self._operator.pid))
        return [
            figure("scale-tasks-per-s", done / seconds, "/s", ""),
            figure("scale-cpu-per-task-ms", used * 1000 / done, "ms", ""),
            figure("scale-rss-mib", largest / MIB, "MiB", "<= 400 MiB"),
            figure("scale-start-s", start_s, "s", "<= 15 s"),
            figure("scale-watching-after-s", ready_s, "s", ""),
            figure("scale-caught-up-after-s", caught_up_s, "s", ""),
            figure("scale-kubectl-get-s", quiet_s, "s", "<= 1 s"),
            figure("scale-kubectl-get-busy-s", busy_s, "s", "<= 2 s"),
            figure("scale-list-table-kb", table / 1000, "kB", ""),
            figure("scale-list-whole-kb", whole / 1000, "kB", ""),
        ]

    def _of_all(self) -> int:
        return self._sizes.wide + self._sizes.chain

    async def _create_open(self) -> None:
        step = STEP | {"retry": {"delaysSeconds": [36_000]}}
        await side_by_side(
            self._client.create(paths.workflows(kube.namespace), workflow(f"open-{n}", ONE, [step]))
            for n in range(self._sizes.open)
            for kube in [self._kubes[n % NAMESPACES]]
        )

    async def _change_open(self) -> None:
        patch = [{"op": "add", "path": "/spec/parallelism", "value": 7}]
        await side_by_side(
            self._client.json_patch(paths.workflows(self._kubes[n % NAMESPACES].namespace, f"open-{n}"), patch)
            for n in range(self._sizes.open)
        )

    async def _said(self, changes: int) -> int:
        """Wait until the status of each open workflow is of its last generation. Returns how many have one."""
        async with asyncio.timeout(max(self._ends_at - time.monotonic(), 60)):
            while True:
                items = await self._all()
                seen = [item.get("status", {}).get("observedGeneration", 0) for item in items if _is_open(item)]
                if len(seen) == self._sizes.open and min(seen) > changes:
                    return len(seen)
                await asyncio.sleep(0.5)

    async def _create_long(self) -> None:
        wide = workflow("wide", WIDE, [STEP], self._sizes.wide, parallelism=1000, jobs={"keepSucceededSeconds": 60})
        chain = workflow("chain", CHAIN, [STEP], self._sizes.chain, jobs={"keepSucceededSeconds": 60})
        await self._client.create(paths.workflows(self._kubes[0].namespace), wide)
        await self._client.create(paths.workflows(self._kubes[1].namespace), chain)

    async def _until(self, is_enough: Any, within: float = 1.0) -> int:
        """Wait until so many tasks have succeeded, or this share of the time is over. Says how far it is."""
        ends_at = self._ends_at - (1 - within) * self._sizes.seconds
        while True:
            done = await self._done()
            mib = rss_bytes(self._operator.pid) / MIB
            _say(f"{done:,} tasks have succeeded, {mib:.0f} MiB")
            if is_enough(done) or time.monotonic() > ends_at:
                return done
            await asyncio.sleep(5)

    async def _done(self) -> int:
        """How many tasks of the long ones are on record as succeeded."""
        return await self._succeeded("wide", 0) + await self._succeeded("chain", 1)

    async def _succeeded(self, name: str, place: int) -> int:
        found = await self._client.get(paths.workflows(self._kubes[place].namespace, name))
        return int(found.get("status", {}).get("progress", {}).get("succeeded", 0))

    async def _all(self) -> list[Json]:
        namespaces = [kube.namespace for kube in self._kubes]
        found = [(await self._client.list(paths.workflows(namespace)))[0] for namespace in namespaces]
        return [item for items in found for item in items]

    def _looked_s(self) -> float:
        times = []
        for _ in range(LOOKS):
            began = time.perf_counter()
            self._kubes[0].run("get", "workflows.flowy.dev", "--all-namespaces")
            times.append(time.perf_counter() - began)
        return statistics.median(times)

    async def _bytes(self, accept: str) -> int:
        """What the list of all Workflows has, as somebody gets it who asks for this kind of answer."""
        answer = await self._client._call("list", "GET", paths.workflows(), accept=accept)
        return len(json.dumps(answer, separators=(",", ":")).encode())


def _is_open(item: Json) -> bool:
    return str(item["metadata"]["name"]).startswith("open-")


async def _measured(sizes: Sizes, kubes: Sequence[Kube], operator: OperatorProcess) -> list[Figure]:
    async with await KubeClient.connect(str(kubes[0].kubeconfig)) as client:
        return await Large(sizes, kubes, operator, client).measure()


def main() -> None:
    sizes = _sizes()
    kubeconfig = cluster.up()
    name = f"scale-{uuid.uuid4().hex[:6]}"
    kubes = [Kube(kubeconfig, f"{name}-{n}") for n in range(NAMESPACES)]
    install_crds(kubeconfig)
    for kube in kubes:
        kube.run("create", "namespace", kube.namespace)
    others = [f"--namespace={kube.namespace}" for kube in kubes[1:]]
    with tempfile.TemporaryDirectory() as folder:
        operator = OperatorProcess(
            kubeconfig, kubes[0].namespace, Path(folder) / "log", log_level="info", options=others
        )
        try:
            operator.start()
            with fake_nodes(kubeconfig, FAKE_NODES):
                figures = asyncio.run(_measured(sizes, kubes, operator))
        finally:
            with suppress(AssertionError):
                operator.stop()
            _say("deleting all of it")  # and waiting, since the cluster is busy with that for minutes
            kubes[0].run("delete", "namespace", *(kube.namespace for kube in kubes))
    for one in figures:
        print(f"{one.name}: {one.value:.2f} {one.unit} {one.goal}".rstrip())
    if sizes == Sizes():
        report.write(figures)


def _sizes() -> Sizes:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.large", description="Much at once.")
    whole = Sizes()
    parser.add_argument("--open", type=int, default=whole.open, help="workflows that wait for something")
    parser.add_argument("--wide", type=int, default=whole.wide, help="tasks side by side")
    parser.add_argument("--chain", type=int, default=whole.chain, help="tasks one after the other")
    parser.add_argument("--seconds", type=int, default=whole.seconds, help="at most, clean-up aside")
    return Sizes(**vars(parser.parse_args()))


def _say(text: str) -> None:
    print(f"bench-scale: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
