"""The engine over real threads and processes: nothing hangs, whatever an activity does."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from flowy import TaskCancelled, TaskError, wait
from flowy.activity import heartbeat
from flowy.local import LocalWorkflow
from tests.runtime.local import functions as f

ONE_S = {"step": {"timeouts": {"startToCloseSeconds": 1}, "retry": {"maxAttempts": 1}}}
ROOT = Path(__file__).parents[3]


def _error(workflow: LocalWorkflow, *args: object) -> TaskError:
    with pytest.raises(TaskError) as caught:
        workflow.run(*args)
    return caught.value


def test_a_hanging_thread_is_left_behind_and_its_late_result_is_refused() -> None:
    goes_on, counted = threading.Event(), []

    def hang(_: object) -> None:
        goes_on.wait(30)
        counted.append(heartbeat())

    workflow = LocalWorkflow(f.one, activities={"step": hang}, tasks=ONE_S)
    assert _error(workflow, 1).timer == "StartToClose"
    goes_on.set()
    _wait_until(lambda: bool(counted))
    assert counted == [False]


def _wait_until(condition: Any) -> None:
    for _ in range(3000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it never came")


def test_a_hanging_process_is_killed_and_its_worker_goes_on() -> None:
    def factory(step: Any, pid: Any) -> Any:
        def workflow() -> Any:
            try:
                wait(step())
            except TaskError:
                return pid()

        return workflow

    activities: Any = {"step": f.hang, "pid": f.pid}
    workflow = LocalWorkflow(factory, activities=activities, executor="processes", workers=1, tasks=ONE_S)
    assert workflow.run() != os.getpid()


def test_a_worker_process_that_dies_fails_one_attempt() -> None:
    error = _error(LocalWorkflow(f.one, activities={"step": f.die}, executor="processes"), 1)
    assert (error.type, error.exit_code, error.task) == ("WorkerDied", 7, "step-0")


def test_details_of_a_process_that_died_are_kept_for_the_next_attempt() -> None:
    retry = {"step": {"retry": {"when": ["Error"], "maxAttempts": 2}}}
    workflow = LocalWorkflow(f.one, activities={"step": f.beat_and_die}, executor="processes", workers=1, tasks=retry)
    assert _error(workflow, 5).attempt == 2
    assert workflow.trace is not None
    assert [e.get("progress") for e in workflow.trace["history"] if e["type"] == "TaskFailed"] == ["5", "5"]


def test_functions_that_no_process_can_find_are_refused_at_once() -> None:
    error = _error(LocalWorkflow(f.one, activities={"step": lambda x: x}, executor="processes"), 1)
    assert error.type == "PicklingError"
    assert "functions that stand in a module" in error.message


@pytest.mark.parametrize("raised", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_whatever_an_activity_raises_is_its_failure(raised: BaseException) -> None:
    def activity(_: object) -> None:
        raise raised

    assert _error(LocalWorkflow(f.one, activities={"step": activity}), 1).type == type(raised).__name__


def test_an_exception_without_a_text() -> None:
    class MuteError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    def activity(_: object) -> None:
        raise MuteError

    assert "no text" in _error(LocalWorkflow(f.one, activities={"step": activity}), 1).message


def test_a_result_whose_listing_fails() -> None:
    def activity(_: object) -> Any:
        return (1 // x for x in (1, 0))

    assert _error(LocalWorkflow(f.one, activities={"step": activity}), 1).type == "ZeroDivisionError"


def test_details_that_are_no_json_are_left_out_of_the_error() -> None:
    def activity(_: object) -> None:
        raise TaskError("no", "Odd", {1, 2})

    error = _error(LocalWorkflow(f.one, activities={"step": activity}), 1)
    assert (error.type, error.details) == ("Odd", None)
    assert "without its details: details: a set has no order" in error.message


def test_workers_run_at_the_same_time_and_no_more_of_them() -> None:
    together, most, running, lock = threading.Barrier(3), 0, 0, threading.Lock()

    def activity(_: object) -> None:
        nonlocal most, running
        with lock:
            running += 1
            most = max(most, running)
        together.wait(30)
        with lock:
            running -= 1

    def factory(step: Any) -> Any:
        return lambda: [step(n) for n in range(6)]

    LocalWorkflow(factory, activities={"step": activity}, workers=3).run()
    assert most == 3


def test_a_stop_from_another_thread() -> None:
    begun, cleaned = threading.Event(), []

    def hang(_: object) -> None:
        begun.set()
        while heartbeat():
            time.sleep(0.01)
        cleaned.append("stopped")

    def factory(step: Any, undo: Any) -> Any:
        def workflow() -> Any:
            try:
                wait(step(1))
            except TaskCancelled as stopped:
                return undo(stopped.reason)

        return workflow

    workflow = LocalWorkflow(factory, activities={"step": hang, "undo": lambda why: f"undone: {why}"})

    def stop() -> None:
        begun.wait(30)
        workflow.stop()

    stopper = threading.Thread(target=stop)
    stopper.start()
    assert workflow.run() == "undone: StopRequested"
    stopper.join()
    _wait_until(lambda: bool(cleaned))


def test_two_runs_of_one_workflow_at_the_same_time() -> None:
    together = threading.Barrier(2)

    def activity(x: int) -> int:
        together.wait(30)
        return x

    workflow = LocalWorkflow(f.one, activities={"step": activity})
    results: list[int] = []
    other = threading.Thread(target=lambda: results.append(workflow.run(1)))
    other.start()
    results.append(workflow.run(2))
    other.join()
    assert sorted(results) == [1, 2]


PROGRAM = """
import sys, time
from flowy.local import LocalWorkflow
from tests.runtime.local import functions as f

if __name__ == "__main__":
    workflow = LocalWorkflow(f.one, activities={"step": f.say_and_hang}, executor=sys.argv[1])
    try:
        workflow.run(1)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""


@pytest.mark.parametrize("executor", ["threads", "processes"])
def test_ctrl_c_stops_cleanly(executor: str, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, str(program), executor],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())  # the activity runs
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "interrupted\n", "")
    if executor == "processes":
        _wait_until(lambda: not Path(f"/proc/{pid}").exists())


def test_ctrl_c_in_an_activity_of_virtual_time_leaves_the_run() -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        LocalWorkflow(f.one, activities={"step": interrupted}, clock="virtual").run(1)
