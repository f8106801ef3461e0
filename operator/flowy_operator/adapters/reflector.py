"""Lists and watches one kind of object into a cache of slim records, and says what changed.

    list in chunks -> difference to what is cached -> watch from the list's version -> … 410 Gone -> list again

The difference after a list is what a watch alone can't give: objects deleted while nobody listened. Whoever is told of
a change finds it in the cache already. A change that the record doesn't show is not told.

Not for Workflows: kopf watches those (`host.py`).
"""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from flowy_operator.adapters.kube.client import KubeClient, WatchEvent
from flowy_operator.adapters.kube.errors import ApiError, Forbidden, Gone, Unauthorized
from flowy_operator.adapters.kube.fields import mapping
from flowy_operator.core.definition import Definition
from flowy_operator.core.records import JobRecord, PodRecord

BASE_S = 0.2
"""First wait after an error. A rolling API server answers again within it, mostly."""

CAP_S = 30.0
"""Longest wait: with it a cluster of many operators still comes back gently after an outage."""

WATCH_S = 300
"""A stream's life, by the server's clock: bounds how long an undetected gap could last. Spread by a fifth."""

SHORT_STREAM_S = 1.0
"""A stream that ends sooner counts as an error: something on the way refuses streams, and would be asked in a loop."""

QUIET_FAILURES = 3
"""Errors in a row before a person is told: API servers restart, streams are cut."""

RELIST_FAILURES = 5
"""Errors in a row before the version is given up too: a server that was restored from a backup knows only older ones."""

_log = logging.getLogger(__name__)

R = TypeVar("R", bound=PodRecord | JobRecord | Definition)


