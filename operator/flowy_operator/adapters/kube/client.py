"""Calls of the API server: dictionaries in, dictionaries out, one exception tree.

`kubernetes.aio` gives kubeconfig rules, TLS, tokens and the connection pool; its typed models are not used (a typed
Job costs ten times the call). What its `call_api` leaves to the caller is done here: the bearer token, the User-Agent,
a timeout for every call, and the look at the status code.

No call is repeated here. Whether a write may be sent again is the reconcile's to know.
"""

import json
import sys
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from importlib.metadata import version
from typing import Any, NamedTuple, Self
from urllib.parse import urlencode

import aiohttp
import orjson
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.client.rest import RESTResponse
from kubernetes.aio.config import ConfigException

from flowy_operator.adapters.kube.errors import Gone, NotFound, NotLeading, Unreachable, from_response, from_status
from flowy_operator.adapters.kube.fields import mapping
from flowy_operator.adapters.kube.login import NoClusterError, load_configuration
from flowy_operator.adapters.kube.paths import resource_of

__all__ = ["Json", "KubeClient", "NoClusterError", "WatchEvent"]  # the third for those who call `connect`

CALL_TIMEOUT_S = 30.0

CREATE_TIMEOUT_S = 10.0
"""A create is told to the API server with this bound, which counts its queues as well: it may come to pass so long after it
has arrived, whoever still waits for it. Its own bound, if we said none, is a minute."""
"""For one call, connecting and reading included. The API server gives up on its own side after 60 s."""

INACTIVITY_TIMEOUT_S = 70.0
"""A watch without a byte for so long is dead: bookmarks come every minute, and old events are kept for 75 s."""

LINE_LIMIT_BYTES = 4 * 1024 * 1024
"""One watch event. An object ends at etcd's 1.5 MiB, and escapes can't more than double what is mostly text."""

LEVELS = 10_000
"""How deep a JSON text may be that the API server takes, and gives to whoever lists. Whoever couldn't read one object of a
list could read none of it."""

_EXPIRED_LISTS = 3
_ANY = "*/*"
_JSON = "application/json"
_JSON_PATCH = "application/json-patch+json"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"

Json = dict[str, Any]
Objects = list[Json]


class WatchEvent(NamedTuple):
    """`type` is ADDED, MODIFIED, DELETED or BOOKMARK; a bookmark's object has nothing but a resourceVersion."""

    type: str
    object: Json


