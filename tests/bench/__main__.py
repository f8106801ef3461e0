"""`make bench`: measure, write docs/performance.json and docs/performance.md, and say what has moved.

It exits with 0 whatever the figures are; with `--strict`, not if one is worse than it has ever been.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
import uuid
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from flowy_operator.adapters.kube import paths
from flowy_operator.adapters.kube.client import Json, KubeClient
from flowy_operator.core.pages import PageLimits
from tests.bench import (
    chart,
    command_line,
    decider,
    default_limits,
    heartbeats,
    history,
    laptop,
    moved,
    report,
    scale,
    scenarios,
    shards,
)
from tests.bench.figures import Figure, figure
from tests.bench.scenarios import Writes
from tests.cluster import cluster
from tests.cluster.fake_nodes import fake_nodes
from tests.e2e.kube import Kube, install_crds
from tests.e2e.operator import OperatorProcess

ROUNDS = 3
MIB = 1024 * 1024
WIDE, NARROW, CHILDREN, EACH, OPEN = 1000, 20, 200, 5, 1000
LONG = 2000


REAL, FAKE, HISTORY = "real", "fake", "history"
"""With an operator on the real node, with one on fake nodes, and without one."""

OTHERS: Mapping[str, tuple[str, Callable[[Path], list[Figure]]]] = {
    "limits": ("a control plane with Kubernetes' own limits", default_limits.figures),
    "shards": ("two replicas with a shard each beside one with both", shards.figures),
    "chart": ("Flowy as its chart installs it", chart.figures),
    "decisions": ("decisions, on the Python of the images", lambda _: decider.figures()),
    "heartbeats": ("1,000 heartbeats a second, without the cluster", lambda _: heartbeats.figures()),
    "commands": ("the command line", lambda _: command_line.figures()),
    "laptop": ("the laptop: local engine, replay, report", lambda _: laptop.figures()),
}
PARTS = (REAL, FAKE, HISTORY, *OTHERS)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Measure, and say what has moved.")
    parser.add_argument("--strict", action="store_true", help="fail where a figure is worse")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="some of it; the other figures stay")
    given = parser.parse_args()
    kubeconfig = cluster.up()
    if not {REAL, FAKE, HISTORY}.isdisjoint(given.only):
        _on_the_cluster(kubeconfig, given.only)
    for part, (words, figures) in OTHERS.items():
        if part in given.only:
            _say(words)
            _keep(figures(kubeconfig))
    print(report.page(report.known()))
    return moved.tell(strict=given.strict)


def _on_the_cluster(kubeconfig: Path, parts: Collection[str]) -> None:
    kube = Kube(kubeconfig, f"bench-{uuid.uuid4().hex[:6]}")
    install_crds(kubeconfig)
    kube.run("create", "namespace", kube.namespace)
    with tempfile.TemporaryDirectory() as folder:
        operator = OperatorProcess(kubeconfig, kube.namespace, Path(folder) / "log", log_level="info")
        operator.start()
        try:
            if REAL in parts:
                _keep(asyncio.run(_measure(kube, operator)))
            if FAKE in parts:
                with fake_nodes(kubeconfig, scale.FAKE_NODES):
                    _keep(asyncio.run(_at_scale(kube, operator)))
            operator.stop()
            if HISTORY in parts:
                _keep(asyncio.run(_of_the_history(kube)))
        finally:
            operator.stop()
            kube.run("delete", "namespace", kube.namespace, "--wait=false")


def _keep(figures: list[Figure]) -> None:
    """At once: a fault of what comes next is not to cost what has been measured."""
    report.write(figures)


async def _measure(kube: Kube, operator: OperatorProcess) -> list[Figure]:
    idle_mib = scale.rss_bytes(operator.pid) / MIB
    async with await KubeClient.connect(str(kube.kubeconfig)) as client:
        namespace = kube.namespace
        _say("warming up")
        await scenarios.chain(client, namespace, "warm", 2)
        await scenarios.bare_chain(client, namespace, "bare-warm", 2)
        _say("a chain of 20")
        dead_s = sorted((await scenarios.chain(client, namespace, "chain20", 20)).dead_s)
        chains, bare_chains, fans, bare_fans, writes, own = [], [], [], [], [], []
        for n in range(ROUNDS):
            _say(f"round {n + 1} of {ROUNDS}: chains of 5, bare Jobs, fan-outs of 20 + 1")
            chains.append((await scenarios.chain(client, namespace, f"chain{n}", 5)).wall_s)
            bare_chains.append(await scenarios.bare_chain(client, namespace, f"bare-chain{n}", 5))
            before = await _settled(client)
            fans.append((await scenarios.fan_out(client, namespace, f"fan{n}", 20)).wall_s)
            made = await _settled(client) - before
            writes.append(made.total() / 21)
            own.append(await _own_writes(client, namespace, f"fan{n}", made) / 21)
            bare_fans.append(await scenarios.bare_fan_out(client, namespace, f"bare-fan{n}", 20))
    middle = statistics.median
    return [
        figure("dead-time-p50-ms", middle(dead_s) * 1000, "ms", "<= 50 ms"),
        figure("dead-time-p99-ms", dead_s[-1] * 1000, "ms", "<= 250 ms"),
        figure("chain-of-5-s", middle(chains), "s", "<= 1.3 x bare Jobs", middle(bare_chains)),
        figure("fan-out-20-s", middle(fans), "s", "<= 1.3 x bare Jobs", middle(bare_fans)),
        figure("own-writes-per-task", middle(own), "writes", "<= 2"),
        figure("cluster-writes-per-task", middle(writes), "writes", "Argo Workflows 4.1.2: 32-34"),
        figure("rss-idle-mib", idle_mib, "MiB", "<= 120 MiB"),
    ]


async def _at_scale(kube: Kube, operator: OperatorProcess) -> list[Figure]:
    namespace = kube.namespace
    async with await KubeClient.connect(str(kube.kubeconfig)) as client:
        _say(f"fake nodes: {WIDE:,} Jobs by hand, with nothing but an image")
        least = await scale.bare(client, namespace, WIDE)
        content = await scale.content_of_a_job(client, namespace)
        before = await _bare(client, namespace, content)
        _say(f"one workflow with {WIDE:,} tasks")
        wide = await scale.wide(client, namespace, operator, WIDE, WIDE)
        between = await _bare(client, namespace, content)
        _say(f"the same with parallelism {NARROW}")
        narrow = await scale.wide(client, namespace, operator, WIDE, NARROW)
        _say(f"{scale.MANY} workflows with a task each")
        many = await scale.many(client, namespace, [operator], scale.MANY)
        _say(f"one workflow with {CHILDREN} sub-workflows of a task each")
        nested = await scale.children(client, namespace, operator, CHILDREN, 1)
        _say(f"one workflow with {CHILDREN} sub-workflows of {EACH} tasks each")
        families = await scale.children(client, namespace, operator, CHILDREN, EACH)
        after = await _bare(client, namespace, content)
        _say(f"{OPEN:,} open workflows")
        opened = await scale.open_workflows(client, namespace, operator, OPEN)
    # A machine that others use, too, has another speed each minute: what stands beside a figure was measured on both sides.
    beside_wide, beside_others = statistics.mean((before, between)), statistics.mean((between, after))
    goal = ">= 90 % of the same Jobs by hand"
    return [
        figure("throughput-wide-per-s", wide.per_s, "/s", goal, beside_wide),
        figure("throughput-wide-20-per-s", narrow.per_s, "/s", "", beside_others),
        figure("throughput-workflows-per-s", many.per_s, "/s", goal, beside_others),
        figure("throughput-children-per-s", nested.per_s, "/s", goal, beside_others),
        figure("throughput-children-of-5-per-s", families.per_s, "/s", goal, beside_others),
        figure("throughput-jobs-with-an-image-alone-per-s", least.per_s, "/s", ""),
        figure("cpu-per-task-ms", wide.cpu_ms, "ms", "<= 5 ms"),
        figure("cpu-per-workflow-ms", many.cpu_ms, "ms", ""),
        figure("rss-1000-open-mib", opened.rss_bytes / MIB, "MiB", "<= 200 MiB"),
        figure("rss-per-open-kib", opened.each_bytes / 1024, "KiB", "<= 50 KiB"),
        figure("start-1000-open-s", opened.start_s, "s", "<= 10 s"),
    ]


async def _bare(client: KubeClient, namespace: str, content: Json) -> float:
    _say(f"{WIDE:,} Jobs by hand, as the operator makes them")
    return (await scale.bare(client, namespace, WIDE, content)).per_s


async def _of_the_history(kube: Kube) -> list[Figure]:
    """Without an operator: the writes are its own, of workflows that nobody else may touch."""
    async with await KubeClient.connect(str(kube.kubeconfig)) as client:
        _say(f"the writes of a chain of {LONG:,}")
        long = await history.chain(client, kube.namespace, "long", LONG, PageLimits())
        whole = await history.chain(client, kube.namespace, "whole", LONG // 2, history.unsealed())
    return [
        figure("write-first-steps-ms", long.first_ms, "ms", "", whole.first_ms),
        figure("write-last-steps-ms", long.last_ms, "ms", "<= 1.5 x the first steps'; beside: unsealed", whole.last_ms),
    ]


async def _settled(client: KubeClient) -> Writes:
    """The write counts once the controllers have caught up: unchanged, leases aside, for two seconds."""
    known = _without_noise(await scenarios.api_writes(client))
    for _ in range(30):
        await asyncio.sleep(2)
        counts = _without_noise(await scenarios.api_writes(client))
        if counts == known:
            break
        known = counts
    return known


def _without_noise(counts: Writes) -> Writes:
    """Without what goes on all the time: heartbeats of nodes and leaders, questions about rights and tokens."""
    noise = {
        "leases",
        "nodes",
        "subjectaccessreviews",
        "tokenreviews",
        "localsubjectaccessreviews",
        "selfsubjectaccessreviews",
    }
    return Writes({key: n for key, n in counts.items() if key[1] not in noise})


async def _own_writes(client: KubeClient, namespace: str, name: str, made: Writes) -> int:
    """The operator's share: status patches of Workflows, creates of Jobs, its Kubernetes Events."""
    events, _ = await client.list(paths.events(namespace))
    own_events = sum(
        1 for e in events if e["involvedObject"]["kind"] == "Workflow" and e["involvedObject"]["name"] == name
    )
    return made["PATCH", "workflows", "status"] + made["POST", "jobs", ""] + made["DELETE", "jobs", ""] + own_events


def _say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
