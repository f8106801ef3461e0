"""Workflow code for the decider's tests, and requests that carry it."""

import json
from collections.abc import Sequence

from flowy.wire.messages import Record, RecordState, Request


def request(source: str, *args: object, records: Sequence[Record] = (), seed: str = "uid-1/0") -> Request:
    """A request for `main` of `source`, with the tasks `a`, `b` and `c`."""
    return Request(
        source=source,
        entrypoint="main",
        tasks=("a", "b", "c"),
        input=json.dumps({"args": args, "kwargs": {}}),
        records=records,
        seed=seed,
        started_at=1_700_000_000.0,
    )


def completed(key: str, value: object, rank: int) -> Record:
    return Record(
        key=key,
        state=RecordState.COMPLETED,
        value=json.dumps(value),
        rank=rank,
        finished_at=1_700_000_000.0 + rank,
    )


def failed(key: str, message: str, rank: int) -> Record:
    return Record(
        key=key,
        state=RecordState.FAILED,
        error={"type": "ValueError", "message": message},
        rank=rank,
        finished_at=1_700_000_000.0 + rank,
    )


SMALL = """
def main(a, b, c):
    def run(n):
        parts = [a(i) for i in range(n)]
        return b([str(part) for part in parts])
    return run
"""

GOOD = request(SMALL, 3)
GOOD_KEYS = ["a-0", "a-1", "a-2"]


def body(*lines: str) -> Request:
    """A request whose workflow consists of these lines."""
    inner = "\n".join(f"        {line}" for line in lines)
    return request(f"import sys, os, json\ndef main(a, b, c):\n    def run():\n{inner}\n    return run\n")


ENDLESS = body("while True:", "    pass")

# A wait that costs no CPU: the request is read to its end, and nothing follows.
HANGING = body("os.read(3, 1)")

# What native code could do, for which ctypes stands: no import gives it, but our own frames are below the code's.
NATIVE = """
frame = sys._getframe()
while 'lockdown' not in frame.f_globals: frame = frame.f_back
ctypes = frame.f_globals['lockdown'].kernel.ctypes
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
def call(number, *arguments):
    result = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(a) if isinstance(a, int) else a for a in arguments])
    return result if result >= 0 else -ctypes.get_errno()
""".strip().splitlines()


def native(*lines: str) -> Request:
    """Like `body`, with `ctypes`, `libc` and `call(number, ...)`, which returns the result or minus the error number."""
    return body(*NATIVE, *lines)