class KubeClient:
    """One connection pool to one API server. Raises only the errors of `kube.errors`.

    `requests` counts calls by (verb, resource, status code), 0 standing for no answer. `may_write` is asked before each
    write, and once more when its bytes go out; what it forbids is not sent.
    """

    def __init__(
        self,
        configuration: Configuration,
        *,
        timeout_s: float = CALL_TIMEOUT_S,
        agent: str = "flowy-operator",
        may_write: Callable[[], bool] | None = None,
    ) -> None:
        """Must be called in a running loop. `configuration` becomes the client's own; `agent` says who asks."""
        configuration.client_session_kwargs = {
            # A look-up of proxies and netrc at each request, 0.3 ms. A proxy belongs into the kubeconfig.
            "trust_env": False,
            "cookie_jar": aiohttp.DummyCookieJar(),
        }
        self.configuration = configuration
        self.requests: Counter[tuple[str, str, int]] = Counter()
        self._may_write = may_write
        if may_write is not None:
            configuration.client_session_kwargs["trace_configs"] = [_last_look(may_write)]
        self._api = ApiClient(configuration)
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._timeout_s = timeout_s
        self._user_agent = f"{agent}/{version('flowy-operator')}"

    @classmethod
    async def connect(
        cls,
        kubeconfig: str | None,
        context: str | None = None,
        *,
        timeout_s: float = CALL_TIMEOUT_S,
        agent: str = "flowy-operator",
        may_write: Callable[[], bool] | None = None,
    ) -> Self:
        """Read how to reach the cluster: from `kubeconfig`, or without one from the pod's service account.

        No request is sent. Raises NoClusterError.
        """
        # For kopf's parser too, which reads the watch of Workflows. Python code takes no C stack for its calls.
        sys.setrecursionlimit(max(sys.getrecursionlimit(), LEVELS + 5_000))
        configuration = await load_configuration(kubeconfig, context)
        return cls(configuration, timeout_s=timeout_s, agent=agent, may_write=may_write)

    async def close(self) -> None:
        await self._api.close()  # type: ignore[no-untyped-call]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def get(self, path: str) -> Json:
        return await self._call("get", "GET", path)

    async def get_end(self, path: str, *, query: Mapping[str, str], most_bytes: int) -> tuple[bytes, int]:
        """The last bytes of an answer that is no JSON, at most so many, and the size of the whole."""
        response = await self._send("get", "GET", path, query=query, accept=_ANY, timeout=self._timeout)
        end, size = bytearray(), 0
        try:
            async for block in response.response.content.iter_any():
                end += block
                size += len(block)
                if len(end) > 2 * most_bytes:  # not at each block: what goes is moved
                    del end[:-most_bytes]
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unreachable(f"answer to get {path}: {_say(error)}") from error
        finally:
            response.response.close()
        return bytes(end[-most_bytes:]), size

    async def stream(self, path: str, *, query: Mapping[str, str]) -> AsyncGenerator[bytes, None]:
        """Yield an answer that is no JSON, block by block as it comes: a log that goes on, or a long one.

        Close it (`contextlib.aclosing`) if it isn't read to its end. Between two blocks any time may pass.
        """
        timeout = aiohttp.ClientTimeout(total=None, connect=self._timeout_s, sock_connect=self._timeout_s)
        response = await self._send("get", "GET", path, query=query, accept=_ANY, timeout=timeout)
        try:
            async for block in response.response.content.iter_any():
                yield block
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unreachable(f"answer to get {path}: {_say(error)}") from error
        finally:
            response.response.close()

    async def list(
        self, path: str, *, label_selector: str | None = None, field_selector: str | None = None, chunk: int = 500
    ) -> tuple[Objects, str]:
        """All objects of one moment, and that moment's resourceVersion to watch from.

        The items have no `kind` and `apiVersion`: the API server says those once, for the list.
        """
        return await self._list_of_one_moment(path, _selected(label_selector, field_selector), chunk, _JSON)

    async def list_metadata(self, path: str, *, label_selector: str) -> Objects:
        """Of all objects the metadata alone: what they hold may be a MiB each."""
        items, _ = await self._list_of_one_moment(path, _selected(label_selector), 500, METADATA_LIST)
        return items

    async def _list_of_one_moment(
        self, path: str, selected: Mapping[str, str], chunk: int, accept: str
    ) -> tuple[Objects, str]:
        for attempt in range(_EXPIRED_LISTS):
            try:
                return await self._list(path, selected, chunk, accept)
            except Gone:
                # The continue token lives about 5 min; what was read so far is of another moment than the rest.
                if attempt + 1 == _EXPIRED_LISTS:
                    raise
        raise AssertionError

    async def list_some(self, path: str, *, field_selector: str, limit: int) -> Objects:
        """At most so many of the objects whose fields are such: for what is worth a look and not the whole of a list."""
        page = await self._call("list", "GET", path, query={"limit": str(limit), "fieldSelector": field_selector})
        return _items(path, page)

    async def create(self, path: str, body: Mapping[str, Any]) -> Json:
        return await self._write("create", "POST", path, body, query={"timeout": f"{CREATE_TIMEOUT_S:g}s"})

    async def json_patch(self, path: str, operations: Sequence[Mapping[str, Any]]) -> Json:
        """Apply all operations or none. Conflict if a `test` among them fails."""
        # Anything but a list would silently be sent as a strategic merge patch.
        return await self._write("patch", "PATCH", path, list(operations), _JSON_PATCH)

    async def delete(self, path: str, *, uid: str | None = None, propagation: str = "Background") -> None:
        """Delete the object if it is there. With `uid`, Conflict if another has taken its name."""
        options: Json = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": propagation}
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        try:
            await self._write("delete", "DELETE", path, options)
        except NotFound:
            return

    def watch(
        self,
        path: str,
        *,
        resource_version: str,
        label_selector: str | None = None,
        field_selector: str | None = None,
        timeout_s: int = 300,
    ) -> AsyncGenerator[WatchEvent, None]:
        """Yield what happened after `resource_version`, until the server ends the stream after `timeout_s`.

        Close it (`contextlib.aclosing`) if it isn't read to its end. Gone if the version is too old, Unreachable if
        the stream is cut or nothing at all comes for INACTIVITY_TIMEOUT_S.
        """
        query = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(timeout_s),
            **_selected(label_selector, field_selector),
        }
        return self._events(path, query)

    async def _events(self, path: str, query: Mapping[str, str]) -> AsyncGenerator[WatchEvent, None]:
        """The events of one watch."""
        timeout = aiohttp.ClientTimeout(
            total=None, connect=self._timeout_s, sock_connect=self._timeout_s, sock_read=INACTIVITY_TIMEOUT_S
        )
        response = await self._send("watch", "GET", path, query=query, timeout=timeout)
        try:
            async for line in _lines(response.response.content):
                event = _watch_event(line)
                if event.type == "ERROR":
                    raise from_status(event.object)
                yield event
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unreachable(f"watch of {path}: {_say(error)}") from error
        finally:
            # Not released but closed: the rest of the stream would never come to an end.
            response.response.close()

    async def authorization(self) -> str | None:
        """Return the Authorization header of this moment, for other clients of the same cluster."""
        value = await self.configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
        # Token files may end in a newline, which no header may hold.
        return None if value is None else str(value).strip()

    async def _list(self, path: str, selected: Mapping[str, str], chunk: int, accept: str) -> tuple[Objects, str]:
        query = {"limit": str(chunk), **selected}
        items: Objects = []
        while True:
            page = await self._call("list", "GET", path, query=query, accept=accept)
            items += _items(path, page)
            metadata = mapping(page.get("metadata"))
            token = metadata.get("continue")
            if not token:
                return items, str(metadata.get("resourceVersion", ""))
            query["continue"] = token

    async def _write(
        self,
        verb: str,
        method: str,
        path: str,
        body: Any,
        content_type: str = _JSON,
        query: Mapping[str, str] | None = None,
    ) -> Json:
        if self._may_write is not None and not self._may_write():
            raise NotLeading(f"{verb} {path} was kept back: this operator doesn't lead any more")
        return await self._call(verb, method, path, query=query, body=body, content_type=content_type)

    async def _call(
        self,
        verb: str,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = _JSON,
        accept: str = _JSON,
    ) -> Json:
        response = await self._send(
            verb, method, path, query=query, body=body, content_type=content_type, accept=accept, timeout=self._timeout
        )
        try:
            content = await response.response.read()
            parsed = _parsed(content)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise Unreachable(f"answer to {verb} {path}: {_say(error)}") from error
        if not isinstance(parsed, dict):
            raise Unreachable(f"answer to {verb} {path}: not a JSON object")
        return parsed

    async def _send(
        self,
        verb: str,
        method: str,
        path: str,
        *,
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's, which knows connecting from reading
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = _JSON,
        accept: str = _JSON,
    ) -> RESTResponse:
        """One request; the answer's status is good, its body not yet read."""
        url = f"{self.configuration.host}{path}"
        if query:
            url = f"{url}?{urlencode(query)}"
        resource = resource_of(path)
        code = 0
        try:
            headers = {"Accept": accept, "Content-Type": content_type, "User-Agent": self._user_agent}
            # Long lists would come compressed, which costs both sides more than the way does.
            headers["Accept-Encoding"] = "identity"
            authorization = await self.authorization()
            if authorization is not None:
                headers["Authorization"] = authorization
            response = await self._api.call_api(method, url, headers, body, _request_timeout=timeout)
            code = response.status
            if code < 400:  # noqa: PLR2004 - HTTP
                return response
            content = await response.response.read()
        except (aiohttp.ClientError, TimeoutError, OSError, ConfigException) as error:
            # OSError and ConfigException also stand for a token that can't be read just now.
            raise Unreachable(f"{verb} {path}: {_say(error)}") from error
        finally:
            self.requests[verb, resource, code] += 1
        raise from_response(code, content, response.headers.get("Retry-After"))


