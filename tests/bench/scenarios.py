"""The measured work: chains and fan-outs, once as workflows and once as bare Jobs."""

import asyncio
import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from flowy_operator.adapters.kube import paths
from flowy_operator.adapters.kube.client import KubeClient
from tests.bench.watching import Watcher, watching
from tests.e2e.manifests import BUSYBOX, CHAIN, shell, workflow

FAN_OUT = """
def fan_out(step, total):
    def run(n):
        return total([step(i) for i in range(n)])
    return run
"""
NEXT = "echo $(($1 + 1)) > $FLOWY_RESULT_FILE"
LENGTH = 'echo "\\"$1\\"" > $FLOWY_RESULT_FILE'
WRITES = ("POST", "PUT", "PATCH", "APPLY", "DELETE")
_METRIC = re.compile(r"^apiserver_request_total\{(?P<labels>[^}]*)\} (?P<value>\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')


Writes = Counter[tuple[str, str, str]]
"""Writes by (verb, resource, subresource)."""


@dataclass(frozen=True, slots=True)
class Run:
    """One workflow, measured: wall in seconds, and per step the time from a pod's end to the next Job, in seconds."""

    wall_s: float
    dead_s: Sequence[float]


async def chain(client: KubeClient, namespace: str, name: str, length: int) -> Run:
    """A chain of so many shell steps."""
    manifest = workflow(name, CHAIN, [shell("step", NEXT, "$(FLOWY_ARG_0)")], length)
    async with watching(client, namespace) as watcher:
        wall_s = await _run(client, namespace, manifest, watcher)
        jobs = sorted((at, job) for job, at in watcher.created.items() if job.startswith(name))
        return Run(
            wall_s, [watcher.created[after] - watcher.ended[before] for (_, before), (_, after) in pairwise(jobs)]
        )


async def fan_out(client: KubeClient, namespace: str, name: str, width: int) -> Run:
    """So many steps side by side, then one that gets all results."""
    tasks = [shell("step", NEXT, "$(FLOWY_ARG_0)"), shell("total", LENGTH, "$(FLOWY_ARG_0)")]
    async with watching(client, namespace) as watcher:
        return Run(await _run(client, namespace, workflow(name, FAN_OUT, tasks, width), watcher), ())


async def bare_chain(client: KubeClient, namespace: str, name: str, length: int) -> float:
    """The same steps as bare Jobs, each created when the pod before it has ended. Seconds."""
    async with watching(client, namespace) as watcher:
        began = time.monotonic()
        for n in range(length):
            await _bare(client, namespace, watcher, [f"{name}-{n}"])
        return time.monotonic() - began


async def bare_fan_out(client: KubeClient, namespace: str, name: str, width: int) -> float:
    async with watching(client, namespace) as watcher:
        began = time.monotonic()
        await _bare(client, namespace, watcher, [f"{name}-{n}" for n in range(width)])
        await _bare(client, namespace, watcher, [f"{name}-total"])
        return time.monotonic() - began


async def api_writes(client: KubeClient) -> Writes:
    """The API server's own count of writes that succeeded, by (verb, resource, subresource)."""
    counts: Writes = Counter()
    text = await _metrics(client)
    for match in _METRIC.finditer(text):
        labels = dict(_LABEL.findall(match["labels"]))
        if labels["verb"] in WRITES and labels["code"].startswith("2"):
            counts[labels["verb"], labels["resource"], labels["subresource"]] += int(float(match["value"]))
    return counts


async def _metrics(client: KubeClient) -> str:
    response = await client._send("get", "GET", "/metrics", timeout=client._timeout)
    content: bytes = await response.response.read()
    return content.decode()


async def _run(client: KubeClient, namespace: str, manifest: dict[str, Any], watcher: Watcher) -> float:
    """Seconds from the create of a Workflow to its completion, as its watch tells."""
    name = manifest["metadata"]["name"]
    began = time.monotonic()
    made = await client.create(paths.workflows(namespace), manifest)
    version = made["metadata"]["resourceVersion"]
    async with asyncio.timeout(600):
        async for event in client.watch(paths.workflows(namespace), resource_version=version, timeout_s=3600):
            if event.type == "BOOKMARK" or event.object["metadata"]["name"] != name:
                continue
            found = {c["type"]: c for c in event.object.get("status", {}).get("conditions", ())}
            if found.get("Succeeded", {}).get("status", "Unknown") != "Unknown":
                assert found["Succeeded"]["status"] == "True", found["Succeeded"]
                return time.monotonic() - began
    raise AssertionError


async def _bare(client: KubeClient, namespace: str, watcher: Watcher, names: Sequence[str]) -> None:
    """Create these Jobs at once and wait for the end of all their pods."""
    await asyncio.gather(*(client.create(paths.jobs(namespace), _bare_job(name)) for name in names))
    await watcher.until(lambda: all(name in watcher.ended for name in names))
    assert all(watcher.phases[name] == "Succeeded" for name in names)


def _bare_job(name: str) -> dict[str, Any]:
    main = {"name": "main", "image": BUSYBOX, "command": ["sh", "-c", "echo 1 > /dev/termination-log"]}
    pod = {"restartPolicy": "Never", "automountServiceAccountToken": False, "containers": [main]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"backoffLimit": 0, "template": {"spec": pod}},
    }
