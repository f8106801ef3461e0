"""Where new objects come to lie in memory: side by side, or in another order than they were made.

The interpreter has an allocator of its own for what is small. It places an object in a pool for its size, and fills the gaps
of old pools before it takes a new one.

Imports leave gaps all over. A child that fills some copies a page for each, and two for the heads of the pools that become
full by it: 70 of the 700 pages that a small decision copied. So `fill_gaps` fills them before the first fork.

For a shadow replay new objects have to lie otherwise. Two processes of one program differ by whole pages: the kernel moves
their mappings, and the allocator gives the same places within them. The order of a small set follows from those places, and
can be the same in both: that of eight functions was. So `scramble` leaves places of every size free all over, out of order,
and the next objects get those.
"""

from collections.abc import Callable, Sequence

_SMALL_BYTES = 512  # up to this the allocator is the interpreter's own, in steps of 16 bytes
_STEP_BYTES = 16

_POOL_BYTES = 16 * 1024
_HEAD_BYTES = 48  # of a pool; its first object lies behind that
_AT_ONCE = 32  # objects, between which nothing else is made: a number that is looked at takes a place, too
_SURE = 8  # objects in a pool's order from its first place on: that is a new pool, unless old objects went in the same order
# So many gaps of a size have not been seen. Under another allocator, as of a debug build, nothing is where this looks for it.
_MOST = 4096

_LARGE_BYTES = 4096
_PLACES = 192  # of each small size: about as many objects of a size as a small decision makes
_LARGE_PLACES = 12
_STRIDE = 89  # a prime that divides no number of places: steps of it visit all, neighbours never in a row
_KEPT_IN_4 = 1  # these stay in between, so that no run of free places is left


def fill_gaps() -> Sequence[object]:
    """Fill them with objects of no use, and give these, which have to be kept: none where it can't be told what is a gap."""
    filling: list[object] = []
    for size_bytes in range(_STEP_BYTES, _SMALL_BYTES + 1, _STEP_BYTES):
        make = _maker(size_bytes)
        for _ in range(_MOST // _AT_ONCE):
            filling.extend(make() for _ in range(_AT_ONCE))
            # Of the ones before as well: a pool may begin at any place among them, and have no more room than for so many.
            if _begin_a_pool(filling[-2 * _AT_ONCE :], size_bytes):
                break
        else:
            return ()
        # Up to the next new one: its head lies on one page with the objects that come first.
        for _ in range(_POOL_BYTES // size_bytes):
            filling.append(make())
            if id(filling[-1]) % _POOL_BYTES == _HEAD_BYTES:
                break
    return filling


def _begin_a_pool(made: Sequence[object], size_bytes: int) -> bool:
    """Whether some of these lie in a new pool. None is taken while old ones have room."""
    in_order = 0
    for one in made:
        place = id(one) % _POOL_BYTES
        in_order = in_order + 1 if place == _HEAD_BYTES + in_order * size_bytes else int(place == _HEAD_BYTES)
        if in_order == _SURE:
            return True
    return False


def scramble() -> Sequence[object]:
    """Leave places free out of order, and give what has to be kept for it."""
    kept: list[object] = []
    for size_bytes in range(_STEP_BYTES, _SMALL_BYTES + 1, _STEP_BYTES):
        kept += _holes(_maker(size_bytes), _PLACES)
    for size_bytes in range(_SMALL_BYTES + 64, _LARGE_BYTES + 1, 64):
        kept += _holes(_maker(size_bytes), _LARGE_PLACES)
    return kept


def _maker(size_bytes: int) -> Callable[[], object]:
    """Makes objects that take one place of this size."""
    header_bytes = b"".__sizeof__()
    if size_bytes <= 16:  # noqa: PLR2004 - the smallest place, and the smallest object
        return object
    if size_bytes < header_bytes:
        return lambda: int.from_bytes(b"\1" * 6)  # two digits of 30 bits: 32 bytes
    return lambda: bytes(size_bytes - header_bytes)


def _holes(make: Callable[[], object], places: int) -> list[object]:
    made: list[object] = [make() for _ in range(places)]
    for step in range(places):
        at = step * _STRIDE % places
        if at % 4 >= _KEPT_IN_4:
            made[at] = None
    return made