def _items(path: str, page: Json) -> Objects:
    """The objects of a list, or of a part of one."""
    items = page.get("items") or []
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise Unreachable(f"answer to list {path}: its items are no list of objects")
    return items


def _selected(label_selector: str | None, field_selector: str | None = None) -> dict[str, str]:
    """The part of a query that says which objects are meant."""
    given = {"labelSelector": label_selector, "fieldSelector": field_selector}
    return {name: text for name, text in given.items() if text is not None}


def _last_look(may_write: Callable[[], bool]) -> aiohttp.TraceConfig:
    """Ask once more when a request's body is about to leave; reads have none.

    Between the first look and this one the connection is made or waited for, and a process may be stopped there.
    """

    async def look(*_: object) -> None:
        if not may_write():
            raise aiohttp.ClientConnectionError("kept back: this operator doesn't lead any more")

    trace = aiohttp.TraceConfig()
    trace.on_request_chunk_sent.append(look)
    return trace


async def _lines(stream: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Lines of any length up to LINE_LIMIT_BYTES: aiohttp's own reader stops at its buffer."""
    pending: list[bytes] = []
    size = 0
    async for block in stream.iter_any():
        *ends, rest = block.split(b"\n")
        for end in ends:
            line = b"".join([*pending, end]) if pending else end
            pending.clear()
            size = 0
            if line:
                yield line
        if rest:
            pending.append(rest)
            size += len(rest)
            if size > LINE_LIMIT_BYTES:
                raise aiohttp.ClientPayloadError(f"a line of more than {LINE_LIMIT_BYTES} bytes")
    if pending:
        raise aiohttp.ClientPayloadError(f"it ended within a line, after {size} bytes of it")


def _parsed(raw: bytes) -> Any:
    """JSON as the API server sends it. orjson stops at 1,024 levels, and Python's own parser at the recursion limit."""
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return json.loads(raw)


def _watch_event(line: bytes) -> WatchEvent:
    try:
        event = _parsed(line)
        kind, value = event["type"], event["object"]
    except (ValueError, KeyError, TypeError) as error:
        raise aiohttp.ClientPayloadError(f"not a watch event: {line[:100]!r}") from error
    if not isinstance(kind, str) or not isinstance(value, dict):
        raise aiohttp.ClientPayloadError(f"not a watch event: {line[:100]!r}")
    return WatchEvent(kind, value)


def _say(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
