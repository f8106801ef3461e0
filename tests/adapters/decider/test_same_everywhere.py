"""What code can observe is the same in two zygotes, which lie elsewhere in memory and were started at another time."""

import asyncio
import errno
import json
import sys
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from flowy_operator.adapters.decider.pool import DeciderPool
from tests.adapters.decider.programs import body, native

pytestmark = pytest.mark.asyncio(loop_scope="module")

STARTED_AT = 1_700_000_000.0  # as `programs.request` says

IMPORTS = "import time, datetime, random, uuid"
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
    asked = body(IMPORTS, line)
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


async def test_the_kernels_randomness_is_refused_below_python(pools: tuple[DeciderPool, DeciderPool]) -> None:
    """Also to a C library that takes it from the vDSO, as glibc does from 2.41 on: a number above zero would be a success."""
    pool, _ = pools
    asked = native(
        "libc.getauxval.restype, libc.getauxval.argtypes = ctypes.c_ulong, [ctypes.c_ulong]",
        "base = libc.getauxval(33)",
        "_, symbols = frame.f_globals['lockdown'].vdso._symbols(base)",
        "if '__vdso_getrandom' not in symbols: return 'none'",
        "take = ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_void_p, ctypes.c_size_t)",
        "return take(base + symbols['__vdso_getrandom'][0])(ctypes.create_string_buffer(8), 8, 0, None, 0)",
    )
    answer = await pool.decide(asked, namespace="x", wall_s=20)
    assert answer.result in (str(-errno.ENOSYS), '"none"'), answer


SEALED = """
import asyncio, json, struct, sys
sys.path[:0] = {path!r}
from flowy_operator.adapters.decider import bpf, kernel
from flowy_operator.adapters.decider.pool import DeciderPool
from tests.adapters.decider.programs import body
from tests.adapters.decider.test_same_everywhere import IMPORTS, PROBES

# mprotect to memory that can be written and executed: EPERM. Nothing else of the interpreter asks for that.
program = bytes()
for code, then, otherwise, operand in (
    (bpf.LOAD_WORD, 0, 0, bpf.NUMBER_AT), (bpf.JUMP_IF_EQUAL, 0, 3, 10),
    (bpf.LOAD_WORD, 0, 0, bpf.low_word_at(2)), (bpf.JUMP_IF_EQUAL, 0, 1, 7),
    (bpf.RETURN, 0, 0, bpf.Action.REFUSE), (bpf.RETURN, 0, 0, bpf.Action.ALLOW),
):
    program += struct.pack("<HBBI", code, then, otherwise, operand)
kernel.no_new_privileges()
kernel.Filter(program, 317).install()

async def main():
    pools = DeciderPool(), DeciderPool()
    for pool in pools:
        await pool.start()
    told = dict(frozen=[pool.locks.frozen_clock for pool in pools], probes=dict())
    for name, line in PROBES.items():
        answers = [await pool.decide(body(IMPORTS, line), namespace="x", wall_s=20) for pool in pools]
        told["probes"][name] = [answer.result for answer in answers]
    for pool in pools:
        await pool.close()
    print(json.dumps(told))

asyncio.run(main())
"""
BELOW_PYTHON = {"process_time", "thread_time", "clock_gettime", "the unpatched datetime", "the unpatched generator"}
"""What no patch of the replay reaches. Code that asks for it is on its own where the kernel seals its clocks."""


async def test_where_the_kernel_seals_its_clocks_the_patches_remain() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SEALED.format(path=sys.path), stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    told = json.loads(said)
    assert told["frozen"] == [False, False]
    assert set(told["probes"]) == set(PROBES)
    different = {name for name, (first, second) in told["probes"].items() if first is None or first != second}
    assert {"clock_gettime", "the unpatched datetime"} <= different <= BELOW_PYTHON
