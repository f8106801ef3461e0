"""The decider as a process of its own beside a running operator: a run goes on, whichever of the two is killed."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.kube import Kube, condition, events, result
from tests.e2e.manifests import CHAIN, shell, workflow
from tests.e2e.operator import OperatorProcess

STEP = shell("step", "sleep 2; echo $(($1 + 1)) > $FLOWY_RESULT_FILE", "$(FLOWY_ARG_0)")
MOODY = "def w(step):\n    def run(n):\n        return step(id(object()) % 1000)\n    return run\n"


class Decider:
    def __init__(self, folder: Path) -> None:
        self.socket_path = folder / "decider.sock"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [str(Path(sys.executable).with_name("flowy-operator")), "decider", "--shadow"]
        self._process = subprocess.Popen([*command, "--socket", str(self.socket_path)], stdout=subprocess.PIPE)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def decider(tmp_path: Path) -> Iterator[Decider]:
    decider = Decider(tmp_path)
    decider.start()
    yield decider
    decider.kill()


@pytest.fixture
def served(kube: Kube, decider: Decider, tmp_path: Path) -> Iterator[OperatorProcess]:
    options = [f"--decider-socket={decider.socket_path}", "--shadow-share=1"]
    process = OperatorProcess(kube.kubeconfig, kube.namespace, tmp_path / "log", options=options)
    process.start(timeout_s=60)
    yield process
    assert process.stop() == 0


def test_a_run_survives_either_side(kube: Kube, served: OperatorProcess, decider: Decider) -> None:
    kube.apply(workflow("either", CHAIN, [STEP], 4))
    kube.wait_until("workflow", "either", lambda body: len(events(body, "TaskCompleted")) >= 1)
    decider.kill()
    kube.wait_until("workflow", "either", lambda body: condition(body, "Stalled")[1] == "DeciderUnavailable")
    decider.start()
    kube.wait_until("workflow", "either", lambda body: len(events(body, "TaskCompleted")) >= 2)
    served.kill()
    served.start(timeout_s=60)
    assert result(kube.wait_end("either")) == 4


def test_code_that_depends_on_memory_stalls_before_it_starts_anything(kube: Kube, served: OperatorProcess) -> None:
    assert served.pid
    kube.apply(workflow("moody", MOODY, [STEP], 0))
    body = kube.wait_until("workflow", "moody", lambda body: condition(body, "Stalled")[1] == "NonDeterminism")
    assert "step-0 (line 3) was called with other arguments" in condition(body, "Stalled")[2]
    assert not events(body, "TaskScheduled")
