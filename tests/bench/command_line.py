"""How long `flowy --help` takes: what a person waits for, and each completion of a shell."""

import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from tests.bench.report import Figure

RUNS = 21


def figures() -> list[Figure]:
    """The figure, beside an interpreter that does nothing."""
    command = str(Path(sys.executable).with_name("flowy"))
    return [
        Figure(
            name="cli-help-ms",
            value=_middle_ms([command, "--help"]),
            unit="ms",
            goal="<= 150 ms",
            raw=_middle_ms([sys.executable, "-c", "pass"]),
            command="make bench",
            date=datetime.now(UTC).date().isoformat(),
        )
    ]


def _middle_ms(command: list[str]) -> float:
    return statistics.median(_ms(command) for _ in range(RUNS))


def _ms(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return (time.perf_counter() - began) * 1000
