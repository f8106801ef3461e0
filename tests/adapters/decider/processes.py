"""What /proc tells about processes, for tests that must not leave any."""

import asyncio
from collections.abc import Callable
from pathlib import Path

# Only guards against hanging: the things waited for take milliseconds.
PATIENCE_S = 20.0


def is_running(pid: int) -> bool:
    """Whether it runs. A zombie does not: that it is reaped is up to its parent, after `kill -9` to the machine's init."""
    return _state_and_parent(pid)[0] not in "ZX"


def is_sleeping(pid: int) -> bool:
    """Whether it waits for something."""
    return _state_and_parent(pid)[0] == "S"


def is_stopped(pid: int) -> bool:
    """Whether it can do nothing until it is told to go on."""
    return _state_and_parent(pid)[0] == "T"


def children_of(parent: int) -> list[int]:
    """Its children, zombies included."""
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]
    return [pid for pid in pids if _state_and_parent(pid)[1] == parent]


def cpu_ticks(pid: int) -> int:
    """CPU that it has used, in hundredths of a second."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def peak_kib(pid: int) -> int:
    """The most memory that it has had."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def open_descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def threads_of(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something in other processes, which nobody announces."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - other processes set no event of ours
            await asyncio.sleep(0.01)


def _state_and_parent(pid: int) -> tuple[str, int]:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return "X", 0
    state, parent = stat.rpartition(")")[2].split()[:2]  # the name before may hold anything
    return state, int(parent)
