"""Few at once, and namespaces in turn."""

import asyncio

import pytest

from flowy_operator.adapters.decider.turns import Turn, Turns


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_namespaces_are_served_in_turn() -> None:
    turns = Turns(1, 1)
    first = await turns.take("busy")
    served: list[str] = []

    async def wait(namespace: str) -> None:
        turn = await turns.take(namespace)
        served.append(namespace)
        turn.end()

    async with asyncio.TaskGroup() as group:
        for namespace in ["busy"] * 3 + ["small"] * 2 + ["rare"]:
            group.create_task(wait(namespace))
        await settle()
        first.end()
    assert served == ["busy", "small", "rare", "busy", "small", "busy"]


async def test_one_namespace_leaves_room_for_another() -> None:
    turns = Turns(3, 2)
    held = [await turns.take("greedy"), await turns.take("greedy")]
    third = asyncio.create_task(turns.take("greedy"))
    await settle()
    assert not third.done()
    await turns.take("other")
    held[0].end()
    await third


async def test_ending_a_turn_again_frees_nothing_more() -> None:
    turns = Turns(1, 1)
    turn = await turns.take("x")
    turn.end()
    turn.end()
    await turns.take("x")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await turns.take("x")


async def test_who_is_cancelled_leaves_the_line() -> None:
    turns = Turns(1, 1)
    turn = await turns.take("x")
    waiting = [asyncio.create_task(turns.take("x")) for _ in range(3)]
    await settle()
    waiting[0].cancel()
    waiting[1].cancel()
    turn.end()
    assert isinstance(await waiting[2], Turn)


async def test_a_turn_granted_to_one_who_is_cancelled_in_that_moment_is_given_back() -> None:
    turns = Turns(1, 1)
    turn = await turns.take("x")
    waiting = asyncio.create_task(turns.take("x"))
    await settle()
    turn.end()  # granted now, but the task has not run since
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await turns.take("y")
