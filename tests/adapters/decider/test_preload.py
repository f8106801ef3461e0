"""The little program that warms the zygote and its children decides as it is meant to: nobody would see that it doesn't."""

from flowy.replay.replayer import replay
from flowy.wire.messages import Outcome
from flowy_operator.adapters.decider.preload import warm_up_request


def test_it_comes_to_a_barrier_over_what_is_recorded() -> None:
    answer = replay(warm_up_request())
    assert answer.outcome is Outcome.SUSPENDED, answer.error
    assert [call.key for call in answer.scheduled] == ["warm-2", "warm-3", "last-0"]
    assert [awaited.key for awaited in answer.waiting_on] == ["warm-2"]


def test_it_fails_by_its_own_error() -> None:
    answer = replay(warm_up_request(fail=True))
    assert answer.outcome is Outcome.FAILED
    assert answer.error is not None
    assert answer.error["type"] == "KeyError"
