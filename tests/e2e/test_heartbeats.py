"""Heartbeats from real pods, with nothing but busybox wget."""

import hashlib
import time
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.kube import Kube, events, result
from tests.e2e.manifests import mount_folder, shell, workflow
from tests.e2e.operator import OperatorProcess

ONE = "def w(t):\n    def run():\n        return t()\n    return run\n"
CAUGHT = """
from flowy import TaskTimedOut, wait

def w(t):
    def run():
        bad = t()
        try:
            wait(bad)
        except TaskTimedOut as error:
            return [error.timer, error.attempt, error.details]
    return run
"""
CALL = """
call() { wget -q -O - --header "Authorization: Bearer $(cat $FLOWY_TOKEN_FILE)" "$@"; }
beat() { call --post-data "$1" $FLOWY_URL/heartbeat; }
"""
SILENT = {"heartbeatSeconds": 4}

CASES: dict[str, tuple[str, dict[str, Any], Any]] = {
    "kept-alive": (
        ONE,
        shell(
            "t",
            CALL + "for n in $(seq 12); do beat $n > /tmp/last; sleep 1; done; cat /tmp/last > $FLOWY_RESULT_FILE",
            timeouts=SILENT,
        ),
        {"continue": True},
    ),
    "silent": (
        CAUGHT,
        shell("t", CALL + 'beat "{\\"frame\\": $FLOWY_ATTEMPT}"; sleep 300', timeouts=SILENT, retry={"maxAttempts": 2}),
        ["Heartbeat", 2, {"frame": 2}],
    ),
    "resumed": (
        ONE,
        shell(
            "t",
            CALL
            + "done=$(call $FLOWY_URL/progress)\n"
            + '[ "$done" = null ] && { beat 41.0; sleep 300; }\n'
            + 'echo "[$FLOWY_ATTEMPT, $done]" > $FLOWY_RESULT_FILE',
            timeouts=SILENT,
        ),
        [2, 41.0],
    ),
    "refused": (
        ONE,
        shell(
            "t",
            'wget -S -O - --header "Authorization: Bearer $(cat $FLOWY_TOKEN_FILE)x" --post-data "" $FLOWY_URL/heartbeat'
            " > /tmp/out 2>&1; grep -q 'HTTP/1.1 401' /tmp/out && echo 401 > $FLOWY_RESULT_FILE",
            activity={"gateway": True},
        ),
        401,
    ),
}


MEASURED = """
import hashlib

def w(t):
    def run():
        value = t()
        return [len(value), hashlib.sha256(value.encode()).hexdigest()]
    return run
"""

# What the step sends to PUT /result; busybox has no PUT, the gateway takes POST as well.
UPLOADS: dict[str, tuple[str, str, Any]] = {
    "largest": (
        MEASURED,
        """
        { printf '"'; head -c 1048574 /dev/zero | tr '\\0' 'x'; printf '"'; } > /tmp/r
        call --post-file /tmp/r $FLOWY_URL/result
        call --post-file /tmp/r $FLOWY_URL/result || exit 1
        """,
        [1048574, hashlib.sha256(b"x" * 1048574).hexdigest()],
    ),
    "too-large": (
        ONE,
        """
        { printf '"'; head -c 1048575 /dev/zero | tr '\\0' 'x'; printf '"'; } > /tmp/r
        wget -S -O - --header "Authorization: Bearer $(cat $FLOWY_TOKEN_FILE)" --post-file /tmp/r $FLOWY_URL/result 2> /tmp/e
        grep -q 'HTTP/1.1 413' /tmp/e && echo 413 > $FLOWY_RESULT_FILE
        """,
        413,
    ),
    "another": (
        ONE,
        """
        call --post-data 1.0 $FLOWY_URL/result && ! call --post-data 2 $FLOWY_URL/result
        """,
        1.0,
    ),
    "late": (
        # The first attempt sends its result when it is told to stop; it is refused, and the second one's counts.
        ONE,
        """
        late() { wget -S -O - --header "$auth" --post-data 1 $FLOWY_URL/result > /seen/late 2>&1; exit 0; }
        auth="Authorization: Bearer $(cat $FLOWY_TOKEN_FILE)"
        if [ $FLOWY_ATTEMPT = 1 ]; then trap late TERM; sleep 300 & wait; fi
        until [ -s /seen/late ]; do sleep 0.1; done
        call --post-data 2 $FLOWY_URL/result
        """,
        2,
    ),
}


