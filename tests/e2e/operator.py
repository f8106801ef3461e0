"""The operator as a process of its own, as a user starts it outside a cluster."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

READY = "operator is ready"


def _free_port() -> int:
    """Several operators run on this machine. None that the kernel gives to whoever calls somebody: it could, at any moment."""
    for port in random.sample(range(20_000, 32_000), 1000):
        try:
            socket.create_server(("", port)).close()
        except OSError:
            continue
        return port
    raise AssertionError("no port is free")


class OperatorProcess:
    """`flowy-operator run`, for one namespace. `log` holds the lines of all its lives."""

    def __init__(
        self,
        kubeconfig: Path,
        namespace: str,
        log: Path,
        *,
        log_level: str = "debug",
        options: Sequence[str] = (),
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.log = log
        self._environment = environment
        self.health_port, self.gateway_port = _free_port(), _free_port()
        self._command = [
            str(Path(sys.executable).with_name("flowy-operator")),
            "run",
            f"--kubeconfig={kubeconfig}",
            f"--namespace={namespace}",
            f"--log-level={log_level}",
            f"--gateway-port={self.gateway_port}",  # the same in all its lives, since pods remember it
            f"--health-port={self.health_port}",
            *options,
        ]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self, timeout_s: float = 30, *, until: str = READY) -> None:
        """Start it and wait until it says that it is ready, or `until`."""
        before = len(self.lines(until))
        self.launch()
        self.says(until, before + 1, timeout_s)

    def launch(self) -> None:
        """Start it, and don't wait."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("FLOWY_")}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stderr=log, env={**environment, **self._environment})

    def says(self, message: str, times: int, timeout_s: float = 30) -> None:
        """Wait until it has said so this often, in all its lives."""
        assert self._process is not None
        deadline = time.monotonic() + timeout_s
        while len(self.lines(message)) < times:
            assert self._process.poll() is None, f"the operator has ended:\n{self.log.read_text()[-4000:]}"
            assert time.monotonic() < deadline, f"no {message!r} in time:\n{self.log.read_text()[-4000:]}"
            time.sleep(0.05)

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        assert self._process is not None
        return self._process.poll()

    def ended(self, timeout_s: float = 15) -> int:
        """Wait until it ends by itself. Returns the exit code."""
        assert self._process is not None
        return self._process.wait(timeout_s)

    def kill(self) -> None:
        """As a crash would: SIGKILL."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill_children(self) -> None:
        """SIGKILL for the processes that it has started: the decider."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        assert children
        for child in children:
            os.kill(int(child), signal.SIGKILL)

    def stop(self, timeout_s: float = 15) -> int:
        """As Kubernetes would: SIGTERM. Returns the exit code."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        return self._process.wait(timeout_s)

    def lines(self, message: str | None = None, level: str | None = None) -> list[dict[str, Any]]:
        """The log's lines, of one message or level if given."""
        if not self.log.exists():
            return []
        found = []
        for text in self.log.read_text().splitlines():
            try:
                line = json.loads(text)
            except ValueError:
                line = {"level": "ERROR", "message": text}
            if message in {None, line["message"]} and level in {None, line["level"]}:
                found.append(line)
        return found
