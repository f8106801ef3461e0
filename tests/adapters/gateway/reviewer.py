"""The API server as far as tokens go: it accepts those that it was told of."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from flowy_operator.adapters.kube.client import Json, KubeClient
from flowy_operator.adapters.kube.errors import ApiError
from flowy_operator.core.attempts import Caller
from tests.fakes.tokens import bearer, unsigned

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def jwt(
    pod: str,
    namespace: str = "ns",
    *,
    uid: str | None = None,
    expires_at: datetime = NOW + timedelta(hours=1),
    bound: Any = None,
    **claims: Any,
) -> str:
    """A token which claims to be this pod's."""
    bound = bound or {"namespace": namespace, "pod": {"name": pod, "uid": uid or f"{pod}-uid"}}
    payload = {"aud": ["flowy"], "exp": int(expires_at.timestamp()), "kubernetes.io": bound} | claims
    return unsigned(payload)


def user(pod: str, namespace: str = "ns") -> Json:
    return bearer(namespace, "default", {"name": pod, "uid": f"{pod}-uid"})


class Reviewer(KubeClient):
    """`reviews` are the tokens that were asked about, in their order. Answers wait for `answers`, which is set at first.

    For whoever asks it also knows which pods there are, all but `strangers`, and `unheard` notes whose calls couldn't be
    judged.
    """

    def __init__(self, accepted: Mapping[str, Json]) -> None:
        self.reviews: list[str] = []
        self.missed: list[str] = []
        self.strangers: set[str] = set()
        self.error: ApiError | None = None
        self.audiences: list[str] | None = ["flowy"]
        self.answers = asyncio.Event()
        self.answers.set()
        self._accepted = accepted

    def knows(self, caller: Caller) -> bool:
        return caller.pod not in self.strangers

    def unheard(self, caller: Caller) -> None:
        assert self.knows(caller)
        self.missed.append(caller.pod)

    async def create(self, path: str, body: Mapping[str, Any]) -> Json:
        assert path == "/apis/authentication.k8s.io/v1/tokenreviews"
        assert body["spec"]["audiences"] == ["flowy"]
        token = body["spec"]["token"]
        self.reviews.append(token)
        await self.answers.wait()
        if self.error is not None:
            raise self.error
        if token not in self._accepted:
            return {"status": {"error": "not today"}}
        status: Json = {"authenticated": True, "user": self._accepted[token]}
        if self.audiences is not None:
            status["audiences"] = self.audiences
        return {"status": status}