@pytest.fixture(scope="module")
def uploaded(served: Kube, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, dict[str, Any]], Path]:
    seen = tmp_path_factory.mktemp("seen")
    seen.chmod(0o777)
    for name, (source, script, _) in UPLOADS.items():
        task = shell("t", CALL + script, activity={"gateway": True}, timeouts={"startToCloseSeconds": 8})
        task["activity"]["template"] = {"spec": {"terminationGracePeriodSeconds": 20}}
        mount_folder(task, seen, "/seen")
        served.apply(workflow(name, source, [task]))
    return {name: served.wait_end(name, 90) for name in UPLOADS}, seen


@pytest.mark.parametrize("name", UPLOADS)
def test_upload(name: str, uploaded: tuple[dict[str, dict[str, Any]], Path]) -> None:
    assert result(uploaded[0][name]) == UPLOADS[name][2]


def test_a_late_upload_is_refused(uploaded: tuple[dict[str, dict[str, Any]], Path]) -> None:
    assert "HTTP/1.1 409" in (uploaded[1] / "late").read_text()


@pytest.fixture(scope="module")
def ended(served: Kube) -> dict[str, dict[str, Any]]:
    for name, (source, task, _) in CASES.items():
        served.apply(workflow(name, source, [task]))
    return {name: served.wait_end(name, 90) for name in CASES}


@pytest.mark.parametrize("name", CASES)
def test_case(name: str, ended: dict[str, dict[str, Any]]) -> None:
    assert result(ended[name]) == CASES[name][2]


def test_what_was_reported_stands_in_the_history(ended: dict[str, dict[str, Any]]) -> None:
    found = events(ended["silent"], "TaskTimedOut")
    assert [(e["timer"], e["progress"]) for e in found] == [
        ("Heartbeat", '{"frame": 1}'),
        ("Heartbeat", '{"frame": 2}'),
    ]
    assert len(ended["kept-alive"]["status"]["history"]) == 2, "a heartbeat is no event"


@pytest.mark.timeout(150)
def test_a_killed_operator_times_nobody_out(kube: Kube, operator: OperatorProcess) -> None:
    """It is away for longer than the timeout; what was silent before is still found out after it."""
    script = CALL + "n=0; while [ $n -lt 30 ]; do beat $n; n=$((n + 1)); sleep 0.5; done; echo $n > $FLOWY_RESULT_FILE"
    kube.apply(workflow("beating", ONE, [shell("t", script, timeouts=SILENT, retry={"maxAttempts": 1})]))
    hang = shell("t", CALL + "beat 7; sleep 300", timeouts={"heartbeatSeconds": 9}, retry={"maxAttempts": 2})
    kube.apply(workflow("hanging", CAUGHT, [hang]))
    for name in ("beating", "hanging"):
        kube.wait_until("workflow", name, lambda body: bool(events(body, "TaskScheduled")))
        kube.run("wait", "--for=jsonpath={.status.phase}=Running", "pod", "-l", f"flowy.dev/workflow={name}")
    time.sleep(2)
    operator.kill()
    time.sleep(6)
    operator.start()
    beating = kube.wait_end("beating")
    assert result(beating) == 30
    assert [e["type"] for e in beating["status"]["history"]] == ["TaskScheduled", "TaskCompleted"]
    hanging = kube.wait_end("hanging")
    assert result(hanging) == ["Heartbeat", 2, 7]
    assert [e.get("attempt", 1) for e in events(hanging, "TaskTimedOut")] == [1, 2]
