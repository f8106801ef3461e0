"""The interpreter's memory lies in one piece, and the kernel is asked for all of it that it can join."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from flowy_operator.adapters.decider.arenas import join
from flowy_operator.adapters.decider.spawn import ENVIRONMENT

HUGE_BYTES = 2 * 1024 * 1024

# What a zygote does, as far as memory goes: libraries are loaded and objects made between the two.
STEPS = """
import sys; sys.path += {path!r}
from flowy_operator.adapters.decider import arenas
arenas.lay()
import ctypes, json, decimal, hashlib, zoneinfo
from flowy_operator.adapters.decider import kernel
kept = [[str(n)] for n in range(50_000)]
asked = []
def advise(address, size_bytes, advice):
    asked.append((address, size_bytes))
    kernel.advise(address, size_bytes, advice)
arenas.give_back()
arenas.join(advise)
memory = dict(line.split()[:2] for line in open("/proc/self/smaps_rollup") if "kB" in line)
print(json.dumps([asked, int(memory["AnonHugePages:"]), kept[-1]]))
"""


def test_most_of_it_is_joined() -> None:
    done = subprocess.run(
        [sys.executable, "-s", "-P", "-c", STEPS.format(path=sys.path)],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    asked, huge_kib, last = json.loads(done.stdout)
    assert all(address % HUGE_BYTES == size_bytes % HUGE_BYTES == 0 for address, size_bytes in asked)
    assert max(size_bytes for _, size_bytes in asked) >= 3 * HUGE_BYTES
    assert last == ["49999"]
    if huge_kib == 0 and not Path("/sys/kernel/mm/transparent_hugepage").exists():
        pytest.skip("this kernel has no huge pages")
    assert huge_kib * 1024 >= 3 * HUGE_BYTES


def test_a_kernel_that_joins_nothing_is_none_the_worse() -> None:
    def refuse(_address: int, _size_bytes: int, _advice: int) -> None:
        raise OSError(22, "madvise: Invalid argument")

    join(refuse)
