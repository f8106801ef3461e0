"""What code can observe is the same in two zygotes, which lie elsewhere in memory and were started at another time."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from flowy_operator.adapters.decider.pool import DeciderPool
from tests.adapters.decider.programs import body, native

pytestmark = pytest.mark.asyncio(loop_scope="module")

STARTED_AT = 1_700_000_000.0  # as `programs.request` says

PROBES = {
    "time": "return time.time()",
    "time_ns": "return time.time_ns()",
    "monotonic": "return time.monotonic()",
    "perf_counter": "return time.perf_counter_ns()",
    "process_time": "return time.process_time()",
    "thread_time": "return time.thread_time()",
    "clock_gettime": "return [time.clock_gettime(n) for n in (0, 1, 2, 4, 7)]",
    "strftime": "return time.strftime('%c')",
    "datetime.now": "return str(datetime.datetime.now())",
    "datetime.utcnow": "return str(datetime.datetime.utcnow())",
    "the unpatched datetime": "return str(datetime.datetime.__mro__[1].now())",
    "date.today": "return str(datetime.date.today())",
    "random": "return random.random()",
    "an unseeded generator": "return random.Random().random()",
    "SystemRandom": "return random.SystemRandom().random()",
    "the unpatched generator": "return random.Random.__mro__[2]().random()",
    "a choice": "return random.sample(range(100), 5)",
    "uuid1": "return str(uuid.uuid1())",
    "uuid4": "return str(uuid.uuid4())",
    "urandom": "return os.urandom(8).hex()",
    "the hash of a text": "return [hash('text'), hash(b'text')]",
    "the order of a set": "return list({str(n) for n in range(50)})",
    "environment": "return dict(os.environ)",
    "arguments": "return [sys.argv, sys.path]",
}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def pools() -> AsyncIterator[tuple[DeciderPool, DeciderPool]]:
    first, second = DeciderPool(), DeciderPool()
    await first.start()
    await asyncio.sleep(0.05)
    await second.start()
    yield first, second
    await first.close()
    await second.close()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("line", PROBES.values(), ids=PROBES)
async def test_two_zygotes_see_the_same(pools: tuple[DeciderPool, DeciderPool], line: str) -> None:
    asked = body("import time, datetime, random, uuid", line)
    first, second = [await pool.decide(asked, namespace="x", wall_s=20) for pool in pools]
    assert first.result is not None, first.error
    assert second == first


async def test_the_clock_is_frozen_below_python(pools: tuple[DeciderPool, DeciderPool]) -> None:
    pool, _ = pools
    assert pool.locks is not None
    assert pool.locks.frozen_clock, "this kernel seals its vDSO: then the tests above hold by the patches alone"
    asked = native(
        "moment = (ctypes.c_int64 * 2)()",
        "seen = [libc.time(None)]",
        "libc.clock_gettime(0, moment)",
        "seen += list(moment)",
        "libc.gettimeofday(moment, None)",
        "return seen + list(moment)",
    )
    answer = await pool.decide(asked, namespace="x", wall_s=20)
    assert json.loads(answer.result or "null") == [STARTED_AT, STARTED_AT, 0, STARTED_AT, 0], answer.error
