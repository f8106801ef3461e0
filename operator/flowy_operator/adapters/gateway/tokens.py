"""Which pod a token speaks for: TokenReview of a projected service-account token, remembered until the token expires.

A review costs the API server a signature check, and anybody who reaches the gateway can ask for one. So what can't be a
good token is refused unasked: a pod's token names its pod, and one that names none that the operator knows is not worth a
question. Answers are remembered, and who keeps sending bad ones is not asked for again (`_Share`). A sender may close
before the answer, and the review goes on: so it is the review that counts, from its begin, and not the call that waits.

What an unproven token claims is used for nothing but this: to refuse it, to count against it, and to say whose call could
not be judged.
"""

import asyncio
import base64
import hashlib
import json
import logging
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
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

REVIEWS_PENDING = 2_048
"""In all, those that wait for their turn among them: as many as there may be connections, since most tokens come from as many
addresses as there are pods."""

KNOWN_TOKENS = 20_000
"""Good tokens remembered, 500 bytes each; the longest unused goes first and costs one review when it comes again."""

BAD_TOKENS = 1_000
BAD_S = 10.0
"""How long a refusal holds. A token may become good: its pod's record reaches the API server's cache a little later."""

BAD_PER_POD = 3
"""Reviews that may fail within BAD_S for what claims to be one pod and comes from one address. Honest pods need none: they
bring one token an hour. By address too, or whoever knows a pod's uid could use up its share from anywhere."""

BAD_UNPROVEN = 10
"""The same for all that comes from one address, claims to be of one namespace, and has never had a good token there. An
address may stand for all pods of a node or a cluster; who has brought a good token doesn't share with who never did."""

SHARES = 20_000

SILENT_S = 10.0
"""Between two log lines of reviews that fail."""

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


@dataclass(frozen=True, slots=True)
class _Claim:
    """What an unproven token says of itself."""

    pod: Caller
    expires_at: datetime


class _Share:
    """So many reviews may be wrong within BAD_S; so many, less those, may be under way, and more wait for their turn.

    To refuse what comes beyond would shut out a node that hides its pods behind one address, just after a restart.
    """

    def __init__(self, most: int) -> None:
        self._left = most  # till they are refused
        self._since: datetime | None = None  # the first wrong one
        self._permits = asyncio.Semaphore(most)

    def is_old(self, now: datetime) -> bool:
        return self._since is not None and now - self._since >= _BAD_TIME

    async def take(self) -> None:
        """Wait until one more review may begin. It must be given back, or be wrong. Raises TokenUnchecked."""
        if self._left > 0:
            await self._permits.acquire()
            if self._left > 0:
                return
            self._permits.release()
        raise TokenUnchecked("too many wrong tokens came from this address: wait 10 seconds")

    def give_back(self) -> None:
        self._permits.release()

    def wrong(self, now: datetime) -> None:
        self._since = self._since or now
        self._left -= 1
        if self._left <= 0:
            # No review is under way that would wake those who wait: each wakes the next, and all are refused.
            self._permits.release()


