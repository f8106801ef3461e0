"""Whether new objects come to lie beside each other, once the gaps between the old ones are filled."""

import json
import subprocess
import sys
from typing import Any

import pytest

SIZES = range(48, 513, 16)

# In a process of its own: what a large one lets go of in between leaves gaps of its own.
PROGRAM = """
import collections, json, sys
from flowy_operator.adapters.decider.places import fill_gaps

POOL_BYTES = 16 * 1024
EMPTY_BYTES = 33  # an empty `bytes`

def in_old_pools(size_bytes, fill):
    content_bytes = size_bytes - EMPTY_BYTES
    old = [bytes(content_bytes) for _ in range(2000)]
    del old[::2]
    old_pools = {id(one) // POOL_BYTES for one in old}
    filling = fill()
    new = [bytes(content_bytes) for _ in range(20)]
    return sum(id(one) // POOL_BYTES in old_pools for one in new)

made = collections.Counter(-(-sys.getsizeof(one) // 16) * 16 for one in fill_gaps())
lie = [[size, in_old_pools(size, fill_gaps), in_old_pools(size, list)] for size in range(48, 513, 16)]
print(json.dumps({"made": list(made.items()), "lie": lie}))
"""


def _run(**environment: str) -> Any:
    done = subprocess.run([sys.executable, "-c", PROGRAM], check=True, stdout=subprocess.PIPE, env=environment)
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def found() -> Any:
    return _run()


@pytest.mark.parametrize("size_bytes", SIZES)
def test_new_objects_lie_in_pools_of_their_own(found: Any, size_bytes: int) -> None:
    ((filled, not_filled),) = [rest for size, *rest in found["lie"] if size == size_bytes]
    assert filled <= 5  # a few gaps of the busiest sizes come of what `fill_gaps` itself lets go of
    assert not_filled == 20


def test_no_more_is_made_than_there_are_gaps(found: Any) -> None:
    made = dict(found["made"])
    assert set(made) == set(range(16, 513, 16))
    assert all(count < 4096 for count in made.values()), made


def test_under_another_allocator_nothing_is_kept() -> None:
    assert _run(PYTHONMALLOC="malloc")["made"] == []
