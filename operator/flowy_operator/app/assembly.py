"""Builds the operator by hand and runs it in one TaskGroup: no globals, nothing registered at import.

    kopf, reflectors ──▶ keys ──▶ work queue ──▶ Reconciler ──▶ API server
                          ▲
    timers, resync ───────┘

The start lists Jobs and Pods first: a pass before the caches are full would take missing Jobs for deleted ones. It doesn't
wait for definitions, whose CRD may come later: what the cache doesn't have is asked for by name.
"""

import asyncio
import logging
import random
import socket
from collections.abc import Callable, Coroutine, Mapping
from datetime import datetime, timedelta
from typing import Any

from flowy_operator.adapters.crd.definition import parse_definition
from flowy_operator.adapters.host import Changed
from flowy_operator.adapters.jobs import parse_job
from flowy_operator.adapters.kube import paths
from flowy_operator.adapters.kube.client import KubeClient
from flowy_operator.adapters.kube.errors import ApiError
from flowy_operator.adapters.metrics import Metrics, Outcome, Snapshot
from flowy_operator.adapters.pods import parse_pod
from flowy_operator.adapters.recorder import Recorder
from flowy_operator.adapters.reflector import Reflector
from flowy_operator.adapters.workqueue import WorkQueue
from flowy_operator.app import news
from flowy_operator.app.attempts import Attempts
from flowy_operator.app.decisions import Decider
from flowy_operator.app.definitions import Specs
from flowy_operator.app.figures import snapshot
from flowy_operator.app.late import Late
from flowy_operator.app.listening import RETURN, Listening
from flowy_operator.app.pages import Pages
from flowy_operator.app.reconciler import Reconciler
from flowy_operator.app.results import Results
from flowy_operator.app.settings import Settings
from flowy_operator.app.stopping import unless
from flowy_operator.app.tracked import Workflow
from flowy_operator.app.values import Values
from flowy_operator.app.view import view_of
from flowy_operator.app.workflows import Workflows
from flowy_operator.core.attempts import Beat
from flowy_operator.core.definition import Definition
from flowy_operator.core.errors import RetryLater
from flowy_operator.core.history import in_milliseconds
from flowy_operator.core.job import MANAGED_BY
from flowy_operator.core.key import Key
from flowy_operator.core.observe import View
from flowy_operator.core.pages import PageLimits
from flowy_operator.core.records import JobRecord, PodRecord
from flowy_operator.core.share import Share

RESYNC_S = 600.0
"""How often all Workflows are listed beside the watch: kopf tells no deletions that it missed, and every component
between us and etcd has lost an event at some time."""

GRACE_S = 3.0
"""For passes that are under way when the operator is told to stop; the whole stop is to take less than 5 s, and giving the
lease back comes after them."""

_log = logging.getLogger(__name__)

Host = Callable[[Changed, asyncio.Event], Coroutine[Any, Any, None]]
"""Says which Workflows are worth a look, until the event is set."""


