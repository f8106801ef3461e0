"""The gateway of a local run: the calls of docs/activities.md, and what is refused."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from flowy.local.launch import Launch
from flowy_cli.local.gateway import Gateway

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def launch(previous: str | None = None) -> Launch:
    return Launch(
        call=None,
        workflow="w",
        task="step-0",
        attempt=1,
        work=None,
        arguments="{}",
        previous=previous,
        deadline=None,
        tells_start=False,
        now=lambda: NOW,
    )


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    made = Gateway()
    with made.serving():
        yield made


def call(gateway: Gateway, token: str, method: str, path: str, body: bytes | None = None) -> tuple[int, Any]:
    request = urllib.request.Request(gateway.url + path, body, {"Authorization": f"Bearer {token}"}, method=method)
    try:
        with urllib.request.urlopen(request) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def test_heartbeats_are_heard_until_the_attempt_no_longer_counts(gateway: Gateway) -> None:
    its = launch()
    with gateway.desk(its) as (token, _):
        assert call(gateway, token, "POST", "/heartbeat", b" [1] ") == (200, {"continue": True})
        assert its.beat == (NOW, "[1]")
        assert call(gateway, token, "POST", "/heartbeat") == (200, {"continue": True})
        assert its.details == "[1]"
        its.revoke("step-0 timed out")
        assert call(gateway, token, "POST", "/heartbeat", b"2") == (
            200,
            {"continue": False, "reason": "step-0 timed out"},
        )
        assert its.details == "[1]"
        assert call(gateway, token, "PUT", "/result", b"1") == (409, {"error": "step-0 timed out"})
        assert call(gateway, token, "GET", "/progress")[0] == 409
    assert call(gateway, token, "POST", "/heartbeat")[0] == 401


def test_progress_is_what_an_attempt_before_left(gateway: Gateway) -> None:
    with gateway.desk(launch('{"at": 3}')) as (one, _), gateway.desk(launch()) as (other, _):
        assert call(gateway, one, "GET", "/progress") == (200, {"at": 3})
        assert call(gateway, other, "GET", "/progress") == (200, None)


def test_a_result_may_be_sent_again_and_no_other(gateway: Gateway) -> None:
    with gateway.desk(launch()) as (token, desk):
        for method in ("PUT", "POST"):
            assert call(gateway, token, method, "/result", b'"\xc3\xa9"') == (200, {"bytes": 4})
        assert desk.uploaded == '"é"'
        status, said = call(gateway, token, "PUT", "/result", b"2")
        assert (status, said["error"]) == (409, "this attempt has uploaded another result before: an attempt has one")


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("/heartbeat", b"x" * 5000, 413, "has 5,000 bytes: at most 4,095"),
        ("/heartbeat", b"{", 400, "the details of the heartbeat is no JSON"),
        ("/heartbeat", b"\xff", 400, "is no UTF-8 at byte 0"),
        ("/result", b"1" * (1 << 20) + b"1", 413, "the result has 1,048,577 bytes"),
        ("/absent", b"", 404, "there is no POST /absent here"),
    ],
)
def test_refusals_say_why(gateway: Gateway, path: str, body: bytes, status: int, said: str) -> None:
    with gateway.desk(launch()) as (token, _):
        got, answer = call(gateway, token, "POST", path, body)
    assert got == status
    assert said in answer["error"]
