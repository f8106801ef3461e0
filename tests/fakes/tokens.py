"""Tokens of service accounts: issued for an audience and bound to a pod, and reviewed.

As of the real server: a review says who bears the token, and of which pod, if an audience that it asks for is among the
token's; and a token is void from the end of its pod on.
"""

import base64
import json
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from tests.fakes.store import Json

AUDIENCE = "https://kubernetes.default.svc"
"""Of a token for which none was asked, and of a review that asks for none."""


@dataclass(frozen=True, slots=True)
class _Issued:
    namespace: str
    account: str
    audiences: tuple[str, ...]
    expires_at: datetime
    pod: Mapping[str, str] | None  # name, uid


@dataclass(slots=True)
class Tokens:
    _issued: dict[str, _Issued] = field(default_factory=dict)

    def issue(self, namespace: str, account: str, spec: Mapping[str, Any], now: datetime) -> Json:
        """The status of a TokenRequest. Whoever calls this has looked whether the pod that it names is there."""
        expires_at = now + timedelta(seconds=spec.get("expirationSeconds", 3600))
        audiences = tuple(spec.get("audiences") or (AUDIENCE,))
        pod = spec.get("boundObjectRef")
        claims: Json = {
            "aud": audiences,
            "exp": int(expires_at.timestamp()),
            "jti": str(len(self._issued)),
            "kubernetes.io": {
                "namespace": namespace,
                "serviceaccount": {"name": account},
                **({"pod": pod} if pod else {}),
            },
            "sub": f"system:serviceaccount:{namespace}:{account}",
        }
        token = unsigned(claims)
        self._issued[token] = _Issued(namespace, account, audiences, expires_at, pod)
        return {"token": token, "expirationTimestamp": f"{expires_at:%Y-%m-%dT%H:%M:%SZ}"}

    def review(self, spec: Mapping[str, Any], now: datetime, uids: AbstractSet[str]) -> Json:
        """The status of a TokenReview, while the objects of these `uids` are there."""
        issued = self._issued.get(spec.get("token", ""))
        asked = spec.get("audiences") or (AUDIENCE,)
        if issued is None or now >= issued.expires_at or (issued.pod and issued.pod["uid"] not in uids):
            return {"user": {}, "error": "invalid bearer token"}
        audiences = [audience for audience in asked if audience in issued.audiences]
        if not audiences:
            said = f"token audiences {list(issued.audiences)} is invalid for the target audiences {list(asked)}"
            return {"user": {}, "error": f"invalid bearer token, {said}"}
        user = bearer(issued.namespace, issued.account, issued.pod)
        return {"authenticated": True, "user": user, "audiences": audiences}


def unsigned(claims: Json) -> str:
    """A token of the usual shape; its signature is nothing, since who reviews it knows it by heart."""
    return f"e30.{base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip('=')}.{'s' * 40}"


def bearer(namespace: str, account: str, pod: Mapping[str, str] | None) -> Json:
    """Who bears a token, as a review says it: an account, and the pod that the token is bound to, by its `name` and `uid`."""
    user: Json = {"username": f"system:serviceaccount:{namespace}:{account}"}
    if pod:
        user["extra"] = {f"authentication.kubernetes.io/pod-{field}": [pod[field]] for field in ("name", "uid")}
    return user
