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

# A wait that no timer of the interpreter ends and that costs no CPU.
HANGING = body("import signal", "signal.pause()")
