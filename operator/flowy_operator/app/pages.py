"""HistoryPages in the cluster: makes them, reads them, deletes those of runs that nobody asks for any more.

What is in them and when events are sealed is decided in `core/pages.py`.
"""

import asyncio
import logging
from collections.abc import Iterable
from contextlib import suppress

from flowy_operator.adapters.kube import paths
from flowy_operator.adapters.kube.client import KubeClient
from flowy_operator.adapters.kube.errors import AlreadyExists, Forbidden, Invalid, NotFound, PayloadTooLarge
from flowy_operator.adapters.kube.errors import Conflict as WriteConflict
from flowy_operator.adapters.kube.fields import is_owned
from flowy_operator.core.errors import Conflict
from flowy_operator.core.job import RUN_LABEL, UID_LABEL, Owner
from flowy_operator.core.pages import (
    KEPT_RUN_BYTES,
    TAIL_BYTES,
    Page,
    PageInvalid,
    PageLimits,
    Tail,
    agreed,
    fold_pages,
    is_of_runs,
    next_page,
    page_bytes,
    page_manifest,
    parse_page,
    run_of,
)
from flowy_operator.core.state import State
from flowy_operator.core.values import input_name

READS_AT_ONCE = 4
"""Histories read side by side. Each may be 8 MiB long and takes some times that while it is folded."""

CHUNK = 32
"""Pages in one answer: about 1 MiB, as long as they aren't out of the ordinary."""

_log = logging.getLogger(__name__)


class Pages:
    """All access to HistoryPages."""

    def __init__(self, client: KubeClient, limits: PageLimits) -> None:
        self._client = client
        self.limits = limits
        self._readers = asyncio.Semaphore(READS_AT_ONCE)
        self._told = ""

    async def read(self, owner: Owner, empty: State, run: int, end: int) -> State:
        """The state of a run before event `end`. Raises PageInvalid and ApiError."""
        async with self._readers:
            selector = f"{UID_LABEL}={owner.uid},{RUN_LABEL}={run}"
            items, _ = await self._client.list(
                paths.historypages(owner.namespace), label_selector=selector, chunk=CHUNK
            )
            # Whoever may create pages can give them our labels; an owner's uid that is ours is more than a claim only
            # together with the digests.
            return fold_pages(empty, run, [parse_page(item) for item in items if is_owned(item, owner.uid)], end)

    async def seal(self, owner: Owner, tail: Tail, state: State) -> Tail:
        """Put what is too old for the tail into pages. Gives the tail as it may be cut now. Raises ApiError.

        Without the right, without the kind, with the quota used up, or with something else in the page's place nothing is
        sealed: the tail then grows as far as it can. Nothing depends on pages that aren't made, so nothing stops for them.
        """
        while (page := next_page(owner, tail, state, self.limits)) is not None:
            try:
                there = await self._make(owner, page, tail)
            except (NotFound, Forbidden, Invalid, PayloadTooLarge, PageInvalid) as error:
                self._tell_once(owner, str(error))
                return tail
            if there.end > tail.end:
                raise Conflict(f"HistoryPage {there.name} is ahead of what was read")
            tail = tail.cut(there.end, state.first)
        return tail

    async def drop_older(self, owner: Owner, run: int, jobs: Iterable[str]) -> None:
        """Delete what the runs before this one have left, but that of the last if its pages aren't long.

        Pages last: what they tell refers to the long values. `jobs` are names of those that are still there: an abandoned
        one may have to mount its arguments yet, which go with it. Raises ApiError.
        """
        in_use = {input_name(job) for job in jobs}
        namespace, selector = owner.namespace, f"{UID_LABEL}={owner.uid},{RUN_LABEL}!={run}"
        pages = await self._client.list_metadata(paths.historypages(namespace), label_selector=selector)
        pages = [page for page in pages if is_owned(page, owner.uid)]
        kept = run - 1 if sum(page_bytes(page) for page in pages if run_of(page) == run - 1) <= KEPT_RUN_BYTES else run
        values = await self._client.list_metadata(paths.configmaps(namespace), label_selector=selector)
        for value in values:
            metadata = value["metadata"]
            if is_owned(value, owner.uid) and is_of_runs(value, kept) and metadata["name"] not in in_use:
                with suppress(WriteConflict):  # another object has the name by now
                    await self._client.delete(paths.configmaps(namespace, metadata["name"]), uid=metadata["uid"])
        for page in pages:
            metadata = page["metadata"]
            if is_of_runs(page, kept):
                with suppress(WriteConflict):
                    await self._client.delete(paths.historypages(namespace, metadata["name"]), uid=metadata["uid"])

    def full(self, state: State, tail: Tail) -> str | None:
        """Why a history may not become what it would be, if so."""
        if state.chain.size > self.limits.run_bytes:
            return (
                f"the history of this run would be {state.chain.size:,} bytes long, at most {self.limits.run_bytes:,} are "
                "allowed: raise the operator's --history-run-bytes, or delete the workflow and split its work"
            )
        if tail.size > TAIL_BYTES:
            return (
                f"status.history would be {tail.size:,} bytes long, at most {TAIL_BYTES:,} fit: too much is to be written at "
                "once, or HistoryPages can't be made, which the operator's log says"
            )
        return None

    async def _make(self, owner: Owner, page: Page, tail: Tail) -> Page:
        try:
            await self._client.create(paths.historypages(owner.namespace), page_manifest(owner, page))
        except AlreadyExists:
            # Ours from a pass that was cut short, as a rule; under other limits it may have ended elsewhere.
            body = await self._client.get(paths.historypages(owner.namespace, page.name))
            if not is_owned(body, owner.uid):
                raise PageInvalid(f"HistoryPage {page.name} is in the way, it is somebody else's: delete it") from None
            there = parse_page(body)
            if not agreed(tail, there):
                raise PageInvalid(
                    f"HistoryPage {page.name} is in the way, it holds something else: delete it"
                ) from None
            return there
        return page

    def _tell_once(self, owner: Owner, why: str) -> None:
        """A pass may come every second, and a missing right is missed by all workflows."""
        if why != self._told:
            self._told = why
            _log.warning(
                "history pages can't be made",
                extra={"namespace": owner.namespace, "workflow": owner.name, "reason": why},
            )
