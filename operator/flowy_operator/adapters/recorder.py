"""Posts Kubernetes Events: what `kubectl describe` shows of a Workflow's life.

Best effort, and never in the way of a pass: `event` only queues, one task posts. An Event is for people; nothing reads
it back. Call it after the write that it tells of has succeeded.
"""

import asyncio
import hashlib
import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Literal, NamedTuple

from flowy_operator.adapters.kube.client import Json, KubeClient
from flowy_operator.adapters.kube.errors import AlreadyExists, ApiError
from flowy_operator.adapters.kube.paths import events

QUEUE_LIMIT = 1000
"""Events that wait to be posted. More means that the API server is in trouble, and then they are the first to go."""

MESSAGE_LIMIT = 1024
"""Characters of a message; the API's own bound (events.k8s.io/v1, `note`)."""

NAME_LIMIT = 253
COMPONENT = "flowy-operator"

_log = logging.getLogger(__name__)


class _Note(NamedTuple):
    reference: Mapping[str, Any]
    type: str
    reason: str
    message: str
    at: datetime
    place: int  # among those of the same version of the object


class Recorder:
    def __init__(self, client: KubeClient, *, instance: str, now: Callable[[], datetime]) -> None:
        """`instance` is this process's name among its replicas, usually the pod's."""
        self.dropped = 0
        self._client = client
        self._instance = instance
        self._now = now
        self._notes: asyncio.Queue[_Note] = asyncio.Queue(QUEUE_LIMIT)
        self._moment: object = None
        self._said: dict[tuple[str, str, str], int] = {}  # of this moment: what, and as which

    def event(
        self,
        reference: Mapping[str, Any],
        type: Literal["Normal", "Warning"],  # noqa: A002 - the API's word
        reason: str,
        message: str,
    ) -> None:
        """Have an Event posted about the object of `reference` (apiVersion, kind, namespace, name, uid, resourceVersion).

        With a resourceVersion in the reference, saying the same of the same version again posts nothing new.
        """
        moment = (reference.get("uid"), reference.get("resourceVersion"))
        if moment != self._moment:
            self._moment = moment
            self._said = {}
        place = self._said.setdefault((type, reason, message), len(self._said))
        try:
            self._notes.put_nowait(_Note(reference, type, reason, message, self._now(), place))
        except asyncio.QueueFull:
            self.dropped += 1
            if self.dropped == 1:
                _log.warning("Kubernetes Events are dropped: the API server takes them too slowly")

    async def run(self) -> None:
        """Post what is queued, until cancelled."""
        while True:
            note = await self._notes.get()
            try:
                await self._client.create(events(note.reference["namespace"]), self._manifest(note))
            except AlreadyExists:
                pass  # said before a restart
            except ApiError as error:
                _log.warning(
                    "a Kubernetes Event can't be posted",
                    extra={
                        "namespace": note.reference["namespace"],
                        "workflow": note.reference["name"],
                        "reason": note.reason,
                        "error": str(error),
                    },
                )
            finally:
                self._notes.task_done()

    async def drain(self) -> None:
        """Wait until everything queued has been posted or given up. `run` must be running; the caller sets the limit."""
        await self._notes.join()

    def _manifest(self, note: _Note) -> Json:
        at = note.at.strftime("%Y-%m-%dT%H:%M:%SZ")
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": _name(note), "namespace": note.reference["namespace"]},
            "involvedObject": dict(note.reference),
            "type": note.type,
            "reason": note.reason,
            "message": note.message if len(note.message) <= MESSAGE_LIMIT else f"{note.message[: MESSAGE_LIMIT - 1]}…",
            "source": {"component": COMPONENT},
            "reportingComponent": COMPONENT,
            "reportingInstance": self._instance,
            "firstTimestamp": at,
            "lastTimestamp": at,
            "count": 1,
        }


def _name(note: _Note) -> str:
    """Name it after what it says, so that a pass repeated after a crash doesn't say it twice.

    The names sort in the order of what happened: `kubectl describe` sorts by the second, and leaves those of one second in
    the order of their names.
    """
    reference = note.reference
    # Without a version only the second tells a thing said again from a thing that happened again.
    moment = int(reference.get("resourceVersion") or note.at.strftime("%Y%m%d%H%M%S"))
    told = "\n".join((str(reference.get("uid")), str(moment), note.type, note.reason, note.message))
    digest = hashlib.sha256(told.encode()).hexdigest()[:16]
    end = f".{moment:016x}{note.place:03x}.{digest}"
    return f"{reference['name'][: NAME_LIMIT - len(end)]}{end}"
