"""Whether new objects come to lie beside each other, once the gaps between the old ones are filled."""

import json
import subprocess
import sys

import pytest

SIZES = range(48, 513, 16)

# In a process of its own: what a large one lets go of in between leaves gaps of its own.
PROGRAM = """
import json
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

print(json.dumps([[size, in_old_pools(size, fill_gaps), in_old_pools(size, list)] for size in range(48, 513, 16)]))
"""


@pytest.fixture(scope="module")
def in_old_pools() -> dict[int, tuple[int, int]]:
    """How many of twenty new objects lie among old ones, by their size: where gaps have been filled, and where not."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], check=True, stdout=subprocess.PIPE)
    return {size: (filled, not_filled) for size, filled, not_filled in json.loads(done.stdout)}


@pytest.mark.parametrize("size_bytes", SIZES)
def test_new_objects_lie_in_pools_of_their_own(in_old_pools: dict[int, tuple[int, int]], size_bytes: int) -> None:
    filled, not_filled = in_old_pools[size_bytes]
    assert filled <= 5  # what was let go of since
    assert not_filled == 20
