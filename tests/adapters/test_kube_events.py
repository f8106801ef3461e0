"""Kubernetes Events of others -> what they tell, the same as long as the cause is."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowy_operator.adapters.kube_events import Told, parse_told
from flowy_operator.core.sentences import SHOWN_CHARS
from tests.adapters.objects import spoiled

AT = datetime(2026, 11, 24, 10, tzinfo=UTC)
STAMP = "2026-11-24T10:00:00Z"


def event(message: str = "m", **fields: Any) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "ns", "name": "e"},
        "involvedObject": {"kind": "Job", "name": "j", "uid": "u-j"},
        "reason": "FailedCreate",
        "message": message,
        **({"lastTimestamp": STAMP} | fields),
    }


QUOTA = (
    'Error creating: pods "w-t-0-c73rr-{pod}" is forbidden: exceeded quota: few, requested: pods=1,requests.cpu=600m, '
    "used: pods={used},requests.cpu=600m, limited: pods=2,requests.cpu=1"
)
REFUSED = "can't be created: exceeded quota: few, requested: pods=1,requests.cpu=600m, limited: pods=2,requests.cpu=1"

NO_ACCOUNT = 'error looking up service account ns/none: serviceaccount "none" not found'

WORDS = {
    "a full quota": (QUOTA.format(pod="kndsq", used=2), REFUSED),
    "the next try, when others have left": (QUOTA.format(pod="ghxnd", used=0), REFUSED),
    "the eleventh try": ("(combined from similar events): " + QUOTA.format(pod="lml67", used=1), REFUSED),
    "no service account": (
        f'Error creating: pods "w-t-0-5fviz-" is forbidden: {NO_ACCOUNT}',
        f"can't be created: {NO_ACCOUNT}",
    ),
    "a webhook": (
        'Error creating: admission webhook "policy.example" denied the request: no latest',
        'can\'t be created: admission webhook "policy.example" denied the request: no latest',
    ),
    "a volume": (
        'MountVolume.SetUp failed for volume "s" : secret "none" not found',
        'MountVolume.SetUp failed for volume "s" : secret "none" not found',
    ),
    "several lines": ("a\n  b", "a b"),
}


@pytest.mark.parametrize(("message", "words"), WORDS.values(), ids=WORDS)
def test_words(message: str, words: str) -> None:
    assert parse_told(event(message)) == Told("u-j", words, AT)


TIMES: dict[str, dict[str, Any]] = {
    "counted": {},
    "one alone of the newer shape": {"lastTimestamp": None, "eventTime": "2026-11-24T10:00:00.000000Z"},
    "a series": {"lastTimestamp": None, "eventTime": "2026-11-24T09:00:00Z", "series": {"lastObservedTime": STAMP}},
}


@pytest.mark.parametrize("fields", TIMES.values(), ids=TIMES)
def test_when_it_was_seen_last(fields: dict[str, Any]) -> None:
    assert parse_told(event(**fields)) == Told("u-j", "m", AT)


USELESS = {
    "no object": event(involvedObject=None),
    "no uid": event(involvedObject={"kind": "Job", "name": "j"}),
    "no time": event(lastTimestamp=None),
    "no words": event(message=""),
}


@pytest.mark.parametrize("useless", USELESS.values(), ids=USELESS)
def test_what_tells_nothing(useless: dict[str, Any]) -> None:
    assert parse_told(useless) is None


@given(st.data())
def test_any_shape_is_survived(data: st.DataObject) -> None:
    parse_told(data.draw(spoiled(event(series={"lastObservedTime": STAMP}))))


def test_a_text_of_any_length_is_read_in_time() -> None:
    told = parse_told(event(", used: " * 500_000))
    assert told is not None
    assert len(told.words) <= SHOWN_CHARS
