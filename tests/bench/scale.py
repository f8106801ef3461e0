"""The same work at a scale that one machine's containers don't bear: on fake nodes, whose pods end at once.

What is measured is thus the control plane and us. Beside each rate is that of as many Jobs of the same content, created by
hand as fast as the API server takes them, in the same run: what it does without us is the ceiling. Jobs with nothing in
them but an image are measured too. They cost the API server, etcd and the controllers about half: each of a dozen writes
and three dozen watch events a Job is as dear as the object is long, and the contract with containers has its length.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flowy_operator.adapters.kube import paths
from flowy_operator.adapters.kube.client import Json, KubeClient
from flowy_operator.adapters.kube.errors import NotFound
from tests.bench.watching import watching
from tests.cluster.fake_nodes import POD_TEMPLATE
from tests.e2e.manifests import workflow
from tests.e2e.operator import OperatorProcess

FAKE_NODES = 5
MANY = 300
AT_ONCE = 20  # as many creates in flight as the operator has
LIMIT_S = 900.0

WIDE = """
def wide(step):
    def run(n):
        return len([r for r in [step(i) for i in range(n)] if r == 1])
    return run
"""
ONE = """
def one(step):
    def run():
        return step(1)
    return run
"""
NESTED = """
def parent(child):
    def run(n, tasks):
        return [child(tasks) for _ in range(n)]
    return run

def child(step):
    def run(tasks):
        return [step(i) for i in range(tasks)]
    return run
"""
STEP = {"name": "step", "activity": {"image": "none.invalid/step", "template": POD_TEMPLATE}}
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Rate:
    """Tasks a second, what each cost operators and deciders in CPU milliseconds, and the CPU seconds of the busiest operator."""

    per_s: float
    cpu_ms: float = 0.0
    busiest_s: float = 0.0


async def bare(client: KubeClient, namespace: str, count: int, content: Json | None = None) -> Rate:
    """So many Jobs by hand, from the first create to the last pod's end; with nothing but an image, or with a `content`."""
    async with watching(client, namespace) as watcher:
        began = time.monotonic()
        await side_by_side(client.create(paths.jobs(namespace), _job(f"bare-{n}", content)) for n in range(count))
        await watcher.until(lambda: sum(job.startswith("bare-") for job in watcher.ended) >= count, LIMIT_S)
        rate = Rate(count / (time.monotonic() - began))
    await _clear(client, namespace, paths.jobs(namespace))
    return rate


async def content_of_a_job(client: KubeClient, namespace: str) -> Json:
    """What the operator's Jobs hold, by one that it has made, without what makes them its own: owner and name."""
    await client.create(paths.workflows(namespace), workflow("content", ONE, [STEP], jobs=_KEEP))
    await _ended(client, namespace)
    (job,), _ = await client.list(paths.jobs(namespace))
    await _clear(client, namespace, paths.workflows(namespace))
    spec = job["spec"]
    spec.pop("selector")
    labels = spec["template"]["metadata"]["labels"]
    for added in [label for label in labels if "job-name" in label or "controller-uid" in label]:
        del labels[added]
    return {"labels": job["metadata"]["labels"], "annotations": job["metadata"]["annotations"], "spec": spec}


async def wide(client: KubeClient, namespace: str, operator: OperatorProcess, count: int, parallelism: int) -> Rate:
    """One workflow with so many tasks, of which so many may be open at once; to the end of the last pod."""
    manifest = workflow("wide", WIDE, [STEP], count, parallelism=parallelism, jobs=_KEEP)
    return await _measured(client, namespace, [operator], [manifest], count)


async def many(client: KubeClient, namespace: str, operators: Sequence[OperatorProcess], count: int) -> Rate:
    """So many workflows with one task each, by operators that share them."""
    manifests = [workflow(f"one-{n}", ONE, [STEP], jobs=_KEEP) for n in range(count)]
    return await _measured(client, namespace, operators, manifests, count)


async def children(client: KubeClient, namespace: str, operator: OperatorProcess, count: int, each: int) -> Rate:
    """One workflow with so many sub-workflows of so many tasks each; the rate is that of the tasks."""
    tasks = [{"name": "child", "workflow": {"entrypoint": "child"}}, STEP]
    code = {"source": NESTED, "entrypoint": "parent"}
    manifest = workflow("nested", NESTED, tasks, count, each, parallelism=count, jobs=_KEEP, code=code)
    return await _measured(client, namespace, [operator], [manifest], count * each)


_KEEP = {"keepSucceededSeconds": 3600}  # clean-up would be measured too, and bare Jobs have none


async def _measured(
    client: KubeClient,
    namespace: str,
    operators: Sequence[OperatorProcess],
    manifests: list[dict[str, Any]],
    tasks: int,
) -> Rate:
    before = [cpu_s(operator.pid) for operator in operators]
    async with watching(client, namespace) as watcher:
        began = time.monotonic()
        await side_by_side(client.create(paths.workflows(namespace), manifest) for manifest in manifests)
        await watcher.until(lambda: len(watcher.ended) >= tasks, LIMIT_S)
        wall_s = time.monotonic() - began
    await _ended(client, namespace)
    used = [cpu_s(operator.pid) - used for operator, used in zip(operators, before, strict=True)]
    rate = Rate(tasks / wall_s, sum(used) * 1000 / tasks, max(used))
    await _clear(client, namespace, paths.workflows(namespace))
    return rate


