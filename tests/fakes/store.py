"""What the fake API server knows: objects, versions, and the log that watches read.

Kept of the real one's promises: one rising resourceVersion, `generation` that follows the spec alone, writes that change
nothing give no new version, a status of its own where the kind has that subresource, optimistic locks, uids, finalizers,
and what an owner leaves behind goes with it.
"""

import base64
import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tests.fakes.patches import PatchError, copied, json_patch, merge_patch

Json = dict[str, Any]

OBJECT_LIMIT = 1_572_864  # etcd's --max-request-bytes
CONTENT_LIMIT = 1024 * 1024  # of a ConfigMap, keys not counted (core, MaxSecretSize)


GRACE_S = 30
"""A pod's, if nobody says otherwise."""

_ENDED = frozenset(("Succeeded", "Failed"))

_SHORT = frozenset(("pods", "jobs", "leases"))
"""Nobody makes these longer than an object may be, and weighing them at each write is most of what a write costs here."""


@dataclass(frozen=True, slots=True)
class Kind:
    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    status: bool = False

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version


CONFIG_MAPS = Kind("", "v1", "configmaps", "ConfigMap")
KINDS = (
    CONFIG_MAPS,
    Kind("", "v1", "events", "Event"),
    Kind("", "v1", "namespaces", "Namespace", namespaced=False),
    Kind("", "v1", "pods", "Pod", status=True),
    Kind("batch", "v1", "jobs", "Job", status=True),
    Kind("coordination.k8s.io", "v1", "leases", "Lease"),
    Kind("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False),
)
WORKFLOWS = Kind("flowy.dev", "v1alpha1", "workflows", "Workflow", status=True)
DEFINITIONS = Kind("flowy.dev", "v1alpha1", "workflowdefinitions", "WorkflowDefinition")
HISTORY_PAGES = Kind("flowy.dev", "v1alpha1", "historypages", "HistoryPage")


class Refusal(Exception):
    """A Status object that isn't Success."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        *,
        causes: Sequence[Mapping[str, str]] = (),
        kind: str = "",
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message)
        details: Json = {"kind": kind} if kind else {}
        if causes:
            details["causes"] = list(causes)
        if retry_after_s is not None:
            details["retryAfterSeconds"] = retry_after_s
        self.code = code
        self.retry_after_s = retry_after_s
        self.status: Json = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": reason,
            "details": details,
            "code": code,
        }


@dataclass(frozen=True, slots=True)
class Change:
    """One line of the log: what a kind's object was and is, None for "not there"."""

    version: int
    kind: Kind
    old: Json | None
    new: Json | None


class Store:
    """All objects of one cluster. `now` gives creation times; uids are counted, so that runs can be compared."""

    def __init__(
        self,
        kinds: Sequence[Kind] = (*KINDS, WORKFLOWS, DEFINITIONS, HISTORY_PAGES),
        *,
        now: Callable[[], datetime] | None = None,
    ) -> None:
        self.kinds = list(kinds)
        self.version = 100
        self.floor = self.version
        """Watches from before this version, and lists begun before it, are answered 410."""
        self.log: list[Change] = []
        self.terminating: set[str] = set()
        self.quotas: dict[tuple[str, str], int] = {}
        """How many objects of (namespace, plural) may be there."""
        self.news: list[Callable[[], None]] = []
        self.collects: Callable[[], object] | None = None
        """Called where orphans may be, to `collect` them later; without it they go at once."""
        self.now = now or (lambda: datetime.now(UTC))
        self._uids = 0
        self._objects: dict[Kind, dict[tuple[str, str], Json]] = {}
        self._there: set[str] = set()  # uids
        self._dependents: dict[str, dict[tuple[Kind, str, str], None]] = {}  # by the uid of an owner
        self._suspects: dict[tuple[Kind, str, str], None] = {}  # what may have no owner left

    def kind(self, plural: str) -> Kind:
        return next(kind for kind in self.kinds if kind.plural == plural)

    @property
    def uids(self) -> AbstractSet[str]:
        """Of all objects that are there."""
        return self._there

    def all(self, kind: Kind, namespace: str | None = None) -> list[Json]:
        return copied(self.seen(kind, namespace))

    def seen(self, kind: Kind, namespace: str | None = None) -> list[Json]:
        """All objects of a kind, as they are stored: not to be changed. They never change in place."""
        objects = self._objects.get(kind, {})
        return [objects[key] for key in sorted(objects) if namespace is None or key[0] == namespace]

    def get(self, kind: Kind, namespace: str, name: str) -> Json:
        return copied(self._get(kind, namespace, name))

    def see(self, kind: Kind, namespace: str, name: str) -> Json:
        """One object as it is stored: not to be changed."""
        return self._get(kind, namespace, name)

    def create(self, kind: Kind, namespace: str, body: Json) -> Json:
        new = copied(body)
        new.setdefault("apiVersion", kind.api_version)
        new.setdefault("kind", kind.kind)
        metadata: Json = new.setdefault("metadata", {})
        if "name" not in metadata and "generateName" in metadata:
            metadata["name"] = f"{metadata['generateName']}{self._uids:05d}"
        name = metadata.get("name")
        if not name:
            raise self._invalid(kind, "metadata.name", "Required value: name or generateName is required")
        if namespace in self.terminating:
            raise Refusal(
                403,
                "Forbidden",
                f'{kind.plural} "{name}" is forbidden: unable to create new content in namespace {namespace} because it '
                "is being terminated",
                causes=[{"reason": "NamespaceTerminating", "message": "", "field": "metadata.namespace"}],
                kind=kind.plural,
            )
        objects = self._objects.setdefault(kind, {})
        if (namespace, name) in objects:
            raise Refusal(409, "AlreadyExists", f'{kind.plural} "{name}" already exists', kind=kind.plural)
        quota = self.quotas.get((namespace, kind.plural))
        if quota is not None and sum(key[0] == namespace for key in objects) >= quota:
            raise Refusal(
                403,
                "Forbidden",
                f'{kind.plural} "{name}" is forbidden: exceeded quota: test, requested: count/{kind.plural}=1, used: '
                f"count/{kind.plural}={quota}, limited: count/{kind.plural}={quota}",
                kind=kind.plural,
            )
        if kind.namespaced:
            metadata["namespace"] = namespace
        self._uids += 1
        metadata["uid"] = str(uuid.UUID(int=self._uids))
        metadata["creationTimestamp"] = self._stamp()
        metadata["generation"] = 1
        for field in ("deletionTimestamp", "resourceVersion"):
            metadata.pop(field, None)
        if kind is WORKFLOWS:
            new.pop("status", None)
        made = self._commit(kind, None, new)
        if not self._is_owned(new):
            self._collect_soon()
        return made

    def patch(self, kind: Kind, namespace: str, name: str, operations: Any, *, subresource: str | None = None) -> Json:
        """Apply a JSON patch (a list) or a merge patch (a mapping)."""
        old = self._get(kind, namespace, name)
        try:
            new = json_patch(old, operations) if isinstance(operations, list) else merge_patch(old, operations)
        except PatchError as error:
            # The real server says no more either.
            raise Refusal(422, "Invalid", "the server rejected our request due to an error in our request") from error
        return self.replace(kind, namespace, name, new, subresource=subresource)

    def replace(self, kind: Kind, namespace: str, name: str, body: Json, *, subresource: str | None = None) -> Json:
        old = self._get(kind, namespace, name)
        sent = body.get("metadata", {})
        if sent.get("resourceVersion", old["metadata"]["resourceVersion"]) != old["metadata"]["resourceVersion"]:
            raise self._conflict(
                kind, name, "the object has been modified; please apply your changes to the latest version"
            )
        if sent.get("uid", old["metadata"]["uid"]) != old["metadata"]["uid"]:
            raise self._conflict(kind, name, "Precondition failed: UID in precondition")
        if subresource == "status":
            new = dict(old)
            new.pop("status", None)
            if "status" in body:
                new["status"] = body["status"]
        else:
            new = dict(body)
            if kind.status:
                new.pop("status", None)
                if "status" in old:
                    new["status"] = old["status"]
            own = {
                field: old["metadata"][field]
                for field in ("uid", "creationTimestamp", "generation", "resourceVersion", "deletionTimestamp")
                if field in old["metadata"]
            }
            new["metadata"] = {**sent, "name": name, **own}
            if kind.namespaced:
                new["metadata"]["namespace"] = namespace
            if new.get("spec") != old.get("spec"):
                new["metadata"]["generation"] += 1
        if new == old:
            return old
        if "deletionTimestamp" in new["metadata"] and not new["metadata"].get("finalizers"):
            gone = self._commit(kind, new, None)
            self._collect_soon()
            return gone
        return self._commit(kind, old, new)

    def delete(
        self, kind: Kind, namespace: str, name: str, *, uid: str | None = None, grace_s: int | None = None
    ) -> Json:
        """Delete it, or have it deleted by whoever has to do something first: its finalizers, a pod's kubelet."""
        old = self._get(kind, namespace, name)
        if uid is not None and uid != old["metadata"]["uid"]:
            raise self._conflict(
                kind,
                name,
                f"Precondition failed: UID in precondition: {uid}, UID in object meta: {old['metadata']['uid']}",
            )
        ended = self._end(kind, old, grace_s)
        if (namespace, name) not in self._objects[kind]:
            self._collect_soon()
        return copied(ended)

    def _end(self, kind: Kind, old: Json, grace_s: int | None = None) -> Json:
        """Take it away, or mark it; gives the last word on it."""
        is_graceful = grace_s != 0 and _runs(kind, old)
        if is_graceful or old["metadata"].get("finalizers"):
            if "deletionTimestamp" in old["metadata"]:
                return old
            grace = {"deletionGracePeriodSeconds": (grace_s or GRACE_S) if is_graceful else 0}
            marked = {**old["metadata"], "deletionTimestamp": self._stamp(), **grace}
            return self._commit(kind, old, {**old, "metadata": marked})
        return self._commit(kind, old, None)

    def edit(self, plural: str, namespace: str, name: str, change: Callable[[Json], None]) -> Json:
        """Change an object, status included, as its controllers would: for tests that play kubelet."""
        kind = self.kind(plural)
        old = self._get(kind, namespace, name)
        new = copied(old)
        change(new)
        return copied(self._commit(kind, old, new))

    def tell(self, plural: str, namespace: str, name: str, status: Json) -> None:
        """Set an object's status, as its controllers would."""
        kind = self.kind(plural)
        old = self._get(kind, namespace, name)
        self._commit(kind, old, {**old, "status": status})

    def collect(self) -> None:
        """Delete what has owners of which none is left. The real one does so a moment later: `collects`."""
        while self._suspects:
            kind, namespace, name = next(iter(self._suspects))
            del self._suspects[kind, namespace, name]
            found = self._objects[kind].get((namespace, name))
            if found is not None and not self._is_owned(found) and "deletionTimestamp" not in found["metadata"]:
                self._end(kind, found)

    def _collect_soon(self) -> None:
        (self.collects or self.collect)()

    def compact(self) -> None:
        """Forget the log, as etcd does after five minutes: whoever is behind gets 410."""
        self.floor = self.version
        self.log.clear()

    def since(self, kind: Kind, version: int) -> list[Change]:
        if version < self.floor:
            raise Refusal(410, "Expired", f"too old resource version: {version} ({self.floor})")
        # The log is sorted; what a watch hasn't seen is at its end.
        start = len(self.log)
        while start and self.log[start - 1].version > version:
            start -= 1
        return [change for change in self.log[start:] if change.kind is kind]

    def _is_owned(self, found: Json) -> bool:
        """Whether it needs no owner, or has one that is there."""
        owners = found["metadata"].get("ownerReferences") or ()
        return not owners or any(owner["uid"] in self._there for owner in owners)

    def _commit(self, kind: Kind, old: Json | None, new: Json | None) -> Json:
        """Give the object its version, and put it in its place. From then on nobody may change it."""
        if new is not None and kind.plural == "configmaps" and _content_bytes(new) > CONTENT_LIMIT:
            raise self._invalid(kind, "", f"Too long: may not be more than {CONTENT_LIMIT} bytes")
        if new is not None and _stored_bytes(kind, new) > OBJECT_LIMIT:
            raise Refusal(500, "InternalError", "etcdserver: request is too large")
        self.version += 1
        given = new if new is not None else old
        assert given is not None
        logged = {**given, "metadata": {**given["metadata"], "resourceVersion": str(self.version)}}
        key = (logged["metadata"].get("namespace", ""), logged["metadata"]["name"])
        objects = self._objects.setdefault(kind, {})
        if new is None:
            # The last word on an object carries the version of its end.
            del objects[key]
            self._there.discard(logged["metadata"]["uid"])
            self.log.append(Change(self.version, kind, logged, None))
            self._suspects |= self._dependents.pop(logged["metadata"]["uid"], {})
        else:
            objects[key] = logged
            self._there.add(logged["metadata"]["uid"])
            owners = logged["metadata"].get("ownerReferences") or ()
            if owners and (old is None or old["metadata"].get("ownerReferences") != owners):
                self._suspects[kind, *key] = None
                for owner in owners:
                    self._dependents.setdefault(owner["uid"], {})[kind, *key] = None
            self.log.append(Change(self.version, kind, old, logged))
        for tell in self.news:
            tell()
        return logged

    def _get(self, kind: Kind, namespace: str, name: str) -> Json:
        try:
            return self._objects[kind][namespace if kind.namespaced else "", name]
        except KeyError:
            raise Refusal(404, "NotFound", f'{kind.plural} "{name}" not found', kind=kind.plural) from None

    def _conflict(self, kind: Kind, name: str, why: str) -> Refusal:
        return Refusal(
            409, "Conflict", f'Operation cannot be fulfilled on {kind.plural} "{name}": {why}', kind=kind.plural
        )

    def _invalid(self, kind: Kind, field: str, why: str) -> Refusal:
        cause = {"reason": "FieldValueInvalid", "message": why, "field": field}
        return Refusal(422, "Invalid", f"{kind.kind} is invalid: {field}: {why}", causes=[cause], kind=kind.plural)

    def _stamp(self) -> str:
        return self.now().strftime("%Y-%m-%dT%H:%M:%SZ")


def _runs(kind: Kind, found: Json) -> bool:
    """Whether it is a pod that a kubelet has to end first."""
    status = found.get("status") or {}
    return kind.plural == "pods" and "nodeName" in found.get("spec", {}) and status.get("phase") not in _ENDED


def _content_bytes(config_map: Json) -> int:
    texts, binaries = config_map.get("data") or {}, config_map.get("binaryData") or {}
    return sum(len(t.encode()) for t in texts.values()) + sum(len(base64.b64decode(b)) for b in binaries.values())


def _stored_bytes(kind: Kind, found: Json) -> int:
    """Custom resources are stored as JSON; ConfigMaps as protobuf, in which nothing is escaped and bytes are bytes."""
    if kind.plural in _SHORT:
        return 0
    if kind.plural == "configmaps":
        return _content_bytes(found) + len(json.dumps({**found, "data": None, "binaryData": None}))
    return len(json.dumps(found, ensure_ascii=False).encode())
