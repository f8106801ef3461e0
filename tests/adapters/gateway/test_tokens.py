"""Which pod a token speaks for, and how seldom the API server is asked."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from flowy_operator.adapters.gateway import tokens as module
from flowy_operator.adapters.gateway.tokens import (
    BAD_PER_POD,
    BAD_S,
    BAD_UNPROVEN,
    SILENT_S,
    TokenRefused,
    Tokens,
    TokenUnchecked,
)
from flowy_operator.adapters.kube.errors import ServerError
from flowy_operator.core.attempts import Caller
from tests.adapters.gateway.reviewer import NOW, Reviewer, jwt, user

GOOD = jwt("pod-1")
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
    checked = Tokens(reviewer, audience="flowy", clock=clock, knows=reviewer.knows, unheard=reviewer.unheard)
    return checked, reviewer, clock


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
    "of no pod": (jwt("x", bound={"namespace": "ns"}), "not bound to a pod"),
    "of a pod without a uid": (
        jwt("x", bound={"namespace": "ns", "pod": {"name": "x"}}),
        "not bound to a pod",
    ),
    "of a pod of an odd shape": (jwt("x", bound=["ns", "x"]), "not bound to a pod"),
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


async def test_a_token_of_a_pod_that_is_not_known_is_not_worth_a_question() -> None:
    checked, reviewer, _ = tokens()
    reviewer.strangers = {"pod-1", "invented"}
    for token in (GOOD, jwt("invented")):
        with pytest.raises(TokenUnchecked, match="doesn't know the pod"):
            await checked.caller_of(token, "a")
    assert (reviewer.reviews, reviewer.missed) == ([], [])
    reviewer.strangers = set()
    assert await checked.caller_of(GOOD, "a") == CALLER


async def settle() -> None:
    for _ in range(30):
        await asyncio.sleep(0)


async def come_and_go(checked: Tokens, token: str, address: str) -> None:
    """Bring a token and close before the answer."""
    call = asyncio.create_task(checked.caller_of(token, address))
    await settle()
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)


def wrong(pod: str, n: int, namespace: str = "ns") -> str:
    """One of many tokens that claim to be this pod's and aren't."""
    return jwt(pod, namespace, jti=n)


Attack = Callable[[Tokens, Reviewer, Sequence[str], str], Awaitable[None]]


async def one_after_another(checked: Tokens, reviewer: Reviewer, wrong: Sequence[str], address: str) -> None:
    for token in wrong:
        with pytest.raises((TokenRefused, TokenUnchecked)):
            await checked.caller_of(token, address)


async def all_at_once(checked: Tokens, reviewer: Reviewer, wrong: Sequence[str], address: str) -> None:
    await asyncio.gather(*(checked.caller_of(token, address) for token in wrong), return_exceptions=True)


async def closing_early(checked: Tokens, reviewer: Reviewer, wrong: Sequence[str], address: str) -> None:
    for token in wrong:
        reviewer.answers.clear()
        await come_and_go(checked, token, address)
        reviewer.answers.set()
        await settle()


async def closing_early_while_the_api_server_is_slow(
    checked: Tokens, reviewer: Reviewer, wrong: Sequence[str], address: str
) -> None:
    reviewer.answers.clear()
    for token in wrong:
        await come_and_go(checked, token, address)
    assert len(checked._reviews) <= BAD_UNPROVEN
    reviewer.answers.set()
    await settle()


ATTACKS: list[Attack] = [
    one_after_another,
    all_at_once,
    closing_early,
    closing_early_while_the_api_server_is_slow,
]


@pytest.mark.parametrize("attack", ATTACKS)
async def test_wrong_tokens_of_one_pod_cost_few_reviews_and_harm_no_neighbour(attack: Attack) -> None:
    good = {jwt(f"pod-{n}"): user(f"pod-{n}") for n in range(4)}
    checked, reviewer, clock = tokens(good)
    known, *rest = good
    assert (await checked.caller_of(known, "node")).pod == "pod-0"
    await attack(checked, reviewer, [wrong("hostile", n) for n in range(200)], "node")
    assert len(reviewer.reviews) == 1 + BAD_PER_POD
    assert not checked._reviews
    for n, token in enumerate([known, *rest]):
        assert (await checked.caller_of(token, "node")).pod == f"pod-{n}", "a neighbour behind the same address"
    clock.pass_s(BAD_S)
    await refusal(checked, wrong("hostile", 1000), "node")


@pytest.mark.parametrize("attack", ATTACKS)
async def test_wrong_tokens_of_many_pods_of_a_namespace_harm_only_what_is_new_in_it(attack: Attack) -> None:
    """Whoever knows the uids of pods that were never heard of may claim to be any of them."""
    newer = jwt("pod-1", jti="newer")
    good = {
        GOOD: user("pod-1"),
        newer: user("pod-1"),
        jwt("pod-2"): user("pod-2"),
        jwt("pod-3", "other"): user("pod-3", "other"),
    }
    checked, reviewer, clock = tokens(good)
    assert await checked.caller_of(GOOD, "node") == CALLER
    await attack(checked, reviewer, [wrong(f"hostile-{n % 50}", n) for n in range(200)], "node")
    assert len(reviewer.reviews) == 1 + BAD_UNPROVEN
    assert await checked.caller_of(newer, "node") == CALLER, "who was proven before has a share of its own"
    assert (await checked.caller_of(jwt("pod-3", "other"), "node")).pod == "pod-3", "another namespace"
    assert (await checked.caller_of(jwt("pod-2"), "elsewhere")).pod == "pod-2", "another address"
    reviewer.missed.clear()
    fresh = jwt("pod-2", jti="newer")
    with pytest.raises(TokenUnchecked, match="too many wrong tokens"):
        await checked.caller_of(fresh, "node")
    assert reviewer.missed == ["pod-2"], "it may have been honest, so its silence isn't counted"
    clock.pass_s(BAD_S)
    await refusal(checked, fresh, "node")


async def test_whoever_knows_a_pods_uid_can_not_silence_it_from_elsewhere() -> None:
    checked, reviewer, _ = tokens()
    await one_after_another(checked, reviewer, [wrong("pod-1", n) for n in range(200)], "hostile")
    assert len(reviewer.reviews) == BAD_PER_POD
    assert await checked.caller_of(GOOD, "honest") == CALLER


async def test_from_behind_its_own_address_it_can_and_the_pods_silence_is_not_counted() -> None:
    checked, reviewer, _ = tokens()
    await one_after_another(checked, reviewer, [wrong("pod-1", n) for n in range(20)], "node")
    reviewer.missed.clear()
    with pytest.raises(TokenUnchecked):
        await checked.caller_of(GOOD, "node")
    assert reviewer.missed == ["pod-1"]


async def test_many_good_pods_behind_one_address_are_all_heard() -> None:
    """As after a restart of the operator, while one of them sends nonsense."""
    good = {jwt(f"pod-{n}"): user(f"pod-{n}") for n in range(256)}
    checked, reviewer, _ = tokens(good)
    nonsense = [checked.caller_of(wrong("hostile", n), "node") for n in range(100)]
    twice = [checked.caller_of(token, "node") for token in [*good, *good]]
    found = await asyncio.gather(*nonsense, *twice, return_exceptions=True)
    pods = [caller.pod for caller in found if isinstance(caller, Caller)]
    assert pods == [f"pod-{n}" for n in range(256)] * 2
    assert len(reviewer.reviews) == 256 + BAD_PER_POD


async def test_who_is_cut_off_while_it_waits_was_not_heard() -> None:
    checked, reviewer, _ = tokens()
    reviewer.answers.clear()
    await come_and_go(checked, GOOD, "a")
    assert reviewer.missed == ["pod-1"]
    reviewer.answers.set()
    await settle()
    assert await checked.caller_of(GOOD, "a") == CALLER
    assert (reviewer.reviews, reviewer.missed) == ([GOOD], ["pod-1"])


async def test_who_is_refused_was_heard() -> None:
    checked, reviewer, _ = tokens()
    await refusal(checked, wrong("pod-1", 1))
    assert reviewer.missed == []


async def test_reviews_are_bounded_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REVIEWS_PENDING", 3)
    checked, reviewer, _ = tokens()
    reviewer.answers.clear()
    for n in range(3):
        await come_and_go(checked, jwt(f"wrong-{n}"), f"a{n}")
    reviewer.missed.clear()
    with pytest.raises(TokenUnchecked, match="many tokens are being checked"):
        await checked.caller_of(GOOD, "honest")
    assert reviewer.missed == ["pod-1"], "it spoke and wasn't heard"
    reviewer.answers.set()
    await settle()
    assert await checked.caller_of(GOOD, "honest") == CALLER


async def test_an_api_server_in_trouble_refuses_nobody_and_is_said_seldom(caplog: pytest.LogCaptureFixture) -> None:
    checked, reviewer, clock = tokens()
    reviewer.error = ServerError(500, "InternalError", "etcd has left")
    for n in range(2 * BAD_UNPROVEN):
        with pytest.raises(TokenUnchecked, match="API server"):
            await checked.caller_of(jwt("pod-1", jti=n), "a")
    assert reviewer.missed == ["pod-1"] * 2 * BAD_UNPROVEN, "who counts silence knows that it spoke"
    assert [record.getMessage() for record in caplog.records] == ["tokens of pods can't be checked"]
    clock.pass_s(SILENT_S)
    with pytest.raises(TokenUnchecked):
        await checked.caller_of(GOOD, "a")
    assert len(caplog.records) == 2
    reviewer.error = None
    assert await checked.caller_of(GOOD, "a") == CALLER


async def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in ("KNOWN_TOKENS", "BAD_TOKENS", "SHARES"):
        monkeypatch.setattr(module, limit, 3)
    good = {jwt(f"pod-{n}"): user(f"pod-{n}") for n in range(9)}
    checked, _, _ = tokens(good)
    for n, token in enumerate(good):
        assert (await checked.caller_of(token, f"a{n}")).pod == f"pod-{n}"
        await refusal(checked, jwt(f"bad-{n}"), f"a{n}")
    assert (len(checked._good), len(checked._bad), len(checked._proven), len(checked._shares)) == (3, 3, 3, 3)
    assert not checked._reviews
