"""Which pod a token speaks for: TokenReview of a projected service-account token, remembered until the token expires.

A review costs the API server a signature check, and anybody who reaches the gateway can ask for one. So what can't be a
good token is refused unasked, answers are remembered, and an address that keeps sending bad ones is not asked for again.
"""

import asyncio
import base64
import hashlib
import json
import logging
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from flowy_operator.adapters.kube import paths
from flowy_operator.adapters.kube.client import KubeClient
from flowy_operator.adapters.kube.errors import ApiError
from flowy_operator.adapters.kube.fields import mapping, text
from flowy_operator.core.attempts import Caller

REVIEWS_AT_ONCE = 16
"""In flight at the API server together. A thousand pods that start together are through in a second or two."""

KNOWN_TOKENS = 20_000
"""Good tokens remembered, 500 bytes each; the longest unused goes first and costs one review when it comes again."""

BAD_TOKENS = 1_000
BAD_S = 10.0
"""How long a refusal holds. A token may become good: its pod's record reaches the API server's cache a little later."""

BAD_PER_ADDRESS = 10
"""Reviews that may fail for one address within BAD_S; what it sends beyond that is refused without a review."""

ADDRESSES = 10_000

_POD_NAME = "authentication.kubernetes.io/pod-name"
_POD_UID = "authentication.kubernetes.io/pod-uid"
_ACCOUNT = re.compile(r"system:serviceaccount:([^:]+):[^:]+")
_JWT = re.compile(r"[A-Za-z0-9_-]+\.([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+")

_log = logging.getLogger(__name__)


class TokenRefused(Exception):
    """The token speaks for no pod; `str()` says why, for whoever sent it."""


class TokenUnchecked(Exception):
    """Whether the token is good can't be said now: ask again in a second."""


@dataclass(frozen=True, slots=True)
class _Good:
    caller: Caller
    until: datetime


@dataclass(frozen=True, slots=True)
class _Bad:
    why: str
    until: datetime


@dataclass(slots=True)
class _Failures:
    since: datetime
    count: int = 0


