"""What the fake API server knows: objects, versions, and the log that watches read.

Kept of the real one's promises: one rising resourceVersion, `generation` that follows the spec alone, writes that change
nothing give no new version, a status of its own where the kind has that subresource, optimistic locks, uids, finalizers,
and what an owner leaves behind goes with it.
"""

import base64
import json
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tests.fakes.patches import PatchError, copied, json_patch, merge_patch

Json = dict[str, Any]

OBJECT_LIMIT = 1_572_864  # etcd's --max-request-bytes
CONTENT_LIMIT = 1024 * 1024  # of a ConfigMap, keys not counted (core, MaxSecretSize)


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


KINDS = (
    Kind("", "v1", "configmaps", "ConfigMap"),
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
        self.floor = 0
        """Watches from before this version, and lists begun before it, are answered 410."""
        self.log: list[Change] = []
        self.terminating: set[str] = set()
        self.quotas: dict[tuple[str, str], int] = {}
        """How many objects of (namespace, plural) may be there."""
        self.news: list[Callable[[], None]] = []
        self._now = now or (lambda: datetime.now(UTC))
        self._uids = 0
        self._objects: dict[Kind, dict[tuple[str, str], Json]] = {}
        self._there: set[str] = set()  # uids

    def kind(self, plural: str) -> Kind:
        return next(kind for kind in self.kinds if kind.plural == plural)

    def all(self, kind: Kind, namespace: str | None = None) -> list[Json]:
        objects = self._objects.get(kind, {})
        return [copied(objects[key]) for key in sorted(objects) if namespace is None or key[0] == namespace]

    def get(self, kind: Kind, namespace: str, name: str) -> Json:
        return copied(self._get(kind, namespace, name))

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
        self._commit(kind, None, new)
        if not self._is_owned(new):
            self.collect()
        return copied(new)

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
            new = copied(old)
            new.pop("status", None)
            if "status" in body:
                new["status"] = copied(body["status"])
        else:
            new = copied(body)
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
            return copied(old)
        if "deletionTimestamp" in new["metadata"] and not new["metadata"].get("finalizers"):
            self._commit(kind, new, None)
            self.collect()
            return new
        self._commit(kind, old, new)
        return copied(new)

    def delete(self, kind: Kind, namespace: str, name: str, *, uid: str | None = None) -> Json:
        old = self._get(kind, namespace, name)
        if uid is not None and uid != old["metadata"]["uid"]:
            raise self._conflict(
                kind,
                name,
                f"Precondition failed: UID in precondition: {uid}, UID in object meta: {old['metadata']['uid']}",
            )
        if old["metadata"].get("finalizers"):
            if "deletionTimestamp" not in old["metadata"]:
                new = copied(old)
                new["metadata"]["deletionTimestamp"] = self._stamp()
                self._commit(kind, old, new)
            return self.get(kind, namespace, name)
        self._commit(kind, old, None)
        self.collect()
        return old

    def edit(self, plural: str, namespace: str, name: str, change: Callable[[Json], None]) -> Json:
        """Change an object, status included, as its controllers would: for tests that play kubelet."""
        kind = self.kind(plural)
        old = self._get(kind, namespace, name)
        new = copied(old)
        change(new)
        self._commit(kind, old, new)
        return copied(new)

    def collect(self) -> None:
        """Remove what has owners of which none is left. The real one does so a moment later."""
        while True:
            orphan = next(self._orphans(), None)
            if orphan is None:
                return
            kind, found = orphan
            if found["metadata"].get("finalizers"):
                return
            self._commit(kind, found, None)

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

    def _orphans(self) -> Iterator[tuple[Kind, Json]]:
        for kind, objects in self._objects.items():
            for found in objects.values():
                if not self._is_owned(found):
                    yield kind, found

    def _commit(self, kind: Kind, old: Json | None, new: Json | None) -> None:
        if new is not None and kind.plural == "configmaps" and _content_bytes(new) > CONTENT_LIMIT:
            raise self._invalid(kind, "", f"Too long: may not be more than {CONTENT_LIMIT} bytes")
        if new is not None and _stored_bytes(kind, new) > OBJECT_LIMIT:
            raise Refusal(500, "InternalError", "etcdserver: request is too large")
        self.version += 1
        logged = copied(new if new is not None else old)
        assert logged is not None
        logged["metadata"]["resourceVersion"] = str(self.version)
        key = (logged["metadata"].get("namespace", ""), logged["metadata"]["name"])
        objects = self._objects.setdefault(kind, {})
        if new is None:
            # The last word on an object carries the version of its end.
            del objects[key]
            self._there.discard(logged["metadata"]["uid"])
            self.log.append(Change(self.version, kind, logged, None))
        else:
            new["metadata"]["resourceVersion"] = str(self.version)
            objects[key] = logged
            self._there.add(logged["metadata"]["uid"])
            self.log.append(Change(self.version, kind, copied(old), copied(logged)))
        for tell in self.news:
            tell()

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
        return self._now().strftime("%Y-%m-%dT%H:%M:%SZ")


def _content_bytes(config_map: Json) -> int:
    texts, binaries = config_map.get("data") or {}, config_map.get("binaryData") or {}
    return sum(len(t.encode()) for t in texts.values()) + sum(len(base64.b64decode(b)) for b in binaries.values())


def _stored_bytes(kind: Kind, found: Json) -> int:
    """Custom resources are stored as JSON; ConfigMaps as protobuf, in which nothing is escaped and bytes are bytes."""
    if kind.plural == "configmaps":
        return _content_bytes(found) + len(json.dumps({**found, "data": None, "binaryData": None}))
    return len(json.dumps(found, ensure_ascii=False).encode())
