"""The self-test at start: each probe fails in a locked decider, and one that gets through ends the start."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from flowy_operator.adapters.decider import proof
from flowy_operator.adapters.decider.limits import Limits
from flowy_operator.adapters.decider.pool import DeciderPool
from flowy_operator.core.errors import DecisionStalled, StallReason
from tests.adapters.decider.programs import GOOD

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMITS = Limits(cpu_s=0.1)
PROBES = {probe.name: probe for probe in proof.probes(LIMITS)}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def pool() -> AsyncIterator[DeciderPool]:
    pool = DeciderPool(LIMITS)
    await pool.start()
    yield pool
    await pool.close()


async def told(pool: DeciderPool, name: str) -> proof.Told:
    try:
        return await pool.decide(PROBES[name].request, namespace="x", wall_s=20)
    except DecisionStalled as stalled:
        return stalled


@pytest.mark.parametrize("name", PROBES)
async def test_a_lock_holds_and_no_other_probe_would_say_so(pool: DeciderPool, name: str) -> None:
    got = await told(pool, name)
    assert PROBES[name].holds(got), got
    good = await pool.decide(GOOD, namespace="x", wall_s=20)
    assert not PROBES[name].holds(good), "a decision that just goes on would pass"


async def test_the_kernel_confirms_the_filter(pool: DeciderPool) -> None:
    assert pool.zygote_pid is not None
    assert proof.is_filtered(pool.zygote_pid) is True
    assert proof.is_filtered(1) is False


async def test_what_gets_through_ends_the_start() -> None:
    # The kernel gives memory by the page, so a limit of all there is refuses nothing that a test may touch.
    roomy = DeciderPool(Limits(memory_bytes=1 << 62))
    with pytest.raises(DecisionStalled, match="self-test got memory above the limit") as stalled:
        await roomy.start()
    assert stalled.value.reason is StallReason.UNAVAILABLE
    assert roomy.zygote_pid is None
