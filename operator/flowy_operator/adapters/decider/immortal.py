"""What the zygote has made keeps its memory pages clean: no reference to it is counted any more, in any child.

A fork shares memory until somebody writes to it, and CPython writes to whatever it looks at: it counts references, in the object
itself. Half of the pages that a small decision copied were copied for that. Since Python 3.12 there are objects that live for
ever and whose references nobody counts (PEP 683, which names servers that fork as a reason): None, small numbers, the types.
A value in the place of the count makes one. Python has a function for it from 3.15 on, in C alone
(`PyUnstable_SetImmortal`); so here the count is written where it lies, as that of None is.

Right only for what is never to be freed: a zygote lets go of nothing that it has loaded, and a child ends by `_exit`. Where an
interpreter counts otherwise, nothing is done and all is as before, but for the pages.
"""

import ctypes
import gc
import sys
import types
from collections.abc import Iterator

_KNOWN = ((3, 12), (3, 13))
_FOR_EVER = 0xFFFF_FFFF  # in the lower half of the count; the upper half is none's

_ReferenceCount = ctypes.c_uint32


def is_possible() -> bool:
    """Whether this interpreter has such objects, and they are told by what we know: tried with one of no use."""
    if sys.version_info[:2] not in _KNOWN or sys.byteorder != "little" or _count_of(None).value != _FOR_EVER:
        return False
    tried = object()
    if _count_of(tried).value != sys.getrefcount(tried) - 1:
        return False
    _count_of(tried).value = _FOR_EVER
    more = [tried] * 100
    stays = _count_of(tried).value == _FOR_EVER
    del more
    return stays and _count_of(tried).value == _FOR_EVER


def make_immortal() -> None:
    """Let all that there is live for ever: what the collector knows, and whatever that refers to.

    What `gc.freeze` has put aside is not begun with again. The count itself says what has been visited.
    """
    found: list[object] = gc.get_objects()
    for one in found:
        _count_of(one).value = _FOR_EVER
    while found:
        found = [one for one in _referred_to(found) if _begins_to_live_for_ever(one)]


def _referred_to(objects: list[object]) -> Iterator[object]:
    yield from gc.get_referents(*objects)
    for one in objects:
        if isinstance(one, types.CodeType):  # the collector asks it for nothing
            yield from (one.co_name, one.co_qualname, one.co_filename, one.co_consts, one.co_names)
            yield from (one.co_linetable, one.co_exceptiontable)
            # Not the names of variables: a code object that is asked for those keeps a list of them.
            yield from (*one.co_consts, *one.co_names)


def _begins_to_live_for_ever(one: object) -> bool:
    count = _count_of(one)
    if count.value == _FOR_EVER:
        return False
    count.value = _FOR_EVER
    return True


def _count_of(one: object) -> "ctypes.c_uint32":
    return _ReferenceCount.from_address(id(one))
