"""Memory in which new objects lie in another order than they were made.

Two processes of one program differ by whole pages: the kernel moves their mappings, and the interpreter's allocator
gives the same places within them. The order of a small set follows from those places, and can be the same in both: that
of eight functions was. Here places of every size are left free all over, out of order, and the next objects get those.
"""

from collections.abc import Callable, Sequence

_SMALL_BYTES = 512  # up to this the interpreter has an allocator of its own, in steps of 16 bytes
_LARGE_BYTES = 4096
_PLACES = 192  # of each small size: about as many objects of a size as a small decision makes
_LARGE_PLACES = 12
_STRIDE = 89  # a prime that divides no number of places: steps of it visit all, neighbours never in a row
_KEPT_IN_4 = 1  # these stay in between, so that no run of free places is left


def scramble() -> Sequence[object]:
    """Do so, and give what has to be kept for it."""
    kept: list[object] = []
    for size_bytes in range(16, _SMALL_BYTES + 1, 16):
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
