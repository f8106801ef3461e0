"""Long values: kept in ConfigMaps, and in memory as long as there is room.

Store first, refer second: a value is in the cluster before an event or a Job names it. Names are deterministic and the
objects immutable, so storing again after a crash finds the same.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from sys import getsizeof

from flowy.policy.lengths import MAX_VALUE_BYTES
from flowy_operator.adapters.decider.limits import REQUEST_BYTES
from flowy_operator.adapters.kube import paths
from flowy_operator.adapters.kube.client import KubeClient
from flowy_operator.adapters.kube.errors import AlreadyExists, NotFound
from flowy_operator.adapters.kube.fields import is_owned
from flowy_operator.core.config_map import config_map_manifest, text_of
from flowy_operator.core.errors import DecisionStalled, OperatorError, StallReason
from flowy_operator.core.job import Owner
from flowy_operator.core.values import ValueRef, reference

CACHE_BYTES = 64 * 1024 * 1024
"""For all workflows: four times what one decision may be asked (16 MiB). Less would load the values of a workflow anew for
each of its decisions, at about 10 ms a MiB; more is memory of a process that shall do with 200 MiB."""

LOADS_AT_ONCE = 8
"""Of one workflow: a MiB each way is nothing for the API server, hundreds of them side by side would be."""


class ValueTooLong(OperatorError):
    """The value fits into no object. `str()` has its size and the limit."""

    def __init__(self, size: int) -> None:
        super().__init__(f"{size:,} bytes, at most {MAX_VALUE_BYTES:,} are kept")
        self.size = size


class ValueInTheWay(OperatorError):
    """The name is taken by something else; `str()` says by what, and what to do."""


class ValueLost(OperatorError):
    """A value on record isn't there any more, or is another; `str()` names it."""


class Values:
    """The values of all workflows. ApiError of a call is the caller's."""

    def __init__(self, client: KubeClient, *, cache_bytes: int = CACHE_BYTES) -> None:
        self._client = client
        self._cache = _Cache(cache_bytes)

    async def store(self, owner: Owner, name: str, text: str, *, run: int) -> ValueRef:
        """Keep a text under a name, for as long as its Workflow or this run's history is there. May be repeated.

        Raises ValueTooLong, ValueInTheWay.
        """
        ref = reference(name, text)
        await self._create(owner, ref, text, run)
        self._cache.put((owner.namespace, ref), text)
        return ref

    async def store_input(self, owner: Owner, name: str, text: str, *, run: int) -> None:
        """Keep a text that only pods will read. Raises what `store` does."""
        await self._create(owner, reference(name, text), text, run)

    async def load(self, namespace: str, ref: ValueRef) -> str:
        """The text of a reference. Raises ValueLost."""
        text = self._cache.get((namespace, ref))
        if text is not None:
            return text
        try:
            body = await self._client.get(paths.configmaps(namespace, ref.name))
        except NotFound:
            raise ValueLost(f"the ConfigMap {ref.name!r} is gone, which holds {ref.bytes:,} bytes of result") from None
        text = text_of(body)
        if text is None or reference(ref.name, text) != ref:
            raise ValueLost(f"the ConfigMap {ref.name!r} holds another value than was recorded (sha256 {ref.digest})")
        self._cache.put((namespace, ref), text)
        return text

    async def load_all(self, namespace: str, refs: Sequence[ValueRef]) -> dict[str, str]:
        """The texts of these references by their names, loaded side by side. Raises ValueLost.

        DecisionStalled if they are more than a decision can be asked: then none is loaded.
        """
        size = sum(ref.bytes for ref in refs)
        if size > REQUEST_BYTES:
            raise DecisionStalled(
                StallReason.TOO_LARGE,
                f"The {len(refs)} long results of this run have {size:,} bytes together, a decision takes at most "
                f"{REQUEST_BYTES:,}: let tasks keep large data in files or objects and return where it is, or restart "
                "with what is still needed",
            )
        slots = asyncio.Semaphore(LOADS_AT_ONCE)

        async def load(ref: ValueRef) -> str:
            async with slots:
                return await self.load(namespace, ref)

        # All are waited for, also after one has failed: nothing goes on behind the caller's back.
        texts = await asyncio.gather(*(load(ref) for ref in refs), return_exceptions=True)
        found: dict[str, str] = {}
        for ref, text in zip(refs, texts, strict=True):
            if isinstance(text, BaseException):
                raise text
            found[ref.name] = text
        return found

    async def find(self, owner: Owner, name: str) -> str | None:
        """What is kept under a name of this Workflow, on record or not; None if nothing is."""
        try:
            body = await self._client.get(paths.configmaps(owner.namespace, name))
        except NotFound:
            return None
        text = text_of(body) if is_owned(body, owner.uid) else None
        if text is not None:
            self._cache.put((owner.namespace, reference(name, text)), text)  # a decision is to need it soon
        return text

    async def _create(self, owner: Owner, ref: ValueRef, text: str, run: int) -> None:
        if ref.bytes > MAX_VALUE_BYTES:
            raise ValueTooLong(ref.bytes)
        manifest = config_map_manifest(owner, ref.name, text, run=run)
        try:
            await self._client.create(paths.configmaps(owner.namespace), manifest)
        except AlreadyExists:
            # Ours from a pass that was cut short, as a rule.
            await self._compare(owner, ref)

    async def _compare(self, owner: Owner, ref: ValueRef) -> None:
        body = await self._client.get(paths.configmaps(owner.namespace, ref.name))
        if not is_owned(body, owner.uid):
            raise ValueInTheWay(f"a ConfigMap {ref.name!r} that belongs to somebody else is in the way: delete it")
        found = text_of(body)
        if found is None or reference(ref.name, found) != ref:
            raise ValueInTheWay(f"a ConfigMap {ref.name!r} with another content is in the way: delete it")


class _Cache:
    """The texts used last, up to so many bytes of memory together."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._texts: OrderedDict[tuple[str, ValueRef], str] = OrderedDict()
        self._bytes = 0

    def get(self, key: tuple[str, ValueRef]) -> str | None:
        if key in self._texts:
            self._texts.move_to_end(key)
        return self._texts.get(key)

    def put(self, key: tuple[str, ValueRef], text: str) -> None:
        if key in self._texts:
            return
        self._texts[key] = text
        self._bytes += getsizeof(text)
        while self._bytes > self._most_bytes:
            _, oldest = self._texts.popitem(last=False)
            self._bytes -= getsizeof(oldest)
