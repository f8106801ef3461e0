"""The figures as a list in JSON, and the same as a table for people."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tests.bench import ranges
from tests.bench.figures import Figure, number

DOCS = Path(__file__).resolve().parents[2] / "docs"


def known(folder: Path = DOCS) -> list[Figure]:
    """The figures that were measured last."""
    data = folder / "performance.json"
    return [Figure(**fields) for fields in json.loads(data.read_text())] if data.exists() else []


def write(figures: Sequence[Figure], folder: Path = DOCS) -> None:
    """Put these figures into `performance.json` and `performance.md`; those of other names stay as they are."""
    by_name = {figure.name: figure for figure in [*known(folder), *figures]}
    ordered = [by_name[name] for name in sorted(by_name)]
    listed = [asdict(figure) for figure in ordered]
    (folder / "performance.json").write_text(json.dumps(listed, indent=1, ensure_ascii=False) + "\n")
    (folder / "performance.md").write_text(page(ordered))


def page(figures: Sequence[Figure]) -> str:
    """The table, in Markdown."""
    lines = [
        "# Performance",
        "",
        "Made by `make bench` on the embedded cluster of the tests: one real node that shares two cores with the API",
        "server, etcd, the controllers and the operator. *Beside it* is the same work as bare Jobs, started one after the",
        "other by a loop that sees a pod's end as fast as the API server tells it, in the same run on the same machine.",
        "*Throughput* is on fake nodes, whose pods end at once; beside it are Jobs of the same content created by hand. Those",
        "with nothing in them but an image cost the control plane about half, and stand in a row of their own. *Workflows* and",
        "*children* have one task each: each is an object more, with a create and two status writes, which cost the API server",
        "about what a Job does; *children-of-5* have five tasks each. *Default-limits* is 100 workflows of a task each where",
        "nobody has raised the limits of Kubernetes' own controllers.",
        "Heartbeats are measured without a cluster: 1,000 pods send one a second each to an operator over a stand-in of the",
        "API server; what is counted is the operator's CPU, and its calls of the API server meanwhile.",
        "Decisions are measured without an operator, too, on the Python of the published images, through all locks, 10 ms",
        "apart; those per second without a pause, by four clients, the median of five times. *Small* is a function of four",
        "lines that calls four tasks, over three results; *medium* is fifty lines with classes and seven modules, over 64;",
        "*1000* and *10000* are so many calls side by side, each result looked at. They are replays; a *step* is one by a",
        "process that stayed, as it does where a history has twenty tasks or more: after a pause with 10,000 tasks, else",
        "without one. *Hostile* are 20 workflows in namespaces of their own that loop, take memory or make forbidden calls;",
        "beside their figure stands that of the same small decisions without them. *Private* is what a process shares with no",
        "other when it is about to answer, having been asked at once; *waiting* what one has that was made ahead and is warm.",
        "*Chart* and *pod* are about two replicas as `helm install` makes them: beside the rendering stands helm doing nothing;",
        "ready is from the start of the first container on, memory is the leader's pod with its decider, half a minute later.",
        "*Linear* is how much dearer a task is in the largest of 1,000 to 10,000 tasks, or where it is dearest: the operator's",
        "CPU, and its writes. It is measured without a cluster, by `make bench-linear`: *wide* and *chain* are one workflow,",
        "*many* are workflows of a task each in 20 namespaces. *Scale* is `make bench-scale`: 1,000 open workflows in 20",
        "namespaces, beside them one of 10,000 tasks side by side and one of 5,000 in a chain, for 12 minutes. In the midst of",
        "it the operator is stopped, each open workflow changed, and the operator started: *watching* is until it has listed all,",
        "*start* until it has recorded a task again, *caught-up* until each change is seen. *kubectl-get* and *list* are of all",
        "Workflows, *busy* in the midst of it.",
        "*Shards* is the same work by two replicas with a shard each, and beside it by one that looks after both: on one machine",
        "with the API server they share what it leaves. The busiest replica's CPU says how far two machines would go.",
        "",
        "*Seen* is what the figure has been in all runs so far, in terms that can be compared between two of them: as it is;",
        "with an x, as a multiple of what stands beside it; *at pace*, as it would be if a fixed piece of work, timed within the",
        f"same minute, took {ranges.UNIT_PACE_MS:.0f} ms. Sizes and counts are the same on any machine. Rates that the API server bounds go up and",
        "down with it, and so does the same work by hand. Whatever is CPU of ours goes with the pace: this machine is shared, and",
        "twice as fast at one hour as at another. `make bench` says at its end what has moved; `make bench-ranges` takes the",
        "figures into the ranges.",
        "",
        "| figure | value | beside it | goal | seen | date |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    known_ranges = ranges.load()
    for figure in figures:
        value = f"{number(figure.value)} {figure.unit}"
        raw = "" if figure.raw is None else f"{number(figure.raw)} {figure.unit}"
        seen = known_ranges.get(figure.name, "")
        lines.append(f"| {figure.name} | {value} | {raw} | {figure.goal} | {seen} | {figure.date} |")
    return "\n".join([*lines, ""])
