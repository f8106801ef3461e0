"""The figures as a list in JSON, and the same as a table for people."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measurement. `raw` is the ceiling beside it: the same work without us, or None where there is none."""

    name: str
    value: float
    unit: str
    goal: str
    raw: float | None
    command: str
    date: str


def figure(name: str, value: float, unit: str, goal: str, raw: float | None = None) -> Figure:
    """One of `make bench`, of today."""
    date = datetime.now(UTC).date().isoformat()
    return Figure(name=name, value=value, unit=unit, goal=goal, raw=raw, command="make bench", date=date)


def write(figures: Sequence[Figure], folder: Path = DOCS) -> None:
    """Put these figures into `performance.json` and `performance.md`; those of other names stay as they are."""
    data = folder / "performance.json"
    known = {f["name"]: f for f in json.loads(data.read_text())} if data.exists() else {}
    known |= {figure.name: asdict(figure) for figure in figures}
    ordered = [known[name] for name in sorted(known)]
    data.write_text(json.dumps(ordered, indent=1, ensure_ascii=False) + "\n")
    (folder / "performance.md").write_text(page([Figure(**fields) for fields in ordered]))


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
        "about what a Job does; *children-of-5* have five tasks each.",
        "Heartbeats are measured without a cluster: 1,000 pods send one a second each to an operator over a stand-in of the",
        "API server; what is counted is the operator's CPU, and its calls of the API server meanwhile.",
        "Decisions are measured without a cluster, too, through all locks, 10 ms apart; those per second without a pause, by",
        "four clients. *Hostile* are 20 workflows in namespaces of their own that loop, take memory or make forbidden calls;",
        "beside their figure stands that of the same decisions without them.",
        "*Chart* and *pod* are about two replicas as `helm install` makes them: beside the rendering stands helm doing nothing;",
        "ready is from the start of the first container on, memory is the leader's pod with its decider, half a minute later.",
        "",
        "| figure | value | beside it | goal | date |",
        "| --- | --- | --- | --- | --- |",
    ]
    for figure in figures:
        raw = "" if figure.raw is None else _number(figure.raw, figure.unit)
        lines.append(
            f"| {figure.name} | {_number(figure.value, figure.unit)} | {raw} | {figure.goal} | {figure.date} |"
        )
    return "\n".join([*lines, ""])


def _number(value: float, unit: str) -> str:
    return f"{value:,.{0 if value >= 100 else 1 if value >= 10 else 2}f} {unit}"
