"""Which pod a token speaks for: TokenReview of a projected service-account token, remembered until the token expires.

A review costs the API server a signature check, and anybody who reaches the gateway can ask for one. So what can't be a
good token is refused unasked, answers are remembered, and an address that keeps sending bad ones is not asked for again.
A sender may close before the answer, and the review goes on: so it is the review that counts against an address, from its
begin, and not the call that waits for it.
"""

import asyncio
import base64
import hashlib
import json
import logging
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from flowy_operator.adapters.kube import paths
from flowy_operator.adapters.kube.client import KubeClient
from flowy_operator.adapters.kube.errors import ApiError
from flowy_operator.adapters.kube.fields import mapping, text
from flowy_operator.core.attempts import Caller

REVIEWS_AT_ONCE = 16
"""In flight at the API server together. A thousand pods that start together are through in a second or two."""

REVIEWS_PENDING = 2_048
"""In all, those that wait for their turn among them: as many as there may be connections, since most tokens come from as many
addresses as there are pods."""

KNOWN_TOKENS = 20_000
"""Good tokens remembered, 500 bytes each; the longest unused goes first and costs one review when it comes again."""

BAD_TOKENS = 1_000
BAD_S = 10.0
"""How long a refusal holds. A token may become good: its pod's record reaches the API server's cache a little later."""

BAD_PER_ADDRESS = 10
"""Reviews that may fail for one address within BAD_S; what it sends beyond that is refused without a review. As many may
be under way for it at once, less those that failed: more wait for their turn and aren't refused, since an address may stand
for all pods of a node."""

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
class _Sender:
    """An address. A review takes a permit before it begins and gives it back at its end, unless the token was wrong."""

    wrong: int = 0
    since: datetime | None = None  # of the first wrong one
    permits: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(BAD_PER_ADDRESS))

    def is_suspect(self) -> bool:
        return self.wrong >= BAD_PER_ADDRESS

    def blame(self, now: datetime) -> None:
        self.since = self.since or now
        self.wrong += 1
        if self.is_suspect():
            # No review is under way that would wake those who wait: each wakes the next, and all are refused.
            self.permits.release()


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
        self._senders: OrderedDict[str, _Sender] = OrderedDict()
        self._reviews: dict[bytes, asyncio.Task[_Good | _Bad]] = {}
        self._slots = asyncio.Semaphore(REVIEWS_AT_ONCE)

    async def caller_of(self, token: str, address: str) -> Caller:
        """The pod of a token that came from this address. Raises TokenRefused or TokenUnchecked."""
        if _JWT.fullmatch(token) is None:  # first: what isn't ASCII may have no bytes
            raise TokenRefused(_NOTHING_SENT)
        key = hashlib.sha256(token.encode()).digest()
        known = self._remembered(key)
        if not isinstance(known, _Good):
            expires_at = self._expires_at(token, self._clock())
            known = known or await self._review(key, token, expires_at, address)
        if isinstance(known, _Bad):
            raise TokenRefused(known.why)
        return known.caller

    def _remembered(self, key: bytes) -> _Good | _Bad | None:
        now = self._clock()
        good = self._good.get(key)
        if good is not None and now < good.until:
            self._good.move_to_end(key)
            return good
        bad = self._bad.get(key)
        return bad if bad is not None and now < bad.until else None

    def _expires_at(self, token: str, now: datetime) -> datetime:
        """When the token says that it expires. Not proven yet, but what it says against itself may be believed."""
        claims = _claims(token)
        if claims is None:
            raise TokenRefused(_NOTHING_SENT)
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

    async def _review(self, key: bytes, token: str, expires_at: datetime, address: str) -> _Good | _Bad:
        """Ask the API server, once for all that wait for the same token."""
        if key not in self._reviews:
            sender = await self._permitted(address)
            # Another may have brought the same token while this one waited for its turn.
            known = self._remembered(key)
            if known is None and key not in self._reviews:
                self._begin(key, token, expires_at, sender)
            else:
                sender.permits.release()
            if known is not None:
                return known
        try:
            # A caller that goes away must not end the review of the others.
            return await asyncio.shield(self._reviews[key])
        except ApiError as error:
            raise TokenUnchecked("the API server doesn't check tokens just now: try again") from error

    async def _permitted(self, address: str) -> _Sender:
        """Wait until one more review may begin for this address; whoever gets this must begin it, or release the permit."""
        sender = self._senders.get(address)
        if sender is None or (sender.since is not None and self._clock() - sender.since >= _BAD_TIME):
            sender = _Sender()
        _remember(self._senders, address, sender, ADDRESSES)
        if not sender.is_suspect():
            await sender.permits.acquire()
            if not sender.is_suspect():
                return sender
            sender.permits.release()
        raise TokenUnchecked("too many wrong tokens came from this address: wait 10 seconds")

    def _begin(self, key: bytes, token: str, expires_at: datetime, sender: _Sender) -> None:
        if len(self._reviews) >= REVIEWS_PENDING:
            sender.permits.release()
            self._deaf()
            raise TokenUnchecked("many tokens are being checked: try again")
        review = self._reviews[key] = asyncio.create_task(self._ask(key, token, expires_at, sender))
        review.add_done_callback(lambda _: self._reviews.pop(key, None))

    async def _ask(self, key: bytes, token: str, expires_at: datetime, sender: _Sender) -> _Good | _Bad:
        """One review from its begin to what follows from it, whether or not anybody still waits for it."""
        found: _Good | _Bad | None = None
        try:
            async with self._slots:
                found = self._judged(await self._answer(token), expires_at)
        finally:
            if isinstance(found, _Bad):
                sender.blame(self._clock())
            else:
                sender.permits.release()
        if isinstance(found, _Good):
            _remember(self._good, key, found, KNOWN_TOKENS)
        else:
            _remember(self._bad, key, found, BAD_TOKENS)
        return found

    async def _answer(self, token: str) -> Mapping[str, Any]:
        """The status of a TokenReview. Raises ApiError."""
        spec = {"token": token, "audiences": [self._audience]}
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec}
        try:
            return mapping((await self._client.create(paths.tokenreviews(), body)).get("status"))
        except ApiError as error:
            # Here and not where it is waited for: somebody spoke, though it may have gone since.
            self._deaf()
            _log.warning("tokens of pods can't be checked", extra={"error": str(error)})
            raise

    def _judged(self, status: Mapping[str, Any], expires_at: datetime) -> _Good | _Bad:
        until = self._clock() + _BAD_TIME
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


_BAD_TIME = timedelta(seconds=BAD_S)
_NOTHING_SENT = "no token: send `Authorization: Bearer` with what is in the file that FLOWY_TOKEN_FILE names"
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