class Reflector(Generic[R]):
    """The records of all objects under `path` that match the selector, in one namespace, several or all.

    `changed(old, new)` is called on the loop's thread after each change, `new` being None after a deletion.
    `synced` is set once everything has been listed, and stays set. `restarts` counts watches that didn't go on as they
    should, by the cause: `error`, `short` for streams that ended at once, `expired` for versions that were too old.
    """

    def __init__(
        self,
        client: KubeClient,
        path: Callable[[str | None], str],
        *,
        label_selector: str | None,
        parse: Callable[[Mapping[str, Any]], R | None],
        changed: Callable[[R | None, R | None], None],
        namespaces: Sequence[str] | None = None,
        spread: Callable[[], float] = random.random,
    ) -> None:
        """`path` gives the collection's path for a namespace; `namespaces` None means the whole cluster.

        `spread`, in [0, 1), keeps many operators apart that were all cut off at once.
        """
        self.synced = asyncio.Event()
        self.lists = 0
        self.restarts: Counter[str] = Counter()
        self._client = client
        self._path = path
        self._label_selector = label_selector
        self._parse = parse
        self._changed = changed
        self._scopes: Sequence[str | None] = (None,) if namespaces is None else tuple(namespaces)
        self._spread = spread
        self._unlisted = set(self._scopes)
        self._records: dict[tuple[str, str], R] = {}
        self._by_workflow: dict[tuple[str, str], dict[str, R]] = {}  # not of definitions: they belong to none

    @property
    def records(self) -> Mapping[tuple[str, str], R]:
        """A live view by (namespace, name)."""
        return MappingProxyType(self._records)

    def of_workflow(self, namespace: str, workflow: str) -> Sequence[R]:
        """Return the records whose label names this Workflow, in the order in which they were first seen."""
        return tuple(self._by_workflow.get((namespace, workflow), {}).values())

    async def run(self) -> None:
        """Keep the cache up to date until cancelled. Raises nothing of the API server's."""
        async with asyncio.TaskGroup() as group:
            for scope in self._scopes:
                group.create_task(self._follow(scope), name=f"reflect {self._path(scope)}")

    async def _follow(self, scope: str | None) -> None:
        clock = asyncio.get_running_loop().time
        stream = _Stream()
        while True:
            started_at = clock()
            try:
                if stream.version is None:
                    stream.version = await self._list(scope)
                await self._watch(scope, stream)
                if clock() - started_at >= SHORT_STREAM_S:
                    stream.failures = 0
                    continue
                self.restarts["short"] += 1
                stream.failures += 1
            except Gone as error:
                self.restarts["expired"] += 1
                _log.info("listing again", extra={"path": self._path(scope), "reason": str(error)})
                stream.version = None
                stream.failures += 1
            except ApiError as error:
                self.restarts["error"] += 1
                stream.failures += 1
                loud = stream.failures > QUIET_FAILURES or isinstance(error, Forbidden | Unauthorized)
                _log.log(
                    logging.WARNING if loud else logging.INFO,
                    "can't list or watch",
                    extra={"path": self._path(scope), "failures": stream.failures, "error": str(error)},
                )
                if error.retry_after_s is not None:
                    await asyncio.sleep(error.retry_after_s)
            if stream.failures % RELIST_FAILURES == 0:
                stream.version = None
            # Half of the wait is drawn, so that many streams cut at once don't come back at once.
            wait_s = min(BASE_S * 2.0 ** min(stream.failures - 1, 16), CAP_S)
            await asyncio.sleep(wait_s * (1 - self._spread() / 2))

    async def _list(self, scope: str | None) -> str:
        items, version = await self._client.list(self._path(scope), label_selector=self._label_selector)
        self.lists += 1
        listed: set[tuple[str, str]] = set()
        for item in items:
            record = self._parse(item)
            if record is not None:
                listed.add((record.namespace, record.name))
                # A list is the whole truth of its moment, even if versions have gone back, as after a restored backup.
                self._put(record)
        gone = [
            record
            for key, record in self._records.items()
            if key not in listed and (scope is None or record.namespace == scope)
        ]
        for record in gone:
            self._remove(record)
        self._unlisted.discard(scope)
        if not self._unlisted:
            self.synced.set()
        return version

    async def _watch(self, scope: str | None, stream: "_Stream") -> None:
        """Apply one stream's events until it ends."""
        assert stream.version is not None
        events = self._client.watch(
            self._path(scope),
            resource_version=stream.version,
            label_selector=self._label_selector,
            timeout_s=int(WATCH_S * (1 - self._spread() / 5)),
        )
        async with aclosing(events):
            async for event in events:
                if event.type != "BOOKMARK":
                    self._apply(event)
                # Also of objects that give no record: the stream goes on from there.
                stream.version = str(mapping(event.object.get("metadata")).get("resourceVersion") or stream.version)
                stream.failures = 0

    def _apply(self, event: WatchEvent) -> None:
        record = self._parse(event.object)
        if record is None:
            metadata = mapping(event.object.get("metadata"))
            known = self._records.get((str(metadata.get("namespace")), str(metadata.get("name"))))
            if known is not None:
                # It was one of ours and has become unreadable.
                self._remove(known)
        elif event.type == "DELETED":
            known = self._records.get((record.namespace, record.name))
            if known is not None and known.resource_version <= record.resource_version:
                self._remove(known)
        else:
            self._store(record)

    def _store(self, record: R) -> None:
        old = self._records.get((record.namespace, record.name))
        if old is None or record.resource_version > old.resource_version:
            self._put(record)

    def _put(self, record: R) -> None:
        key = (record.namespace, record.name)
        old = self._records.get(key)
        if old is not None and _workflow_of(old) != _workflow_of(record):
            self._unindex(old)
        self._records[key] = record
        if (workflow := _workflow_of(record)) is not None:
            self._by_workflow.setdefault(workflow, {})[record.name] = record
        if old != record:
            self._changed(old, record)

    def _remove(self, record: R) -> None:
        del self._records[record.namespace, record.name]
        self._unindex(record)
        self._changed(record, None)

    def _unindex(self, record: R) -> None:
        if (workflow := _workflow_of(record)) is None:
            return
        siblings = self._by_workflow[workflow]
        del siblings[record.name]
        if not siblings:
            del self._by_workflow[workflow]


def _workflow_of(record: PodRecord | JobRecord | Definition) -> tuple[str, str] | None:
    """Namespace and name of the Workflow that the record's label names."""
    return None if isinstance(record, Definition) else (record.namespace, record.workflow)


class _Stream:
    """Where one scope's watch stands: the version it has seen, None before a list; its errors in a row."""

    def __init__(self) -> None:
        self.version: str | None = None
        self.failures = 0
