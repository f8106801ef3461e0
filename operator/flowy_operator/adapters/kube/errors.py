"""What the API server refused, by HTTP status.

    ApiError                  any other refusal (405, 415 …): our bug, as a rule
    ├── BadRequest            400: the object can't be decoded, such as text where its type has a number
    ├── NotFound              404
    ├── Conflict              409, or 422 for a JSON patch that doesn't fit the object: somebody else wrote first
    ├── AlreadyExists         409 with this reason
    ├── Gone                  410: the resourceVersion or the continue token is too old; list again
    ├── Invalid               422: the object breaks its schema or an admission rule
    ├── Forbidden             403: RBAC, admission, or a namespace that is going away
    │   ├── QuotaExceeded     403 for want of quota; it may fit later
    │   └── NotAuthorized     403 by the authorizer: we lack a right, or a starting API server hasn't read its rules yet
    ├── Unauthorized          401
    ├── TooManyRequests       429, with the server's wish when to come back
    ├── PayloadTooLarge       413, and etcd's and gRPC's own words for it, which arrive as 500
    ├── ServerError           5xx
    ├── NotLeading            nothing was sent: this process may not write, since another may lead by now
    └── Unreachable           no answer: refused, reset, timed out. A write may have been applied all the same

`from_response` and `from_status` are the only places that look at a Status object.
"""

import json
import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from flowy_operator.core.errors import OperatorError

_QUOTA = "exceeded quota:"  # the quota plug-in's refusals have no reason of their own
# The authorizer's sentence (apiserver, responsewriters/errors.go); admission's refusals are worded otherwise.
_NOT_AUTHORIZED = re.compile(r'User "[^"]*" cannot \w+ ')
_NAMESPACE_TERMINATING = "NamespaceTerminating"  # type of the cause, since Kubernetes 1.16
_TOO_LARGE = (
    "request is too large",  # etcd, --max-request-bytes
    "larger than max",  # gRPC between API server and etcd: "trying to send message larger than max (… vs. 2097152)"
    "Request entity too large",
)
_MESSAGE_LIMIT = 4096  # an Invalid repeats the offending value, which may be a whole source text


class ApiError(OperatorError):
    """A call that didn't do what it was asked. `status` is 0 where there was no answer at all.

    `reason` is the server's word (`AlreadyExists`, `Invalid` …), `retry_after_s` its wish, mostly None.
    """

    def __init__(self, status: int, reason: str, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(f"{status} {reason}: {message}" if status else f"{reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after_s = retry_after_s


class BadRequest(ApiError):
    pass


class NotFound(ApiError):
    pass


class Conflict(ApiError):
    pass


class AlreadyExists(ApiError):
    pass


class Gone(ApiError):
    pass


class Invalid(ApiError):
    pass


class Forbidden(ApiError):
    """`namespace_terminating`: the refusal comes from the namespace's end, so it is neither our fault nor the author's."""

    def __init__(
        self,
        status: int,
        reason: str,
        message: str,
        retry_after_s: float | None = None,
        *,
        namespace_terminating: bool = False,
    ) -> None:
        super().__init__(status, reason, message, retry_after_s)
        self.namespace_terminating = namespace_terminating


class QuotaExceeded(Forbidden):
    pass


class NotAuthorized(Forbidden):
    pass


class Unauthorized(ApiError):
    pass


class TooManyRequests(ApiError):
    pass


class PayloadTooLarge(ApiError):
    pass


class ServerError(ApiError):
    pass


class NotLeading(ApiError):
    """The write was kept back. `status` is 0, and it was not applied."""

    def __init__(self, message: str) -> None:
        super().__init__(0, "NotLeading", message)


class Unreachable(ApiError):
    """The connection failed or took too long: `status` is 0, and whether a write was applied is unknown."""

    def __init__(self, message: str) -> None:
        super().__init__(0, "Unreachable", message)


_BY_STATUS: Mapping[int, type[ApiError]] = {
    400: BadRequest,
    401: Unauthorized,
    404: NotFound,
    409: Conflict,
    410: Gone,
    413: PayloadTooLarge,
    422: Invalid,
    429: TooManyRequests,
}


def from_response(status: int, body: bytes, retry_after: str | None = None) -> ApiError:
    """Map an HTTP answer >= 400 to its error. `body` may be anything: proxies on the way answer in HTML."""
    try:
        parsed = json.loads(body)
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict):
        parsed = {"message": body.decode(errors="replace").strip()}
    return from_status({**parsed, "code": status}, retry_after)


def from_status(status: Mapping[str, Any], retry_after: str | None = None) -> ApiError:
    """Map a Status object to its error, be it an answer's body or the object of a watch's ERROR event."""
    code = status.get("code")
    code = code if isinstance(code, int) else 500
    reason = str(status.get("reason") or f"Status{code}")
    message = str(status.get("message") or "no message")[:_MESSAGE_LIMIT]
    details = status.get("details")
    details = details if isinstance(details, dict) else {}
    causes = details.get("causes")
    causes = causes if isinstance(causes, list) else []
    after_s = _seconds(retry_after)
    if after_s is None:
        after_s = _seconds(details.get("retryAfterSeconds"))

    if any(words in message for words in _TOO_LARGE):
        return PayloadTooLarge(code, reason, message, after_s)
    if code == HTTPStatus.FORBIDDEN:
        return _forbidden(message)(
            code, reason, message, after_s, namespace_terminating=_has_cause(causes, _NAMESPACE_TERMINATING)
        )
    if reason == "AlreadyExists":
        return AlreadyExists(code, reason, message, after_s)
    if reason == "Expired":
        # A watch may send it with the code of its transport.
        return Gone(code, reason, message, after_s)
    if code == HTTPStatus.UNPROCESSABLE_ENTITY and not causes and not details.get("kind"):
        # A JSON patch whose `test` failed, or whose path isn't there, is answered "422 Invalid" as well; only the
        # refusal of an object's content says of which kind it was and why (apiserver, handlers/patch.go).
        return Conflict(code, reason, message, after_s)
    return _BY_STATUS.get(code, ServerError if code >= HTTPStatus.INTERNAL_SERVER_ERROR else ApiError)(
        code, reason, message, after_s
    )


def _forbidden(message: str) -> type[Forbidden]:
    if _QUOTA in message:
        return QuotaExceeded
    return NotAuthorized if _NOT_AUTHORIZED.search(message) else Forbidden


def _has_cause(causes: Sequence[Any], reason: str) -> bool:
    return any(isinstance(cause, dict) and cause.get("reason") == reason for cause in causes)


def _seconds(value: object) -> float | None:
    """Seconds of a Retry-After; the HTTP date that the standard also allows is not used by API servers."""
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        return None
    try:
        seconds = float(value)
    except ValueError:
        return None
    return seconds if 0 < seconds < float("inf") else None
