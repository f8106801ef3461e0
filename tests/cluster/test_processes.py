"""What a process of the cluster gets from whoever starts it, and what not."""

import os
import time
from pathlib import Path

import pytest

from tests.cluster import processes


def test_a_lock_of_the_callers_shell_is_not_inherited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "PROCESSES", tmp_path)
    monkeypatch.setattr(processes, "LOGS", tmp_path)
    lock = os.open(tmp_path / "lock", os.O_CREAT | os.O_RDWR)
    os.set_inheritable(lock, True)
    try:
        process = processes.start("probe", ["sleep", "30"], "")
        folder = Path(f"/proc/{process.pid}/fd")
        deadline = time.monotonic() + 10
        open_ones = None
        while open_ones != {"0", "1", "2"} and time.monotonic() < deadline:
            time.sleep(0.01)  # `env` and `sleep` have their libraries open for a moment
            open_ones = {entry.name for entry in folder.iterdir()}
        assert open_ones == {"0", "1", "2"}
    finally:
        os.close(lock)
        processes.stop("probe", grace_s=5)
