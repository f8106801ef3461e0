"""The zygote's memory in few large pages, of which a fork copies one entry each and not 512.

A fork and the end of its child go through every page that the zygote has for itself, 3,500 small ones: half of what both cost.
The kernel joins them to huge pages of 2 MiB if it is asked to, where they fill one without a gap. The interpreter's allocator
takes a MiB of the system at a time, an arena, wherever there is room for one: between two libraries, and no two side by side.
So `lay` takes them all before libraries are loaded, `give_back` lets go of those that were too many, and `join` asks
once all is in place.
This module imports none, `ctypes` least of all: what it loads would lie between them.

In a child a huge page falls apart again, into entries for its small ones, when it is first written to; what gets copied is
a small one. A kernel that does not join them (before 6.1, or with none free) costs what it did: nothing depends on this.
"""

import contextlib
import os
from collections.abc import Callable, Iterator

_ARENAS = 9  # that the zygote fills; what is too many is given back
_ARENA_BYTES = 1024 * 1024
_OBJECT_BYTES = 400  # small, so that it lies in an arena
_KEPT_OF = 1024  # one of so many, which leaves no arena without one

_HUGE_BYTES = 2 * 1024 * 1024
_MADV_COLLAPSE = 25  # for which `mmap` has no name

_kept: list[bytes] = []


def lay() -> None:
    """Have the allocator take its arenas, side by side and empty but for what keeps it from giving them back."""
    _kept[:] = [bytes(_OBJECT_BYTES) for _ in range(_ARENAS * _ARENA_BYTES // _OBJECT_BYTES)][::_KEPT_OF]


def give_back() -> None:
    """Give those back that nothing has come to lie in."""
    _kept.clear()


def join(advise: Callable[[int, int, int], None]) -> None:
    """Have the kernel join what it can: `advise` is `kernel.advise`."""
    for begin, end in _private_memory():
        first, behind_last = -(-begin // _HUGE_BYTES) * _HUGE_BYTES, end // _HUGE_BYTES * _HUGE_BYTES
        if first < behind_last:
            with contextlib.suppress(OSError):
                advise(first, behind_last - first, _MADV_COLLAPSE)


def _private_memory() -> Iterator[tuple[int, int]]:
    """Where memory begins and ends that is this process's own, without a file, and can be written."""
    maps = os.open("/proc/self/maps", os.O_RDONLY)  # the builtin is refused here, see `preload`
    try:
        text = b"".join(iter(lambda: os.read(maps, 64 * 1024), b""))
    finally:
        os.close(maps)
    for line in text.decode(errors="replace").splitlines():
        where, allowed, _, _, _, *what = line.split()
        if allowed == "rw-p" and what in ([], ["[heap]"]):
            begin, end = where.split("-")
            yield int(begin, 16), int(end, 16)
