"""Creates whose answer nobody has heard: they may come to pass later, so what they would make anew isn't deleted yet.

An API server that has too much to do lets requests wait in a queue, and a create stands there even when its sender is dead
(the server notices that only once it has read the body). Names are deterministic, so such a create does no harm as long as
its Job is there: it is refused. But where the Job has run, is on record, and was deleted, the activity would run once more.
So an ended Job stays until no such create can come any more: creates bound their time at the server, and deleting waits
for a little longer than that, after an operator has begun, and after a create without an answer. (Seen by `make chaos`:
429 for everything, leaders killed, `keepSucceededSeconds: 1`.)
"""

import asyncio
from datetime import datetime, timedelta

from flowy_operator.adapters.kube.client import CREATE_TIMEOUT_S
from flowy_operator.adapters.kube.errors import ApiError
from flowy_operator.app.tracked import Workflow
from flowy_operator.core.child import ChildRecord

LATE_S = CREATE_TIMEOUT_S + 5.0
"""The rest is for the way there, and for what storage has begun."""

UNENDED = timedelta(seconds=15)
"""How often it is looked at a child that is to end; its end is told, too."""

_SERVER_ERROR = 500


def is_unheard(error: ApiError) -> bool:
    """Whether a call may come to pass that ended so: without an answer, or given up by a server between us and etcd."""
    return error.status == 0 or error.status >= _SERVER_ERROR


class Late:
    """By the loop's clock, which nobody can set."""

    def __init__(self) -> None:
        self._began = 0.0

    def begin(self) -> None:
        """This operator begins to work, after others that may have died just now."""
        self._began = asyncio.get_running_loop().time()

    def settled_at(self, workflow: Workflow, now: datetime) -> datetime:
        """From when on nothing of this workflow can be made anew: `now`, as a rule."""
        return self.after(self._began if workflow.unheard_at is None else max(self._began, workflow.unheard_at), now)

    def after(self, sent_at: float, now: datetime) -> datetime:
        """From when on no create comes to pass that was sent until `sent_at`, by the loop's clock; `now`, if that is over."""
        left_s = sent_at + LATE_S - asyncio.get_running_loop().time()
        # A pass's `now` is in whole milliseconds, and so up to one of them behind: whoever wakes then is to be late enough.
        return now if left_s <= 0 else now + timedelta(seconds=left_s, milliseconds=1)

    def of_another(self, parent: Workflow, child: ChildRecord, now: datetime) -> datetime:
        """From when on no Job of a child comes to pass that another shard looks after: after its end it makes none."""
        if not child.ended:
            return now + UNENDED
        return self.after(parent.ended_elsewhere.setdefault(child.name, asyncio.get_running_loop().time()), now)
