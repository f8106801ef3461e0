"""Which error an answer becomes."""

import json
from typing import Any

import pytest

from flowy_operator.adapters.kube import errors
from flowy_operator.core.errors import OperatorError


def body(reason: str, message: str = "no", **details: Any) -> bytes:
    return json.dumps({"kind": "Status", "reason": reason, "message": message, "details": details}).encode()


TERMINATING = [{"reason": "NamespaceTerminating", "message": "", "field": "metadata.namespace"}]
FIELD = [{"reason": "FieldValueInvalid", "message": "Invalid value", "field": "spec"}]

CASES = {
    "not even decoded": (400, body("BadRequest"), errors.BadRequest),
    "our bug": (415, body("UnsupportedMediaType"), errors.ApiError),
    "no login": (401, body("Unauthorized"), errors.Unauthorized),
    "no right": (403, body("Forbidden"), errors.Forbidden),
    "a namespace that goes away": (403, body("Forbidden", causes=TERMINATING), errors.Forbidden),
    "no right, by the authorizer": (
        403,
        body("Forbidden", 'jobs.batch is forbidden: User "x" cannot create resource "jobs" in API group "batch" in …'),
        errors.NotAuthorized,
    ),
    "no quota": (403, body("Forbidden", "jobs is forbidden: exceeded quota: q, requested: …"), errors.QuotaExceeded),
    "a quota that wants requests in the manifest": (
        403,
        body("Forbidden", "pods is forbidden: failed quota: q: must specify limits.cpu"),
        errors.Forbidden,
    ),
    "not there": (404, body("NotFound"), errors.NotFound),
    "somebody else wrote": (409, body("Conflict"), errors.Conflict),
    "the name is taken": (409, body("AlreadyExists"), errors.AlreadyExists),
    "too old a version": (410, body("Expired"), errors.Gone),
    "too old, said in a stream": (500, body("Expired"), errors.Gone),
    "too long a request": (413, body("RequestEntityTooLarge"), errors.PayloadTooLarge),
    "too much for etcd": (500, body("InternalError", "etcdserver: request is too large"), errors.PayloadTooLarge),
    "too much for gRPC": (
        500,
        body("", "rpc error: trying to send message larger than max (2097262 vs. 2097152)"),
        errors.PayloadTooLarge,
    ),
    "an object that breaks its schema": (422, body("Invalid", kind="Workflow", causes=FIELD), errors.Invalid),
    "a JSON patch whose test failed": (422, body("Invalid", "the server rejected our request"), errors.Conflict),
    "too many requests": (429, body("TooManyRequests", retryAfterSeconds=7), errors.TooManyRequests),
    "a fault of the server's": (500, body("InternalError"), errors.ServerError),
    "a proxy's own page": (503, b"<html>Service Unavailable</html>", errors.ServerError),
    "a page that is no text": (502, b"\xff\xfe", errors.ServerError),
    "a list": (404, b"[1]", errors.NotFound),
    "odd fields": (409, b'{"reason": 5, "message": [], "details": [], "code": "x"}', errors.Conflict),
}


@pytest.mark.parametrize(("status", "answer", "kind"), CASES.values(), ids=CASES)
def test_table(status: int, answer: bytes, kind: type[errors.ApiError]) -> None:
    error = errors.from_response(status, answer)

    assert type(error) is kind
    assert error.status == status
    assert isinstance(error, OperatorError)


def test_end_of_a_namespace_is_told_from_a_missing_right() -> None:
    ending = errors.from_response(403, body("Forbidden", causes=TERMINATING))
    missing = errors.from_response(403, body("Forbidden"))

    assert isinstance(ending, errors.Forbidden)
    assert isinstance(missing, errors.Forbidden)
    assert (ending.namespace_terminating, missing.namespace_terminating) == (True, False)


WAITS = {
    "from the header": ("3", {}, 3.0),
    "from the body": (None, {"retryAfterSeconds": 4}, 4.0),
    "the header before the body": ("3", {"retryAfterSeconds": 4}, 3.0),
    "none": (None, {}, None),
    "an HTTP date": ("Wed, 21 Oct 2026 07:28:00 GMT", {}, None),
    "infinite": ("inf", {}, None),
    "a negative one": ("-1", {}, None),
    "an odd one": (None, {"retryAfterSeconds": [1]}, None),
}


@pytest.mark.parametrize(("header", "details", "expected"), WAITS.values(), ids=WAITS)
def test_wish_of_the_server(header: str | None, details: dict[str, Any], expected: float | None) -> None:
    assert errors.from_response(429, body("TooManyRequests", **details), header).retry_after_s == expected


def test_long_message_is_cut() -> None:
    error = errors.from_response(422, body("Invalid", "x" * 1_000_000, kind="Workflow"))

    assert len(error.message) < 10_000
