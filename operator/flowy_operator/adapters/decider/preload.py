"""What workflow code may import, loaded before the first fork, and a plain word about everything else.

This is for people, not for security: code that wants around it gets around it. What keeps it in is the kernel.
"""

import builtins
import contextlib
import gc
import importlib
import json
import sys
import time
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, NoReturn

import flowy
from flowy.replay import bytecode
from flowy.replay.bytecode import Bytecode
from flowy.replay.determinism import impose
from flowy.replay.loading import compiled
from flowy.replay.replayer import replay
from flowy.wire.messages import Answer, Record, RecordState, Request, encode_answer, encode_request, parse_request
from flowy.wire.values import digest
from flowy_operator.adapters.decider.zones import keep_zones

# Computation on plain values. Missing on purpose: whatever reaches files, the network, processes or threads. `os`, `sys`
# and their like are loaded all the same, since these need them.
AVAILABLE = (
    "__future__", "abc", "base64", "binascii", "bisect", "calendar", "cmath", "collections", "collections.abc", "contextlib",
    "copy", "csv", "dataclasses", "datetime", "decimal", "difflib", "enum", "fnmatch", "fractions", "functools", "graphlib",
    "hashlib", "heapq", "hmac", "html", "inspect", "io", "ipaddress", "itertools", "json", "keyword", "math", "numbers",
    "operator", "pprint", "random", "re", "reprlib", "shlex", "statistics", "string", "struct", "textwrap", "time",
    "traceback", "types", "typing", "unicodedata", "urllib.parse", "uuid", "warnings", "weakref", "zlib", "zoneinfo",
)  # fmt: skip

# Loaded by the above only when a certain function is called, or by a name of a codec.
_LATE = (
    "_strptime", "encodings.ascii", "encodings.idna", "encodings.latin_1", "encodings.punycode", "encodings.utf_16",
    "encodings.utf_16_be", "encodings.utf_16_le", "encodings.utf_32", "encodings.utf_8_sig", "linecache", "tracemalloc",
)  # fmt: skip

# What the zygote needs and workflow code does not: loaded, but not to be found by an import. `resource` is missing
# here, since `os.wait4` imports it at each call.
_HIDDEN = ("_ctypes", "_socket", "ctypes", "ctypes._endian", "select", "selectors", "socket", "threading")

# What most programs do: small classes, comprehensions, text, calls of scalars and others, looks at values, a barrier.
_WARM_UP = """
import itertools, json, math
from collections import defaultdict
from dataclasses import dataclass

@dataclass(frozen=True)
class Item:
    name: str
    size: int = 0

def main(warm, last):
    def run(n, fail):
        if fail:
            raise KeyError("no")
        items = [Item(f"{i}", int(warm(i))) for i in range(n)]
        by_size = defaultdict(list)
        for item in items:
            by_size[item.size % 7].append(item)
        total = math.fsum(item.size for item in itertools.chain.from_iterable(by_size.values()))
        parts = [warm(item.name, size=item.size) for item in items]
        last(json.dumps({"total": total, "sizes": sorted(by_size), "names": ", ".join(item.name for item in items)}))
        return int(parts[0])
    return run
"""


# After a few calls, the interpreter adapts a function to what it meets. Each child would do it anew, and copy the pages.
_ROUNDS = 24


class _Unavailable:
    """The last finder on the path: it finds nothing, and says why."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:  # noqa: ARG004 - the import system's signature
        raise ModuleNotFoundError(
            f"module {name!r} is not available to workflow code: let a task do what needs it. "
            f"Available are {', '.join(AVAILABLE)}",
            name=name,
        )


def preload() -> None:
    """Load all of it, decide so that caches are filled, then close the import path for good."""
    for name in (*AVAILABLE, *_LATE):
        importlib.import_module(name)
    for name in flowy.__all__:
        getattr(flowy, name)  # loaded when first asked for, which would be too late
    keep_zones()
    impose()
    bytecode.impose()
    for _ in range(_ROUNDS):
        _decide()
    _kept[:] = _decide(), _decide(fail=True)
    sys.path.clear()
    sys.meta_path[:] = [_Unavailable]
    for name in _HIDDEN:
        sys.modules.pop(name, None)
    builtins.open = _refused("open() is not available to workflow code: let a task read and write files")
    builtins.input = _refused("input() is not available to workflow code: nobody is there to answer")
    time.sleep = _refused("time.sleep() is not available to workflow code: let a task wait")


def _refused(message: str) -> Any:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise RuntimeError(message)

    return refuse


class _Left(BaseException):
    pass


def warm_up() -> None:
    """Decide in the very steps of a child, up to a barrier."""
    _decide()
    gc.collect()  # the classes of the little program, which code could find: collections are off in a child


_RECORDS = [
    Record(f"warm-{n}", RecordState.COMPLETED, digest([n], {}), 17, f"{n}", rank=n, finished_at=n + 0.5)
    for n in range(2)
]

_known = b""  # the bytecode of the little program, since most decisions have theirs
_kept: list[Bytecode] = []  # and what it was loaded to: a child that let go of that would copy the pages of all of it


def warm_up_request(*, fail: bool = False) -> Request:
    """What the little program is asked: to come to a barrier, or to fail."""
    return Request(
        source=_WARM_UP,
        entrypoint="main",
        tasks=("warm", "last"),
        input=json.dumps({"args": [2, fail], "kwargs": {}}),
        records=() if fail else _RECORDS,
    )


def _decide(*, fail: bool = False) -> Bytecode:
    global _known  # noqa: PLW0603 - of the zygote, for all children

    def leave(answer: Answer) -> NoReturn:
        encode_answer(answer)
        raise _Left

    compiled.cache_clear()
    used = Bytecode(_known)
    bytecode.begin(used)
    with contextlib.suppress(_Left):
        replay(parse_request(encode_request(warm_up_request(fail=fail))), leave)
    _known = used.hand_on() or _known
    return used