@dataclass(frozen=True, slots=True)
class Open:
    """Open workflows: memory of the operator and its decider with them, and a start in which each has news.

    `each_bytes` is by how much that memory has grown for each.
    """

    rss_bytes: int
    each_bytes: float
    start_s: float


async def open_workflows(client: KubeClient, namespace: str, operator: OperatorProcess, count: int) -> Open:
    """So many workflows that wait for a retry an hour away; all are changed while no operator runs."""
    step = STEP | {"retry": {"delaysSeconds": [3600]}}
    manifests = [workflow(f"open-{n}", ONE, [step]) for n in range(count)]
    before = rss_bytes(operator.pid)
    await side_by_side(client.create(paths.workflows(namespace), manifest) for manifest in manifests)
    await _observed(client, namespace, 1, count)
    await asyncio.sleep(2)
    resident = rss_bytes(operator.pid)
    operator.stop()
    patch = [{"op": "add", "path": "/spec/parallelism", "value": 7}]
    names = [manifest["metadata"]["name"] for manifest in manifests]
    await side_by_side(client.json_patch(paths.workflows(namespace, name), patch) for name in names)
    began = time.monotonic()
    operator.start()
    await _observed(client, namespace, 2, count)
    started = Open(resident, (resident - before) / count, time.monotonic() - began)
    await _clear(client, namespace, paths.workflows(namespace))
    return started


async def _observed(client: KubeClient, namespace: str, generation: int, count: int) -> None:
    """Wait until so many Workflows have a status of this generation, as their watch tells."""
    items, version = await client.list(paths.workflows(namespace))
    seen = {item["metadata"]["name"] for item in items if _generation(item) >= generation}
    async with asyncio.timeout(LIMIT_S):
        async for event in client.watch(paths.workflows(namespace), resource_version=version, timeout_s=3600):
            if event.type == "MODIFIED" and _generation(event.object) >= generation:
                seen.add(event.object["metadata"]["name"])
            if len(seen) >= count:
                return


def _generation(item: Any) -> int:
    return int((item.get("status") or {}).get("observedGeneration", 0))


async def _ended(client: KubeClient, namespace: str) -> None:
    """Wait until all Workflows have ended, children too."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            items, _ = await client.list(paths.workflows(namespace))
            found = [item.get("status", {}).get("conditions", ()) for item in items]
            ends = [c["status"] for conditions in found for c in conditions if c["type"] == "Succeeded"]
            assert "False" not in ends, "a workflow failed"
            if ends.count("True") == len(items):
                return
            await asyncio.sleep(0.2)


async def _clear(client: KubeClient, namespace: str, path: str) -> None:
    """Delete all objects of this path, and wait for the Jobs and pods to go with them."""
    items, _ = await client.list(path)
    await side_by_side(_delete(client, f"{path}/{item['metadata']['name']}") for item in items)
    async with asyncio.timeout(LIMIT_S):
        for kind in (paths.jobs, paths.pods):
            while (await client.list(kind(namespace)))[0]:  # noqa: ASYNC110  the API server sets no event here
                await asyncio.sleep(0.5)


async def _delete(client: KubeClient, path: str) -> None:
    with suppress(NotFound):
        await client.delete(path)


async def side_by_side(calls: Iterable[Awaitable[Any]]) -> None:
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(call: Awaitable[Any]) -> None:
        async with slots:
            await call

    await asyncio.gather(*(one(call) for call in calls))


def _job(name: str, content: Json | None) -> Json:
    metadata: Json = {"name": name}
    if content is None:
        pod = {"restartPolicy": "Never", "containers": [{"name": "main", "image": "none.invalid/step"}]}
        spec: Json = {"backoffLimit": 0, "template": {"spec": POD_TEMPLATE["spec"] | pod}}
    else:
        metadata |= {"labels": content["labels"], "annotations": content["annotations"]}
        spec = content["spec"]
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}


def family(pid: int) -> list[int]:
    """A process and all below it: the decider is a child of the operator, and has some of its own."""
    pids = [pid]
    for parent in pids:
        with suppress(FileNotFoundError, ProcessLookupError):
            for task in Path(f"/proc/{parent}/task").iterdir():
                pids += [int(child) for child in (task / "children").read_text().split()]
    return pids


def cpu_s(pid: int) -> float:
    """CPU seconds of a process and all below it, those that have ended included."""
    total = 0
    for one in family(pid):
        with suppress(FileNotFoundError, ProcessLookupError):
            total += sum(int(n) for n in Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()[11:15])
    return total / _TICKS


def rss_bytes(pid: int) -> int:
    """Resident memory of a process and all below it."""
    total = 0
    for one in family(pid):
        with suppress(FileNotFoundError, ProcessLookupError):
            total += int(Path(f"/proc/{one}/statm").read_text().split()[1])
    return total * os.sysconf("SC_PAGE_SIZE")
