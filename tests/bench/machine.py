"""How fast this machine is at the moment: the time of a fixed piece of work that has nothing to do with Flowy.

A machine that is shared is twice as fast at one hour as at another. What is divided by this figure, measured within the same
minute, can be compared all the same.
"""

import hashlib
import json
import statistics
import time

ROUNDS = 5
FRESH_S = 60.0

_known: tuple[float, float] | None = None  # when it was measured, and what it was


def pace_ms() -> float:
    """Milliseconds that the work takes, at most a minute ago: Python code, JSON and a hash, as in an operator's pass."""
    global _known  # noqa: PLW0603 - one machine, one figure
    if _known is None or time.monotonic() - _known[0] > FRESH_S:
        _known = time.monotonic(), statistics.median(_work_ms() for _ in range(ROUNDS))
    return _known[1]


def _work_ms() -> float:
    began = time.perf_counter()
    for n in range(300):
        events = [{"id": n + m, "type": "TaskCompleted", "task": f"step-{m}", "result": "[1, 2]"} for m in range(20)]
        text = json.dumps(events)
        assert json.loads(text) == events
        hashlib.sha256(text.encode()).hexdigest()
    return (time.perf_counter() - began) * 1000