class Tokens:
    """Checks tokens of one audience. `clock` gives aware UTC.

    `knows` tells whether there is such a pod. `unheard` is called with the pod that a token claims to be of, when it can't
    be checked: whoever counts that pod's silence should know that it may have spoken.
    """

    def __init__(
        self,
        client: KubeClient,
        *,
        audience: str,
        clock: Callable[[], datetime],
        knows: Callable[[Caller], bool],
        unheard: Callable[[Caller], None],
    ) -> None:
        self._client = client
        self._audience = audience
        self._clock = clock
        self._knows = knows
        self._unheard = unheard
        self._good: OrderedDict[bytes, _Good] = OrderedDict()
        self._bad: OrderedDict[bytes, _Bad] = OrderedDict()
        self._proven: OrderedDict[tuple[str, str], None] = OrderedDict()  # address and pod of each good token
        self._shares: OrderedDict[tuple[str, str, str], _Share] = OrderedDict()
        self._reviews: dict[bytes, asyncio.Task[_Good | _Bad]] = {}
        self._slots = asyncio.Semaphore(REVIEWS_AT_ONCE)
        self._silent_until: datetime | None = None

    async def caller_of(self, token: str, address: str) -> Caller:
        """The pod of a token that came from this address. Raises TokenRefused or TokenUnchecked."""
        key = hashlib.sha256(token.encode(errors="surrogateescape")).digest()
        known = self._remembered(key)
        if not isinstance(known, _Good):
            claim = self._claim(token, self._clock())
            known = known or await self._judge(key, token, claim, address)
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

    def _claim(self, token: str, now: datetime) -> _Claim:
        """What the token says of itself. Not proven yet, but what it says against itself may be believed."""
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
        bound = mapping(claims.get("kubernetes.io"))
        pod = mapping(bound.get("pod"))
        namespace, name, uid = text(bound.get("namespace")), text(pod.get("name")), text(pod.get("uid"))
        if namespace is None or name is None or uid is None:
            raise TokenRefused(_NO_POD)
        return _Claim(Caller(namespace, name, uid), at)

    async def _judge(self, key: bytes, token: str, claim: _Claim, address: str) -> _Good | _Bad:
        """What the API server says of a token. Raises TokenUnchecked."""
        if not self._knows(claim.pod):
            raise TokenUnchecked("the operator doesn't know the pod of this token yet: try again")
        try:
            return await self._reviewed(key, token, claim, address)
        except BaseException:
            # Also whoever goes, or is cut off, while it waits.
            self._unheard(claim.pod)
            raise

    async def _reviewed(self, key: bytes, token: str, claim: _Claim, address: str) -> _Good | _Bad:
        if key not in self._reviews:
            shares = await self._taken(address, claim.pod)
            known = self._remembered(key)
            if known is None and key not in self._reviews and len(self._reviews) < REVIEWS_PENDING:
                begun = self._reviews[key] = asyncio.create_task(self._review(key, token, claim, address, shares))
                begun.add_done_callback(lambda _: self._reviews.pop(key, None))
            else:
                _give_back(shares)
            if known is not None:
                return known
        review = self._reviews.get(key)
        if review is None:
            raise TokenUnchecked("many tokens are being checked: try again")
        try:
            # A caller that goes away must not end the review of the others.
            return await asyncio.shield(review)
        except ApiError as error:
            raise TokenUnchecked("the API server doesn't check tokens just now: try again") from error

    async def _taken(self, address: str, pod: Caller) -> Sequence[_Share]:
        """Wait for room in the shares that one more review for this pod counts against."""
        shares = [self._share(("pod", address, pod.uid), BAD_PER_POD)]
        if (address, pod.uid) not in self._proven:
            shares.append(self._share(("unproven", address, pod.namespace), BAD_UNPROVEN))
        taken: list[_Share] = []
        try:
            for share in shares:
                await share.take()
                taken.append(share)
        except BaseException:
            _give_back(taken)
            raise
        return taken

    def _share(self, key: tuple[str, str, str], most: int) -> _Share:
        share = self._shares.get(key)
        if share is None or share.is_old(self._clock()):
            share = _Share(most)
        _remember(self._shares, key, share, SHARES)
        return share

    async def _review(
        self, key: bytes, token: str, claim: _Claim, address: str, shares: Sequence[_Share]
    ) -> _Good | _Bad:
        """One review from its begin to what follows from it, whether or not anybody still waits for it."""
        found: _Good | _Bad | None = None
        try:
            async with self._slots:
                found = self._found(await self._answer(token), claim.expires_at)
        finally:
            if isinstance(found, _Bad):
                for share in shares:
                    share.wrong(self._clock())
            else:
                _give_back(shares)
        if isinstance(found, _Good):
            _remember(self._good, key, found, KNOWN_TOKENS)
            _remember(self._proven, (address, found.caller.uid), None, KNOWN_TOKENS)
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
            now = self._clock()
            if self._silent_until is None or now >= self._silent_until:
                self._silent_until = now + timedelta(seconds=SILENT_S)
                _log.warning("tokens of pods can't be checked", extra={"error": str(error)})
            raise

    def _found(self, status: Mapping[str, Any], expires_at: datetime) -> _Good | _Bad:
        until = self._clock() + _BAD_TIME
        # An API server that knows nothing of audiences would leave the list out.
        if status.get("authenticated") is not True or self._audience not in (status.get("audiences") or ()):
            return _Bad("the API server doesn't accept the token", until)
        user = mapping(status.get("user"))
        account = _ACCOUNT.fullmatch(text(user.get("username")) or "")
        extra = mapping(user.get("extra"))
        pod, uid = _first(extra.get(_POD_NAME)), _first(extra.get(_POD_UID))
        if account is None or pod is None or uid is None:
            return _Bad(_NO_POD, until)
        return _Good(Caller(account[1], pod, uid), expires_at)


_BAD_TIME = timedelta(seconds=BAD_S)
_NOTHING_SENT = "no token: send `Authorization: Bearer` with what is in the file that FLOWY_TOKEN_FILE names"
_NO_POD = "the token is not bound to a pod: take that of FLOWY_TOKEN_FILE"
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


def _give_back(shares: Sequence[_Share]) -> None:
    for share in shares:
        share.give_back()


def _first(values: object) -> str | None:
    return text(values[0]) if isinstance(values, list) and values else None


K = TypeVar("K")
V = TypeVar("V")


def _remember(known: OrderedDict[K, V], key: K, value: V, limit: int) -> None:
    known[key] = value
    known.move_to_end(key)
    while len(known) > limit:
        known.popitem(last=False)
