"""Whether a child that has ended may go, for its parent's sake: not before its end is on the parent's record.

Nor while a create of it may still come to pass that its parent's operator sent (`late.py`). Where the parent is another
shard's, nobody here hears of such creates. But whoever has an end on record creates that child no more, so the last create
was sent before that was seen.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

from flowy_operator.adapters.kube import paths
from flowy_operator.adapters.kube.client import Json, KubeClient
from flowy_operator.adapters.kube.errors import NotFound
from flowy_operator.app.late import Late
from flowy_operator.app.pages import Pages
from flowy_operator.app.tracked import Workflow
from flowy_operator.app.workflows import Workflows
from flowy_operator.core.history import HistoryInvalid
from flowy_operator.core.job import Owner
from flowy_operator.core.key import Key
from flowy_operator.core.share import Share

AGAIN = timedelta(seconds=15)
"""How often it is looked whether the parent has recorded the end: held up for longer than a child's time to live."""


class Parents:
    """`clock` gives aware UTC, `share` are the Workflows that `workflows` knows."""

    def __init__(
        self,
        client: KubeClient,
        workflows: Workflows,
        pages: Pages,
        share: Share,
        late: Late,
        clock: Callable[[], datetime],
    ) -> None:
        self._client = client
        self._workflows = workflows
        self._pages = pages
        self._share = share
        self._late = late
        self._clock = clock

    async def needs(self, child: Workflow, now: datetime) -> datetime | None:
        """When to ask again, None if nobody needs it any more. Raises ApiError."""
        lineage = child.version.lineage
        if lineage is None:
            return None
        parent = await self._find(Key(child.owner.namespace, lineage.parent))
        if parent is None or parent.owner.uid != lineage.parent_uid or parent.version.deleting:
            return None
        if self._share.has(parent.owner.uid):
            settled_at = self._late.settled_at(parent, now)
            return now + AGAIN if settled_at > now or _waits(parent, child) else None
        if _waits(parent, child):
            return now + AGAIN
        if child.released_at is None:
            child.released_at = asyncio.get_running_loop().time()
        settled_at = self._late.after(child.released_at, now)
        return settled_at if settled_at > now else None

    async def _find(self, key: Key) -> Workflow | None:
        parent = self._workflows.get(key)
        if parent is not None:
            return parent
        try:
            body = await self._client.get(paths.workflows(key.namespace, key.name))
        except NotFound:
            return None
        if not self._share.has(body["metadata"]["uid"]):
            return await self._of_another(key, body)
        self._workflows.accept(key, body, self._clock())  # not listed yet
        return self._workflows.get(key)

    async def _of_another(self, key: Key, body: Json) -> Workflow:
        """Another shard's, to be looked at once."""
        parent = Workflow(Owner(namespace=key.namespace, name=key.name, uid=body["metadata"]["uid"]))
        parent.accept(body, self._clock())
        unread = parent.version.unread
        if unread is not None:
            try:
                before = await self._pages.read(parent.owner, unread.empty, unread.run, unread.first)
            except HistoryInvalid:
                return parent  # without a history: its operator says why
            parent.read(parent.version, before)
        return parent


def _waits(parent: Workflow, child: Workflow) -> bool:
    """Whether it hasn't recorded yet how the child ended, or nobody can say."""
    if parent.version.ended:
        return False
    state = parent.version.state
    launch = None if state is None else state.launches.get(child.owner.name)
    return state is None or (launch is not None and launch.end is None)
