"""Which pod a token speaks for, and how seldom the API server is asked."""

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest

from flowy_operator.adapters.gateway import tokens as module
from flowy_operator.adapters.gateway.tokens import BAD_PER_ADDRESS, BAD_S, TokenRefused, Tokens, TokenUnchecked
from flowy_operator.adapters.kube.errors import ServerError
from flowy_operator.core.attempts import Caller
from tests.adapters.gateway.reviewer import NOW, Reviewer, jwt, user

GOOD = jwt("good")
CALLER = Caller("ns", "pod-1", "pod-1-uid")


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now

    def pass_s(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def tokens(accepted: Mapping[str, Any] | None = None) -> tuple[Tokens, Reviewer, Clock]:
    reviewer, clock = Reviewer({GOOD: user("pod-1")} if accepted is None else accepted), Clock()
    return Tokens(reviewer, audience="flowy", clock=clock, deaf=reviewer.deaf), reviewer, clock


async def refusal(checked: Tokens, token: str, address: str = "a") -> str:
    with pytest.raises(TokenRefused) as refused:
        await checked.caller_of(token, address)
    return str(refused.value)


async def test_a_good_token_is_reviewed_once_until_it_expires() -> None:
    checked, reviewer, clock = tokens()
    assert [await checked.caller_of(GOOD, "a") for _ in range(100)] == [CALLER] * 100
    clock.pass_s(3599)
    assert await checked.caller_of(GOOD, "b") == CALLER
    assert reviewer.reviews == [GOOD]
    clock.pass_s(1)
    assert "expired" in await refusal(checked, GOOD)
    assert reviewer.reviews == [GOOD], "it says itself that it is over"


async def test_many_that_bring_the_same_token_at_once_cost_one_review() -> None:
    checked, reviewer, _ = tokens()
    assert set(await asyncio.gather(*(checked.caller_of(GOOD, "a") for _ in range(50)))) == {CALLER}
    assert reviewer.reviews == [GOOD]


async def test_one_that_goes_away_does_not_end_the_review_of_the_others() -> None:
    checked, _, _ = tokens()
    first = asyncio.create_task(checked.caller_of(GOOD, "a"))
    second = asyncio.create_task(checked.caller_of(GOOD, "a"))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == CALLER


NOT_WORTH_A_QUESTION: dict[str, tuple[str, str]] = {
    "nothing": ("", "FLOWY_TOKEN_FILE"),
    "a password": ("hunter2", "FLOWY_TOKEN_FILE"),
    "three words": ("a.b.c", "FLOWY_TOKEN_FILE"),
    "a byte that is no UTF-8": ("\udcff", "FLOWY_TOKEN_FILE"),
    "no object": (jwt("x").replace(jwt("x").split(".")[1], "W10"), "FLOWY_TOKEN_FILE"),
    "very deep JSON": (f"e30.{'W1tb' * 1500}.s", "FLOWY_TOKEN_FILE"),
    "another audience": (jwt("x", aud=["https://kubernetes.default.svc"]), "audience 'flowy'"),
    "no audience": (jwt("x", aud=None), "audience 'flowy'"),
    "expired": (jwt("x", expires_at=NOW - timedelta(seconds=1)), "expired"),
    "without an end": (jwt("x", exp=None), "when it expires"),
    "an end that is no time": (jwt("x", exp=10**30), "when it expires"),
}


@pytest.mark.parametrize(("token", "words"), NOT_WORTH_A_QUESTION.values(), ids=NOT_WORTH_A_QUESTION)
async def test_what_cannot_be_good_is_refused_unasked(token: str, words: str) -> None:
    checked, reviewer, _ = tokens()
    assert words in await refusal(checked, token)
    assert reviewer.reviews == []


FOREIGN: dict[str, tuple[dict[str, Any], str]] = {
    "a person": ({"username": "jane"}, "not bound to a pod"),
    "an account without a pod": ({"username": "system:serviceaccount:ns:default"}, "not bound to a pod"),
    "extras of an odd shape": (user("p") | {"extra": {"authentication.kubernetes.io/pod-name": "p"}}, "not bound"),
    "no user": ({}, "not bound to a pod"),
}


@pytest.mark.parametrize(("found", "words"), FOREIGN.values(), ids=FOREIGN)
async def test_only_pods_may_speak(found: dict[str, Any], words: str) -> None:
    checked, _, _ = tokens({GOOD: found})
    assert words in await refusal(checked, GOOD)


async def test_an_api_server_that_ignores_audiences_vouches_for_nothing() -> None:
    checked, reviewer, _ = tokens()
    reviewer.audiences = None
    assert "doesn't accept" in await refusal(checked, GOOD)


async def test_a_refusal_holds_for_a_while() -> None:
    accepted: dict[str, Any] = {}
    checked, reviewer, clock = tokens(accepted)
    await refusal(checked, GOOD)
    accepted[GOOD] = user("pod-1")
    await refusal(checked, GOOD)
    assert reviewer.reviews == [GOOD]
    clock.pass_s(BAD_S)
    assert await checked.caller_of(GOOD, "a") == CALLER


async def test_a_thousand_wrong_tokens_cost_few_reviews_and_harm_no_other_address() -> None:
    checked, reviewer, clock = tokens()
    for n in range(1000):
        with pytest.raises((TokenRefused, TokenUnchecked)):
            await checked.caller_of(jwt(f"wrong-{n}"), "hostile")
    assert len(reviewer.reviews) == BAD_PER_ADDRESS
    assert await checked.caller_of(GOOD, "honest") == CALLER
    assert await checked.caller_of(GOOD, "hostile") == CALLER, "who is known stays known"
    clock.pass_s(BAD_S)
    await refusal(checked, jwt("later"), "hostile")


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def come_and_go(checked: Tokens, token: str, address: str) -> None:
    """Bring a token and close before the answer."""
    call = asyncio.create_task(checked.caller_of(token, address))
    await settle()
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)