class Operator:
    """All parts of one operator process. Make it in a running loop, `run` it once.

    What reaches outside is given, beside the client: `host` watches Workflows, `decider` runs their code. `clock` gives
    aware UTC. `attempts` answers what pods ask at `gateway_url`,
    `listening` knows since when they could. `share` are the Workflows that it looks after.
    """

    def __init__(
        self,
        client: KubeClient,
        settings: Settings,
        *,
        host: Host,
        decider: Decider,
        metrics: Metrics,
        clock: Callable[[], datetime],
        gateway_url: str,
        share: Share,
    ) -> None:
        self._client = client
        self._share = share
        self._metrics = metrics
        self._settings = settings
        self._clock = clock
        self._namespaces = settings.namespaces or None
        self._workflows = Workflows(wake=self._parent_changed)
        self._queue = WorkQueue()
        self._host = host
        self._recorder = Recorder(client, instance=socket.gethostname(), now=clock)
        selector = ",".join(f"{name}={value}" for name, value in MANAGED_BY.items())
        self._jobs: Reflector[JobRecord] = Reflector(
            client,
            paths.jobs,
            label_selector=selector,
            parse=parse_job,
            changed=self._job_changed,
            namespaces=self._namespaces,
        )
        self._pods: Reflector[PodRecord] = Reflector(
            client,
            paths.pods,
            label_selector=selector,
            parse=parse_pod,
            changed=self._pod_changed,
            namespaces=self._namespaces,
        )
        self._values = Values(client)
        self._definitions: Reflector[Definition] = Reflector(
            client,
            paths.workflowdefinitions,
            label_selector=None,
            parse=parse_definition,
            changed=self._definition_changed,
            namespaces=self._namespaces,
        )
        self._results = Results(client, self._values, self._queue.add)
        self._late = Late()
        self.listening = Listening(clock)
        self.attempts = Attempts(
            client=client,
            workflows=self._workflows,
            values=self._values,
            pods=self._pods.records,
            jobs=self._jobs.records,
            clock=clock,
            share=share,
        )
        self._reconciler = Reconciler(
            client=client,
            workflows=self._workflows,
            view=self._view,
            values=self._values,
            specs=Specs(client, self._definitions.records, definitions_only=settings.definitions_only),
            results=self._results,
            decider=decider,
            recorder=self._recorder,
            metrics=metrics,
            pages=Pages(
                client,
                PageLimits(tail_bytes=settings.history_tail_bytes, run_bytes=settings.history_run_bytes),
            ),
            clock=clock,
            late=self._late,
            gateway_url=gateway_url,
            share=share,
            pod_template={str(part): fields for part, fields in settings.pod_template.items()},
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; then take no more keys, and finish what is under way."""
        async with asyncio.TaskGroup() as group:
            background = [
                group.create_task(self._jobs.run()),
                group.create_task(self._pods.run()),
                group.create_task(self._definitions.run()),
                group.create_task(self._recorder.run()),
                group.create_task(self._results.run()),
                group.create_task(self._resync()),
                group.create_task(self.listening.run()),
                group.create_task(self._stop_at(stop)),
            ]
            host = group.create_task(self._host(self._workflow_changed, stop))
            await unless(stop, self._synced())
            if not stop.is_set():
                self._late.begin()
                self.listening.begin(RETURN if self._settings.leader_election else timedelta())
                _log.info("operator is ready", extra={"namespaces": list(self._namespaces or ()) or "all"})
                await self._queue.run(self._work, self._settings.workers, grace_s=GRACE_S)
            await host
            for task in background:
                task.cancel()
        _log.info("operator has stopped")

    async def _stop_at(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._queue.stop()

    def checks(self) -> Mapping[str, bool]:
        """What it needs, and whether it has it. Definitions aren't among them: those in use are asked for by name."""
        return {"jobs": self._jobs.synced.is_set(), "pods": self._pods.synced.is_set()}

    def snapshot(self) -> Snapshot:
        """What is so now, for the metrics."""
        return snapshot(
            calls=self._client.requests,
            queue=self._queue,
            workflows=self._workflows,
            jobs=self._jobs,
            pods=self._pods,
            definitions=self._definitions,
            recorder=self._recorder,
            share=self._share,
        )

    async def _work(self, key: Key) -> None:
        clock = asyncio.get_running_loop().time
        began, began_at, outcome = clock(), self._clock(), Outcome.FAILED
        wake_at: datetime | None = None
        try:
            wake_at = await self._reconciler.reconcile(key)
            outcome = Outcome.DONE
        except RetryLater as error:
            outcome = Outcome.AGAIN
            wake_at = error.wake_at
            raise
        finally:
            took_s = clock() - began
            self._metrics.reconciled(outcome, took_s)
            # It may have gone in the middle of its pass.
            if wake_at is not None and self._workflows.get(key) is not None:
                # By the loop's clock: the other one may have been set meanwhile.
                self._queue.add_after(key, (wake_at - began_at).total_seconds() - took_s)

    async def _resync(self) -> None:
        while True:
            await asyncio.sleep(RESYNC_S * random.uniform(0.9, 1.1))  # noqa: S311  spread, not secrecy
            for namespace in self._namespaces or (None,):
                try:
                    await self._list_workflows(namespace)
                except ApiError as error:
                    _log.warning("workflows can't be listed", extra={"error": str(error)})

    async def _list_workflows(self, namespace: str | None) -> None:
        known = {key: uid for key, uid in self._workflows.seen() if namespace in {None, key.namespace}}
        items, _ = await self._client.list(paths.workflows(namespace))
        listed = {}
        for item in items:
            listed[Key(item["metadata"]["namespace"], item["metadata"]["name"])] = item
        for key, uid in known.items():
            if key not in listed:
                self._workflow_changed(key, uid, None)
        for key, item in listed.items():
            self._workflow_changed(key, item["metadata"]["uid"], item)
            self._queue.add(key)  # whatever has been missed

    def _workflow_changed(self, key: Key, uid: str, body: Mapping[str, Any] | None) -> None:
        if body is not None and not self._share.has(uid):
            # Another shard's. Of that only who has its parent here wants to know, and who had its name before.
            self._workflows.see(key, body, self._share)
            if self._workflows.get(key) is None:
                self._queue.drop(key)
            return
        if body is None:
            self._workflows.forget(key, uid)
            if self._workflows.get(key) is None:
                self._queue.drop(key)
            return
        is_new = self._workflows.get(key) is None
        self._workflows.accept(key, body, self._clock())
        workflow = self._workflows.get(key)
        if workflow is not None and news.of_version(workflow, body):
            # What is there at the start waits behind what happens meanwhile.
            self._queue.add(key, backlog=is_new and "status" in body)

    def _parent_changed(self, key: Key) -> None:
        if self._workflows.get(key) is not None:
            self._queue.add(key)

    def _job_changed(self, old: JobRecord | None, new: JobRecord | None) -> None:
        record = new or old
        assert record is not None
        key = Key(record.namespace, record.workflow)
        workflow = self._workflows.get(key)
        if workflow is None:
            return
        if new is None and record.owner_uid == workflow.owner.uid:
            workflow.gone[record.name] = None
        if news.of_job(workflow, old, new):
            self._queue.add(key)

    def _pod_changed(self, old: PodRecord | None, new: PodRecord | None) -> None:
        record = new or old
        assert record is not None
        key = Key(record.namespace, record.workflow)
        workflow = self._workflows.get(key)
        if workflow is None:
            return
        if new is None and record.job is not None and record.phase in {"Succeeded", "Failed"}:
            # An evicted pod goes as soon as it has ended: that may be before anybody looks, and it alone knows how it ended.
            workflow.last_words[record.job] = record
        if old is None and record.job is not None:
            # Its heartbeats couldn't be judged before, and its container may have begun long ago: the watch was away.
            workflow.beats.setdefault(record.job, Beat(in_milliseconds(self._clock()), None, heard=False))
        if news.of_pod(workflow, old, new):
            self._queue.add(key)

    def _definition_changed(self, old: Definition | None, new: Definition | None) -> None:
        record = new or old
        assert record is not None
        for key in self._workflows.of_definition(record.key):
            self._queue.add(key)

    def _view(self, workflow: Workflow) -> View:
        return view_of(
            workflow,
            self._jobs,
            self._pods,
            self.listening.since(),
            self._workflows.children_of(workflow.owner),
        )

    async def _synced(self) -> None:
        await self._jobs.synced.wait()
        await self._pods.synced.wait()
