"""Which shards a replica looks after, by its own metrics."""

import time
import urllib.request
from collections.abc import Sequence

from tests.e2e.operator import OperatorProcess


def figures(operator: OperatorProcess) -> dict[str, float]:
    """All of its metrics, by name with labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{operator.health_port}/metrics", timeout=10) as answer:
        lines = [line.split() for line in answer.read().decode().splitlines() if not line.startswith("#")]
    return {words[0]: float(words[1]) for words in lines}


def held(operator: OperatorProcess) -> list[int]:
    """Of two shards, those that it looks after."""
    found = figures(operator)
    return [shard for shard in range(2) if found.get(f'flowy_leader{{shard="{shard}"}}') == 1]


def wait_for_shares(operators: Sequence[OperatorProcess], shares: Sequence[list[int]], within_s: float = 60) -> None:
    """Wait until these are the shares, whoever has which."""
    deadline = time.monotonic() + within_s
    while sorted(found := [held(operator) for operator in operators]) != shares:
        assert time.monotonic() < deadline, f"the shards are held so: {found}"
        time.sleep(0.2)
