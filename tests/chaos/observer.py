"""What the Workflows say while all that goes on, by a watch that no fault of ours touches but the API server's own."""

from dataclasses import dataclass, field
from typing import Any

from flowy_operator.adapters.kube import paths
from flowy_operator.adapters.kube.client import Json, KubeClient
from flowy_operator.core.conditions import Blocker, by_type, has_ended
from tests.chaos.fake_kubelet import FakeKubelet
from tests.chaos.following import follow


@dataclass(slots=True)
class Seen:
    """A Workflow as it was last seen. `events` are all that ever were, by their id, as JSON."""

    name: str
    body: Json
    events: dict[int, Any] = field(default_factory=dict)
    is_gone: bool = False

    @property
    def has_ended(self) -> bool:
        return has_ended(self.body.get("status") or {})


class Observer:
    """`seen` by the uid. `wrong` is what may never be."""

    def __init__(self, client: KubeClient, namespace: str, kubelet: FakeKubelet) -> None:
        self.seen: dict[str, Seen] = {}
        self.wrong: list[str] = []
        self._client = client
        self._namespace = namespace
        self._kubelet = kubelet
        self._names: dict[str, str] = {}

    async def run(self) -> None:
        await follow(self._client, paths.workflows(self._namespace), self._see, self._gone)

    def named(self, name: str) -> Seen | None:
        """The Workflow of this name that came first: there is to be no other."""
        uid = self._names.get(name)
        return None if uid is None else self.seen[uid]

    def _see(self, body: Json) -> None:
        metadata, status = body["metadata"], body.get("status") or {}
        uid, name = metadata["uid"], metadata["name"]
        if self._names.setdefault(name, uid) != uid:
            self.wrong.append(f"{name} was created twice")
        for owner in metadata.get("ownerReferences", ()):
            self._kubelet.adopt(name, owner["name"])
        seen = self.seen.setdefault(uid, Seen(name, body))
        before = seen.body.get("status") or {}
        if has_ended(before) and before != status:
            self.wrong.append(f"{name} had ended, and its status was changed afterwards")
        seen.body = body
        for event in status.get("history", ()):
            known = seen.events.setdefault(event["id"], event)
            if known != event:
                self.wrong.append(f"{name}: event {event['id']} was {known}, and is {event}")
        stalled = by_type(status).get("Stalled", {})
        if stalled.get("status") == "True" and stalled.get("reason") in set(Blocker):
            self.wrong.append(f"{name} is stalled: {stalled['reason']}: {stalled['message']}")

    def _gone(self, body: Json) -> None:
        self.seen[body["metadata"]["uid"]].is_gone = True
