"""Every figure that the operator gives Prometheus, and how it is written.

    what happens   a method named after it, called where it happens: a counter or a histogram
    what is so     a `Snapshot`, made by whoever knows when somebody asks, at no cost in between

The registry is this object's own, so several operators may live in one process. Labels take values of known sets only,
since each value is a series of its own for ever: no names of workflows, tasks or pods.
"""

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from importlib.metadata import version
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from flowy_operator.core.conditions import Blocker
from flowy_operator.core.errors import StallReason
from flowy_operator.core.history import (
    Fact,
    TaskCancelled,
    TaskCompleted,
    TaskDisrupted,
    TaskFailed,
    TaskScheduled,
    TaskTimedOut,
)

L = TypeVar("L")

PASS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
DECISION_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)
DEAD_TIME_S = (0.5, 1.0, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 300.0)
"""A container's end is known in whole seconds, so what takes no time at all counts as anything up to one."""


class Outcome(StrEnum):
    """How a pass over a workflow ended."""

    DONE = "done"
    AGAIN = "again"  # the cluster said "not now", or somebody wrote first
    FAILED = "failed"  # a bug of ours; the log has a traceback


class TaskEnd(StrEnum):
    """How a task ended for good."""

    COMPLETED = "completed"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What is so at one moment. `api_calls`, `watch_restarts`, `waited_s`, `taken` and `events_dropped` count since the start.

    `api_calls` by (verb, resource, status code), 0 standing for no answer; `watch_restarts` by (resource, cause);
    `stalled` by reason, `foreign` by kind; `leads` says of each shard whether this replica looks after it.
    """

    leads: Mapping[int, bool] = field(default_factory=dict)
    queue_depth: int = 0
    oldest_wait_s: float = 0.0
    taken: int = 0
    waited_s: float = 0.0
    open_workflows: int = 0
    open_tasks: int = 0
    events_dropped: int = 0
    stalled: Mapping[str, int] = field(default_factory=dict)
    foreign: Mapping[str, int] = field(default_factory=dict)
    api_calls: Mapping[tuple[str, str, int], int] = field(default_factory=dict)
    watch_restarts: Mapping[tuple[str, str], int] = field(default_factory=dict)

    def counters(self) -> "Snapshot":
        """What of it counts since the start."""
        return Snapshot(
            taken=self.taken,
            waited_s=self.waited_s,
            events_dropped=self.events_dropped,
            api_calls=self.api_calls,
            watch_restarts=self.watch_restarts,
        )


def together(found: Sequence[Snapshot]) -> Snapshot:
    """What is so of several operators that look after different shards."""
    return Snapshot(
        leads={shard: leads for one in found for shard, leads in one.leads.items()},
        queue_depth=sum(one.queue_depth for one in found),
        oldest_wait_s=max((one.oldest_wait_s for one in found), default=0.0),
        taken=sum(one.taken for one in found),
        waited_s=sum(one.waited_s for one in found),
        open_workflows=sum(one.open_workflows for one in found),
        open_tasks=sum(one.open_tasks for one in found),
        events_dropped=sum(one.events_dropped for one in found),
        stalled=_sums([one.stalled for one in found]),
        foreign=_sums([one.foreign for one in found]),
        api_calls=_sums([one.api_calls for one in found]),
        watch_restarts=_sums([one.watch_restarts for one in found]),
    )


def _sums(found: Sequence[Mapping[L, int]]) -> Mapping[L, int]:
    """By label. Zeros stay: a series that is there must not go."""
    sums: dict[L, int] = {}
    for one in found:
        for label, count in one.items():
            sums[label] = sums.get(label, 0) + count
    return sums


class Metrics:
    """`look` makes the snapshot that a scrape shows; `ends` are those that a decision can have."""

    def __init__(self, look: Callable[[], Snapshot] = Snapshot, ends: Iterable[str] = ()) -> None:
        self._registry = registry = CollectorRegistry()
        self._passes = Histogram(
            "flowy_reconcile_seconds",
            "Passes over a workflow, by how they ended: done, again, failed",
            ["outcome"],
            buckets=PASS_S,
            registry=registry,
        )
        self._decisions = Histogram(
            "flowy_decision_seconds",
            "Decisions by how they ended, from when their process was asked",
            ["end"],
            buckets=DECISION_S,
            registry=registry,
        )
        self._spared = Counter(
            "flowy_decisions_spared",
            "Decisions that weren't asked for: what had ended couldn't change what the last one said",
            registry=registry,
        )
        self._stayed = Counter(
            "flowy_staying_children",
            "What became of processes that stayed for the next decision of their run",
            ["fate"],
            registry=registry,
        )
        self._dead_times = Histogram(
            "flowy_dead_time_seconds",
            "From the end of a container to the creation of the Jobs that follow from it",
            buckets=DEAD_TIME_S,
            registry=registry,
        )
        self._tasks = Counter("flowy_tasks", "Tasks that have ended for good", ["outcome"], registry=registry)
        self._retries = Counter("flowy_retries", "Attempts after the first of a task", registry=registry)
        self._disruptions = Counter(
            "flowy_disruptions", "Launches that the cluster ended: evicted, preempted, node lost", registry=registry
        )
        self._workflows = Counter("flowy_workflows", "Workflows that have ended", ["reason"], registry=registry)
        self._stalls = Counter("flowy_stalls", "Workflows that have begun to stall", ["reason"], registry=registry)
        self._gateway = Counter("flowy_gateway_calls", "Calls of activities", ["path", "code"], registry=registry)
        # From the start on, so that the first of a kind is a change that an alert can see.
        for outcome in Outcome:
            self._passes.labels(outcome)
        for end in TaskEnd:
            self._tasks.labels(end)
        for one in ends:
            self._decisions.labels(one)
        for reason in (*StallReason, *Blocker):
            self._stalls.labels(reason)
        registry.register(_Moment(look))
        ProcessCollector(registry=registry)

    def text(self) -> tuple[bytes, str]:
        """All of it in Prometheus' text format, and that format's content type."""
        return generate_latest(_Ageless(self._registry)), CONTENT_TYPE_PLAIN_0_0_4

    def reconciled(self, outcome: Outcome, seconds: float) -> None:
        self._passes.labels(outcome).observe(seconds)

    def decided(self, end: str, seconds: float) -> None:
        """`end` is one of the decider's own words."""
        self._decisions.labels(end).observe(seconds)

    def decision_spared(self) -> None:
        """Tasks have ended, and the last decision still holds."""
        self._spared.inc()

    def stayed(self, fate: str) -> None:
        """`fate` is one of the decider's own words."""
        self._stayed.labels(fate).inc()

    def launched(self, after_s: float) -> None:
        """Jobs were created, so long after the end of the container that they follow from."""
        self._dead_times.observe(max(after_s, 0.0))  # a node's clock may be ahead

    def recorded(self, facts: Iterable[Fact]) -> None:
        """These facts are on record."""
        for fact in facts:
            match fact:
                case TaskScheduled(attempt=attempt) if attempt > 1:
                    self._retries.inc()
                case TaskDisrupted():
                    self._disruptions.inc()
                case TaskCompleted():
                    self._tasks.labels(TaskEnd.COMPLETED).inc()
                case TaskFailed(final=True):
                    self._tasks.labels(TaskEnd.FAILED).inc()
                case TaskTimedOut(final=True):
                    self._tasks.labels(TaskEnd.TIMED_OUT).inc()
                case TaskCancelled():
                    self._tasks.labels(TaskEnd.CANCELLED).inc()
                case _:
                    pass

    def stalled(self, reason: str) -> None:
        """A workflow has begun to stall, or does so for another reason than before."""
        self._stalls.labels(reason).inc()

    def ended(self, reason: str) -> None:
        """A workflow has ended."""
        self._workflows.labels(reason).inc()

    def answered(self, path: str, code: int) -> None:
        """A call of an activity was answered. `path` is one that there is, or the same word for all others."""
        self._gateway.labels(path, code).inc()