async def test_who_goes_away_before_the_answer_is_blamed_all_the_same() -> None:
    checked, reviewer, clock = tokens()
    for n in range(100):
        reviewer.answers.clear()
        await come_and_go(checked, jwt(f"wrong-{n}"), "hostile")
        reviewer.answers.set()
        await settle()
    assert len(reviewer.reviews) == BAD_PER_ADDRESS
    assert not checked._reviews
    assert await checked.caller_of(GOOD, "honest") == CALLER
    clock.pass_s(BAD_S)
    await refusal(checked, jwt("later"), "hostile")


async def test_reviews_that_nobody_waits_for_are_bounded_for_one_address() -> None:
    checked, reviewer, _ = tokens()
    reviewer.answers.clear()
    for n in range(100):
        await come_and_go(checked, jwt(f"wrong-{n}"), "hostile")
    assert len(checked._reviews) == BAD_PER_ADDRESS
    reviewer.answers.set()
    await settle()
    assert len(reviewer.reviews) == BAD_PER_ADDRESS


async def test_wrong_tokens_at_once_cost_no_more_reviews_than_one_after_another() -> None:
    checked, reviewer, _ = tokens()
    calls = (checked.caller_of(jwt(f"wrong-{n}"), "hostile") for n in range(256))
    found = await asyncio.gather(*calls, return_exceptions=True)
    assert len(reviewer.reviews) == BAD_PER_ADDRESS
    assert sum(isinstance(error, TokenRefused) for error in found) == BAD_PER_ADDRESS
    assert sum(isinstance(error, TokenUnchecked) for error in found) == 256 - BAD_PER_ADDRESS


async def test_many_good_pods_behind_one_address_are_all_heard() -> None:
    good = {jwt(f"pod-{n}"): user(f"pod-{n}") for n in range(256)}
    checked, reviewer, _ = tokens(good)
    wrong = [checked.caller_of(jwt(f"wrong-{n}"), "node") for n in range(BAD_PER_ADDRESS - 1)]
    twice = [checked.caller_of(token, "node") for token in [*good, *good]]
    found = await asyncio.gather(*wrong, *twice, return_exceptions=True)
    pods = [caller.pod for caller in found if isinstance(caller, Caller)]
    assert pods == [f"pod-{n}" for n in range(256)] * 2
    assert len(reviewer.reviews) == 256 + BAD_PER_ADDRESS - 1


async def test_reviews_are_bounded_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REVIEWS_PENDING", 3)
    checked, reviewer, _ = tokens()
    reviewer.answers.clear()
    for n in range(3):
        await come_and_go(checked, jwt(f"wrong-{n}"), f"a{n}")
    with pytest.raises(TokenUnchecked, match="many tokens are being checked"):
        await checked.caller_of(GOOD, "honest")
    assert reviewer.missed == 1, "somebody spoke and wasn't heard"
    reviewer.answers.set()
    await settle()
    assert await checked.caller_of(GOOD, "honest") == CALLER


async def test_trouble_of_the_api_server_is_no_fault_of_the_address_and_is_told_though_nobody_waits() -> None:
    checked, reviewer, _ = tokens()
    reviewer.error = ServerError(500, "InternalError", "etcd has left")
    for n in range(2 * BAD_PER_ADDRESS):
        reviewer.answers.clear()
        await come_and_go(checked, jwt(f"pod-{n}"), "a")
        reviewer.answers.set()
        await settle()
    assert reviewer.missed == 2 * BAD_PER_ADDRESS
    reviewer.error = None
    assert await checked.caller_of(GOOD, "a") == CALLER


async def test_an_api_server_in_trouble_refuses_nobody() -> None:
    checked, reviewer, _ = tokens()
    reviewer.error = ServerError(500, "InternalError", "etcd has left")
    with pytest.raises(TokenUnchecked):
        await checked.caller_of(GOOD, "a")
    assert reviewer.missed == 1, "who counts silence knows that somebody spoke"
    reviewer.error = None
    assert await checked.caller_of(GOOD, "a") == CALLER
    await refusal(checked, jwt("wrong"))
    assert reviewer.missed == 1


async def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KNOWN_TOKENS", 3)
    monkeypatch.setattr(module, "BAD_TOKENS", 3)
    monkeypatch.setattr(module, "ADDRESSES", 3)
    good = {jwt(f"pod-{n}"): user(f"pod-{n}") for n in range(9)}
    checked, _, _ = tokens(good)
    for n, token in enumerate(good):
        assert (await checked.caller_of(token, f"a{n}")).pod == f"pod-{n}"
        await refusal(checked, jwt(f"bad-{n}"), f"a{n}")
    assert (len(checked._good), len(checked._bad), len(checked._senders)) == (3, 3, 3)
    assert not checked._reviews