class Tokens:
    """Checks tokens of one audience. `clock` gives aware UTC.

    `deaf` is called when a token can't be checked: whoever counts silence should know that somebody spoke.
    """

    def __init__(
        self, client: KubeClient, *, audience: str, clock: Callable[[], datetime], deaf: Callable[[], None]
    ) -> None:
        self._client = client
        self._audience = audience
        self._clock = clock
        self._deaf = deaf
        self._good: OrderedDict[bytes, _Good] = OrderedDict()
        self._bad: OrderedDict[bytes, _Bad] = OrderedDict()
        self._failures: OrderedDict[str, _Failures] = OrderedDict()
        self._reviews: dict[bytes, asyncio.Task[_Good | _Bad]] = {}
        self._slots = asyncio.Semaphore(REVIEWS_AT_ONCE)

    async def caller_of(self, token: str, address: str) -> Caller:
        """The pod of a token that came from this address. Raises TokenRefused or TokenUnchecked."""
        key = hashlib.sha256(token.encode()).digest()
        now = self._clock()
        known = self._good.get(key)
        if known is not None and now < known.until:
            self._good.move_to_end(key)
            return known.caller
        expires_at = self._expires_at(token, now)
        refused = self._bad.get(key)
        if refused is not None and now < refused.until:
            raise TokenRefused(refused.why)
        if self._is_suspect(address, now):
            raise TokenUnchecked("too many wrong tokens came from this address: wait 10 seconds")
        match await self._review(key, token, expires_at):
            case _Good(caller=caller):
                return caller
            case _Bad(why=why):
                self._blame(address)
                raise TokenRefused(why)

    def _expires_at(self, token: str, now: datetime) -> datetime:
        """When the token says that it expires. Not proven yet, but what it says against itself may be believed."""
        claims = _claims(token)
        if claims is None:
            raise TokenRefused(
                "no token: send `Authorization: Bearer` with what is in the file that FLOWY_TOKEN_FILE names"
            )
        audiences = claims.get("aud")
        if self._audience not in (audiences if isinstance(audiences, list) else [audiences]):
            raise TokenRefused(f"the token is not for the audience {self._audience!r}: take that of FLOWY_TOKEN_FILE")
        expires = claims.get("exp")
        if not isinstance(expires, int) or not 0 < expires < _FAR:
            raise TokenRefused("the token doesn't say when it expires")
        at = datetime.fromtimestamp(expires, UTC)
        if at <= now:
            raise TokenRefused("the token has expired: read FLOWY_TOKEN_FILE again for each call, it changes")
        return at

    async def _review(self, key: bytes, token: str, expires_at: datetime) -> _Good | _Bad:
        """Ask the API server, once for all that wait for the same token."""
        review = self._reviews.get(key)
        if review is None:
            review = self._reviews[key] = asyncio.create_task(self._ask(key, token, expires_at))
            review.add_done_callback(lambda _: self._reviews.pop(key, None))
        try:
            # A caller that goes away must not end the review of the others.
            return await asyncio.shield(review)
        except ApiError as error:
            self._deaf()
            raise TokenUnchecked("the API server doesn't check tokens just now: try again") from error

    async def _ask(self, key: bytes, token: str, expires_at: datetime) -> _Good | _Bad:
        spec = {"token": token, "audiences": [self._audience]}
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec}
        async with self._slots:
            try:
                answer = await self._client.create(paths.tokenreviews(), body)
            except ApiError as error:
                _log.warning("tokens of pods can't be checked", extra={"error": str(error)})
                raise
        found = self._judged(mapping(answer.get("status")), expires_at)
        if isinstance(found, _Good):
            _remember(self._good, key, found, KNOWN_TOKENS)
        else:
            _remember(self._bad, key, found, BAD_TOKENS)
        return found

    def _judged(self, status: Mapping[str, Any], expires_at: datetime) -> _Good | _Bad:
        until = self._clock() + timedelta(seconds=BAD_S)
        # An API server that knows nothing of audiences would leave the list out.
        if status.get("authenticated") is not True or self._audience not in (status.get("audiences") or ()):
            return _Bad("the API server doesn't accept the token", until)
        user = mapping(status.get("user"))
        account = _ACCOUNT.fullmatch(text(user.get("username")) or "")
        extra = mapping(user.get("extra"))
        pod, uid = _first(extra.get(_POD_NAME)), _first(extra.get(_POD_UID))
        if account is None or pod is None or uid is None:
            return _Bad("the token is not bound to a pod: take that of FLOWY_TOKEN_FILE", until)
        return _Good(Caller(account[1], pod, uid), expires_at)

    def _is_suspect(self, address: str, now: datetime) -> bool:
        found = self._failures.get(address)
        if found is not None and now - found.since >= timedelta(seconds=BAD_S):
            del self._failures[address]
            return False
        return found is not None and found.count >= BAD_PER_ADDRESS

    def _blame(self, address: str) -> None:
        found = self._failures.get(address) or _Failures(self._clock())
        found.count += 1
        _remember(self._failures, address, found, ADDRESSES)


_FAR = 2**33  # a year that datetime knows


def _claims(token: str) -> Mapping[str, Any] | None:
    """The payload of a JWT, its signature unchecked; None if it is none."""
    parts = _JWT.fullmatch(token)
    if parts is None:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):
        return None
    return claims if isinstance(claims, dict) else None


def _first(values: object) -> str | None:
    return text(values[0]) if isinstance(values, list) and values else None


K = TypeVar("K")
V = TypeVar("V")


def _remember(known: OrderedDict[K, V], key: K, value: V, limit: int) -> None:
    known[key] = value
    known.move_to_end(key)
    while len(known) > limit:
        known.popitem(last=False)
