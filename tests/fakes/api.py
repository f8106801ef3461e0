"""The fake API server without a socket: a request in, an answer out; a watch as an iterator.

`server.py` puts it on loopback for clients that want HTTP; `client.py` calls it directly, for virtual time.
"""

import asyncio
import math
import re
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from tests.fakes.faults import Delay, Faults, Late, LoseAnswer, Refuse
from tests.fakes.store import Change, Json, Kind, Refusal, Store
from tests.fakes.tokens import Tokens

REQUEST_LIMIT = 3 * 1024 * 1024
LOG_ENTRY_BYTES = 16 * 1024

_OF_THE_LIST = frozenset(("kind", "apiVersion"))
"""Said once for all items, and not of each."""


class LostError(Exception):
    """The connection ends here, whatever has been done."""


@dataclass(frozen=True, slots=True)
class Target:
    kind: Kind
    namespace: str | None
    name: str | None
    subresource: str | None


@dataclass(slots=True)
class Api:
    """One cluster. `calls` counts requests by (verb, resource)."""

    store: Store = field(default_factory=Store)
    faults: Faults = field(default_factory=Faults)
    tokens: Tokens = field(default_factory=Tokens)
    bookmark_s: float = 60.0
    calls: Counter[tuple[str, str]] = field(default_factory=Counter)
    logs: dict[tuple[str, str], bytes] = field(default_factory=dict)
    """What the containers of pods have printed, by (namespace, pod)."""
    _watches: list["_Watch"] = field(default_factory=list)
    _opened: asyncio.Event = field(default_factory=asyncio.Event)
    _pages: dict[str, tuple[list[Json], int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.store.news.append(self._tell)

    def cut_watches(self) -> None:
        """End every stream in the middle of nowhere, as a restarting API server does."""
        for watch in self._watches:
            watch.cut = True
            watch.news.set()

    async def watched(self, streams: int) -> None:
        """Wait until so many streams are open."""
        while len(self._watches) != streams:
            self._opened.clear()
            await self._opened.wait()

    async def request(self, verb: str, path: str, query: Mapping[str, str], body: Any) -> tuple[int, Json]:
        """Answer (status code, JSON). Raises Refusal, and LostError where the answer is dropped."""
        if (found := self._discover(path)) is not None:
            await self._strike(verb, "discovery")
            return 200, found
        if verb == "create" and (asked := _about_a_token(path)) is not None:
            if await self._strike(verb, asked[0]):
                raise LostError
            return 201, self._of_tokens(*asked[1:], body)
        target = self._target(path)
        if verb == "get" and target.name is None:
            verb = "list"
        resource = target.kind.plural + (f"/{target.subresource}" if target.subresource else "")
        lose = await self._strike(verb, resource, partial(self._do, verb, target, query, body))
        answer = self._do(verb, target, query, body)
        if lose:
            raise LostError
        return (201 if verb == "create" else 200), answer

    def said(self, path: str, answer: Json) -> Json:
        """What goes over the wire as the answer: a test may have something else said."""
        return answer

    async def log(self, path: str, query: Mapping[str, str]) -> bytes:
        """What a container has printed. Raises Refusal, and LostError where the answer is dropped."""
        *_, namespace, _, name, _ = path.split("/")
        lose = await self._strike("get", "pods/log")
        self.store.get(self.store.kind("pods"), namespace, name)
        if lose:
            raise LostError
        content = self.logs.get((namespace, name), b"")
        if "tailLines" in query:
            content = b"".join(_entries(content)[-int(query["tailLines"]) :])
        return content[: int(query.get("limitBytes", len(content)))]

    async def watch(self, path: str, query: Mapping[str, str]) -> AsyncGenerator[Json, None]:
        """Open a stream of watch events as JSON, which ends at its timeout. Raises Refusal; the stream, LostError."""
        target = self._target(path)
        lost = await self._strike("watch", target.kind.plural)
        return self._stream(target, query, lost=lost)

    async def _stream(self, target: Target, query: Mapping[str, str], *, lost: bool) -> AsyncGenerator[Json, None]:
        if lost:
            raise LostError
        watch = _Watch(target.kind)
        self._watches.append(watch)
        self._opened.set()
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + float(query.get("timeoutSeconds", "1800"))
        bookmark_at = loop.time() + self.bookmark_s if query.get("allowWatchBookmarks") else math.inf
        version = int(query.get("resourceVersion") or 0) or self.store.floor
        try:
            while True:
                watch.news.clear()
                try:
                    changes = self.store.since(target.kind, version)
                except Refusal as error:
                    yield {"type": "ERROR", "object": error.status}
                    return
                for change in changes:
                    if watch.cut:
                        raise LostError
                    version = change.version
                    event = _event(change, target, query.get("labelSelector", ""), query.get("fieldSelector", ""))
                    if event is not None:
                        yield event
                if watch.cut:
                    raise LostError
                now = loop.time()
                if watch.news.is_set() and now < ends_at:
                    continue  # a bookmark would jump over what came while the events were read
                if now >= min(bookmark_at, ends_at) and not watch.news.is_set() and bookmark_at < math.inf:
                    bookmark_at = now + self.bookmark_s
                    version = self.store.version
                    yield _bookmark(target.kind, version)
                if now >= ends_at:
                    return
                timer = loop.call_at(min(ends_at, bookmark_at), watch.news.set)
                try:
                    await watch.news.wait()
                finally:
                    timer.cancel()
        finally:
            self._watches.remove(watch)
            self._opened.set()

    async def _strike(self, verb: str, resource: str, do: Callable[[], Any] = lambda: None) -> bool:
        self.calls[verb, resource] += 1
        lose = False
        for fault in self.faults.strike(verb, resource):
            match fault:
                case Delay(seconds):
                    await asyncio.sleep(seconds)
                case Refuse(status, reason, retry_after_s, bare):
                    kind = "" if bare else resource
                    raise Refusal(status, reason, "a fault of the test's", retry_after_s=retry_after_s, kind=kind)
                case LoseAnswer():
                    lose = True
                case Late(seconds):
                    asyncio.get_running_loop().call_later(seconds, _quietly, do)
                    raise LostError
        return lose

    def _do(self, verb: str, target: Target, query: Mapping[str, str], body: Any) -> Json:
        store, kind, namespace, name = self.store, target.kind, target.namespace or "", target.name or ""
        match verb:
            case "list":
                return self._list(target, query)
            case "get":
                return store.see(kind, namespace, name)
            case "create":
                return store.create(kind, namespace, body)
            case "patch":
                return store.patch(kind, namespace, name, body, subresource=target.subresource)
            case "update":
                return store.replace(kind, namespace, name, body, subresource=target.subresource)
            case "delete":
                options = body or {}
                uid = (options.get("preconditions") or {}).get("uid")
                return store.delete(kind, namespace, name, uid=uid, grace_s=options.get("gracePeriodSeconds"))
            case _:
                raise Refusal(405, "MethodNotAllowed", f"{verb} isn't supported")

    def _of_tokens(self, namespace: str, account: str, body: Json) -> Json:
        """What nothing is stored for: a TokenRequest of an account, or a TokenReview."""
        spec = body.get("spec") or {}
        if not account:
            return {**body, "status": self.tokens.review(spec, self.store.now(), self.store.uids)}
        bound = spec.get("boundObjectRef")
        if bound is not None:
            pod = self.store.see(self.store.kind("pods"), namespace, bound["name"])
            if pod["metadata"]["uid"] != bound["uid"]:
                raise Refusal(409, "Conflict", f"the pod's uid isn't {bound['uid']}", kind="pods")
        return {**body, "status": self.tokens.issue(namespace, account, spec, self.store.now())}

    def _list(self, target: Target, query: Mapping[str, str]) -> Json:
        token = query.get("continue")
        if token:
            if token not in self._pages or self._pages[token][1] < self.store.floor:
                raise Refusal(
                    410, "Expired", "The provided continue parameter is too old to display a consistent list result"
                )
            rest, version = self._pages[token]
        else:
            version = self.store.version
            labels, fields = query.get("labelSelector", ""), query.get("fieldSelector", "")
            found = self.store.seen(target.kind, target.namespace)
            rest = [o for o in found if matches(labels, o) and matches_fields(fields, o)]
        limit = int(query.get("limit", "0")) or len(rest)
        page, rest = rest[:limit], rest[limit:]
        metadata: Json = {"resourceVersion": str(version)}
        if rest:
            metadata["continue"] = f"{version}-{len(self._pages)}-{len(rest)}"
            self._pages[metadata["continue"]] = (rest, version)
        page = [{name: value for name, value in item.items() if name not in _OF_THE_LIST} for item in page]
        return {
            "kind": f"{target.kind.kind}List",
            "apiVersion": target.kind.api_version,
            "metadata": metadata,
            "items": page,
        }

    def _target(self, path: str) -> Target:
        """Raises Refusal 404."""
        parts = path.strip("/").split("/")
        group, version, rest = ("", parts[1], parts[2:]) if parts[0] == "api" else (parts[1], parts[2], parts[3:])
        namespace = None
        if rest[0] == "namespaces" and len(rest) > 2:
            namespace, rest = rest[1], rest[2:]
        for kind in self.store.kinds:
            if (kind.group, kind.version, kind.plural) == (group, version, rest[0]):
                name = rest[1] if len(rest) > 1 else None
                subresource = rest[2] if len(rest) > 2 else None
                if subresource is None or (subresource == "status" and kind.status):
                    return Target(kind, namespace, name, subresource)
        raise Refusal(404, "NotFound", "the server could not find the requested resource")

    def _discover(self, path: str) -> Json | None:
        match path.strip("/").split("/"):
            case ["version"]:
                return {"major": "1", "minor": "35", "gitVersion": "v1.35.4"}
            case ["api"]:
                return {"kind": "APIVersions", "versions": ["v1"]}
            case ["apis"]:
                groups = {kind.group: kind.version for kind in self.store.kinds if kind.group}
                versions = {g: {"groupVersion": f"{g}/{v}", "version": v} for g, v in groups.items()}
                return {
                    "kind": "APIGroupList",
                    "groups": [{"name": g, "versions": [v], "preferredVersion": v} for g, v in versions.items()],
                }
            case ["api", version]:
                return self._resources("", version)
            case ["apis", group, version]:
                return self._resources(group, version)
            case _:
                return None

    def _resources(self, group: str, version: str) -> Json:
        resources: list[Json] = []
        for kind in self.store.kinds:
            if (kind.group, kind.version) == (group, version):
                verbs = ["create", "delete", "get", "list", "patch", "update", "watch"]
                entry = {"name": kind.plural, "singularName": "", "namespaced": kind.namespaced, "kind": kind.kind}
                resources.append({**entry, "verbs": verbs})
                if kind.status:
                    resources.append({**entry, "name": f"{kind.plural}/status", "verbs": ["get", "patch", "update"]})
        if not resources:
            raise Refusal(404, "NotFound", "the server could not find the requested resource")
        return {"kind": "APIResourceList", "groupVersion": f"{group}/{version}", "resources": resources}

    def _tell(self) -> None:
        kind = self.store.log[-1].kind
        for watch in self._watches:
            if watch.kind is kind:
                watch.news.set()


def _about_a_token(path: str) -> tuple[str, str, str] | None:
    """Of a path to which tokens are asked for or shown: the resource, the namespace and the account."""
    match path.strip("/").split("/"):
        case ["apis", "authentication.k8s.io", "v1", "tokenreviews"]:
            return "tokenreviews", "", ""
        case ["api", "v1", "namespaces", namespace, "serviceaccounts", account, "token"]:
            return "serviceaccounts/token", namespace, account
        case _:
            return None


def _quietly(do: Callable[[], Any]) -> None:
    """Nobody waits for its answer any more."""
    with suppress(Refusal):
        do()


def only_metadata(answer: Json) -> Json:
    """A list as whoever asks for no more gets it."""
    items = [{"metadata": item["metadata"]} for item in answer["items"]]
    return {**answer, "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "items": items}


def matches(selector: str, found: Json) -> bool:
    """Equality, inequality, sets and presence, joined by commas."""
    labels = found["metadata"].get("labels") or {}
    return all(_matches(term.strip(), labels) for term in _TERMS.findall(selector))


_TERMS = re.compile(r"[^,()]+(?:\([^)]*\))?")
_OF_A_SET = re.compile(r"(\S+)\s+(in|notin)\s+\(([^)]*)\)")


def _matches(term: str, labels: Mapping[str, str]) -> bool:
    if (of_a_set := _OF_A_SET.fullmatch(term)) is not None:
        key, how, values = of_a_set.groups()
        return (labels.get(key) in [value.strip() for value in values.split(",")]) == (how == "in")
    if "=" not in term:
        return (term.lstrip("!") in labels) != term.startswith("!")
    key, _, value = term.replace("!=", "=").replace("==", "=").partition("=")
    return (labels.get(key) == value) != ("!=" in term)


def matches_fields(selector: str, found: Json) -> bool:
    """Equality of dotted fields, joined by commas."""
    for term in filter(None, selector.split(",")):
        path, _, value = term.partition("=")
        here: Any = found
        for part in path.split("."):
            here = here.get(part, {})
        if here != value:
            return False
    return True


@dataclass(slots=True)
class _Watch:
    kind: Kind
    news: asyncio.Event = field(default_factory=asyncio.Event)
    cut: bool = False


def _event(change: Change, target: Target, selector: str, fields: str) -> Json | None:
    """What the watch of a selection sees: an object that leaves the selection is DELETED, one that enters it ADDED."""
    found = change.new or change.old
    assert found is not None
    if target.namespace is not None and found["metadata"].get("namespace") != target.namespace:
        return None
    was = change.old is not None and matches(selector, change.old) and matches_fields(fields, change.old)
    is_in = change.new is not None and matches(selector, change.new) and matches_fields(fields, change.new)
    if not was and not is_in:
        return None
    return {
        "type": "DELETED" if not is_in else "MODIFIED" if was else "ADDED",
        "object": found,
    }


def _entries(content: bytes) -> list[bytes]:
    """The entries of a log file: containerd splits long lines, and the kubelet takes each part for a line."""
    entries = []
    for line in content.splitlines(keepends=True):
        entries += [line[n : n + LOG_ENTRY_BYTES] for n in range(0, len(line), LOG_ENTRY_BYTES)]
    return entries


def _bookmark(kind: Kind, version: int) -> Json:
    bookmark = {"kind": kind.kind, "apiVersion": kind.api_version, "metadata": {"resourceVersion": str(version)}}
    return {"type": "BOOKMARK", "object": bookmark}