class _Ageless(Collector):
    """A registry's metrics without the time at which each series began: half as many lines again, which nobody asks for.

    The library's own switch is for the whole process.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        for metric in self._registry.collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric


class _Moment(Collector):
    """Shows a snapshot, anew for each scrape."""

    def __init__(self, look: Callable[[], Snapshot]) -> None:
        self._look = look

    def describe(self) -> Iterator[Metric]:
        """The names alone: asking for the values at the start would be too early."""
        return self._families(Snapshot())

    def collect(self) -> Iterator[Metric]:
        return self._families(self._look())

    def _families(self, now: Snapshot) -> Iterator[Metric]:
        leader = GaugeMetricFamily("flowy_leader", "1 on the replica that looks after this shard", labels=["shard"])
        for shard, leads in now.leads.items():
            leader.add_metric([str(shard)], leads)
        yield leader
        built = GaugeMetricFamily("flowy_build_info", "What runs here", labels=["version", "python"])
        built.add_metric([version("flowy-operator"), platform.python_version()], 1)
        yield built
        yield GaugeMetricFamily("flowy_queue_depth", "Workflows that wait for a pass", value=now.queue_depth)
        yield GaugeMetricFamily(
            "flowy_queue_oldest_wait_seconds", "How long the one has waited that waits longest", value=now.oldest_wait_s
        )
        yield SummaryMetricFamily(
            "flowy_queue_wait_seconds", "Waits for a pass that are over", count_value=now.taken, sum_value=now.waited_s
        )
        yield GaugeMetricFamily("flowy_open_workflows", "Workflows that have not ended", value=now.open_workflows)
        yield GaugeMetricFamily("flowy_open_tasks", "Tasks with an attempt that is under way", value=now.open_tasks)
        stalled = GaugeMetricFamily(
            "flowy_stalled_workflows", "Workflows that have not ended and can't go on now", labels=["reason"]
        )
        for reason, count in now.stalled.items():
            stalled.add_metric([reason], count)
        yield stalled
        foreign = GaugeMetricFamily(
            "flowy_foreign_objects", "Jobs and Pods that bear our labels and belong to no workflow", labels=["kind"]
        )
        for kind, count in now.foreign.items():
            foreign.add_metric([kind], count)
        yield foreign
        calls = CounterMetricFamily(
            "flowy_api_calls", "Calls of the API server; code 0: no answer", labels=["verb", "resource", "code"]
        )
        for (verb, resource, code), count in now.api_calls.items():
            calls.add_metric([verb, resource, str(code)], count)
        yield calls
        restarts = CounterMetricFamily(
            "flowy_watch_restarts",
            "Watches that began anew: after an error, or with a new list since the version was too old",
            labels=["resource", "cause"],
        )
        for (resource, cause), count in now.watch_restarts.items():
            restarts.add_metric([resource, cause], count)
        yield restarts
        yield CounterMetricFamily(
            "flowy_kube_events_dropped", "Kubernetes Events that were not posted", value=now.events_dropped
        )
