"""One zygote, started when it is needed, shared by all who wait for it, and let go when nobody needs it."""

import asyncio

import pytest

from flowy_operator.adapters.decider.frames import Locks, Order
from flowy_operator.adapters.decider.keeper import Keeper
from flowy_operator.core.errors import DecisionStalled, StallReason
from tests.fakes.clock import run_virtual


class Fake:
    socket_path = ""
    locks = Locks()
    last_words = ""
    pid = None

    def __init__(self) -> None:
        self.gone = asyncio.Event()

    def tell(self, order: Order) -> bool:
        raise AssertionError(order)

    async def close(self) -> None:
        await asyncio.sleep(0.1)
        self.gone.set()


class Home:
    """Starts fakes, each in a second; `fails` of them fail first."""

    def __init__(self, fails: int = 0) -> None:
        self.made: list[Fake] = []
        self.starts = 0
        self._fails = fails

    async def start(self) -> Fake:
        self.starts += 1
        await asyncio.sleep(1.0)
        if self._fails:
            self._fails -= 1
            raise DecisionStalled(StallReason.UNAVAILABLE, "no")
        self.made.append(Fake())
        return self.made[-1]


def test_all_who_wait_share_one_start() -> None:
    async def check() -> None:
        home = Home()
        keeper = Keeper(home.start)
        zygotes = await asyncio.gather(*(keeper.running() for _ in range(5)))
        assert zygotes == home.made * 5
        assert await keeper.running() is home.made[0]
        await keeper.close()
        assert home.made[0].gone.is_set()

    run_virtual(check())


def test_all_who_wait_share_its_failure_and_the_next_tries_again() -> None:
    async def check() -> None:
        home = Home(fails=1)
        keeper = Keeper(home.start)
        told = await asyncio.gather(*(keeper.running() for _ in range(3)), return_exceptions=True)
        assert all(isinstance(one, DecisionStalled) for one in told)
        assert home.starts == 1
        assert keeper.present is None
        assert await keeper.running() is home.made[0]
        await keeper.close()

    run_virtual(check())


def test_who_is_cancelled_leaves_the_start_to_the_others() -> None:
    async def check() -> None:
        home = Home()
        keeper = Keeper(home.start)
        waiting = [asyncio.create_task(keeper.running()) for _ in range(2)]
        await asyncio.sleep(0.5)
        waiting[0].cancel()
        assert await waiting[1] is home.made[0]
        assert waiting[0].cancelled()
        await keeper.close()

    run_virtual(check())


def test_one_that_is_gone_is_replaced() -> None:
    async def check() -> None:
        home = Home()
        keeper = Keeper(home.start)
        (await keeper.running()).gone.set()
        assert await keeper.running() is home.made[1]
        await keeper.close()

    run_virtual(check())


def test_without_use_it_is_let_go_after_a_while() -> None:
    async def check() -> None:
        home = Home()
        keeper = Keeper(home.start, linger_s=60.0)
        with keeper.in_use():
            await keeper.running()
            await asyncio.sleep(100)
            assert await keeper.running() is home.made[0]
        await asyncio.sleep(59)
        with keeper.in_use(), keeper.in_use():
            assert await keeper.running() is home.made[0]
        await asyncio.sleep(59)
        assert not home.made[0].gone.is_set()
        await asyncio.sleep(2)
        assert home.made[0].gone.is_set()
        assert keeper.present is None
        with keeper.in_use():
            assert await keeper.running() is home.made[1]
        await keeper.close()
        await asyncio.sleep(100)
        assert home.starts == 2

    run_virtual(check())


@pytest.mark.parametrize("waits_s", [0.0, 0.5, 2.0], ids=["before", "while", "after it has started"])
def test_closed_it_starts_nothing_any_more(waits_s: float) -> None:
    async def check() -> None:
        home = Home()
        keeper = Keeper(home.start)
        asked = asyncio.create_task(keeper.running())
        await asyncio.sleep(waits_s)
        await keeper.close()
        if waits_s < 1:
            with pytest.raises(DecisionStalled, match="not running"):
                await asked
        with pytest.raises(DecisionStalled, match="not running"):
            await keeper.running()
        assert all(fake.gone.is_set() for fake in home.made)

    run_virtual(check())
