"""What is shown of a local run while it goes."""

from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from flowy.wire.messages import AnsweredWait
from flowy_cli.local.watching import Lines, Picture

EVENTS: list[tuple[dict[str, Any], str | None]] = [
    ({"type": "TaskScheduled", "task": "step-0", "digest": "0"}, None),
    ({"type": "TaskScheduled", "task": "step-0", "attempt": 2}, "step-0: attempt 2"),
    ({"type": "TaskCompleted", "task": "step-0", "result": "[1]"}, "step-0: completed, [1]"),
    ({"type": "TaskCompleted", "task": "step-0"}, "step-0: completed, null"),
    (
        {"type": "TaskFailed", "task": "step-0", "error": {"type": "Odd", "message": "a\nb"}},
        "step-0: attempt 1 failed, Odd: a b",
    ),
    (
        {"type": "TaskFailed", "task": "step-0", "final": True, "error": {"type": "Odd", "message": "\x1b[2J"}},
        "step-0: failed, Odd: \\x1b[2J",
    ),
    ({"type": "TaskTimedOut", "task": "step-0", "timer": "Heartbeat"}, "step-0: attempt 1 timed out (Heartbeat)"),
    ({"type": "TaskTimedOut", "task": "step-0", "timer": "Heartbeat", "final": True}, "step-0: timed out (Heartbeat)"),
    ({"type": "TaskCancelled", "task": "step-0", "reason": "Deleted"}, "step-0: cancelled (Deleted)"),
    ({"type": "RetryScheduled", "task": "step-0", "attempt": 2, "at": "noon"}, "step-0: attempt 2 at noon"),
    ({"type": "StopRequested", "mode": "Cancel"}, "the workflow: stop requested (Cancel)"),
    ({"type": "Restarted", "run": 2}, "the workflow: run 2 begins"),
]


@pytest.mark.parametrize(("event", "said"), EVENTS)
def test_each_event_is_one_line(event: dict[str, Any], said: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    Lines().happened("", event)
    assert capsys.readouterr().err == ("" if said is None else f"{said}\n")


def test_lines_name_the_workflow_below(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines()
    lines.started("fib-0", "add-1", 1)
    lines.happened("fib-0", {"type": "TaskCompleted", "task": "add-1", "result": "3"})
    assert capsys.readouterr().err == "fib-0/add-1: started\nfib-0/add-1: completed, 3\n"


def _shown(picture: Picture) -> str:
    out = StringIO()
    Console(file=out, width=100).print(picture.render())
    return out.getvalue()


def test_the_picture_counts_what_is_over_runs_and_is_scheduled() -> None:
    out = StringIO()
    picture = Picture(Console(file=out, width=100))
    for number in range(20):
        picture.happened("", {"type": "TaskScheduled", "task": f"step-{number}"})
    for number in range(15):
        picture.started("", f"step-{number}", 1)
    picture.happened("", {"type": "TaskCompleted", "task": "step-0", "result": "7"})
    picture.waits("", [AnsweredWait(key="step-1", line=4), AnsweredWait(key="step-2", line=4)])
    picture.waits("below-0", [AnsweredWait(key="other-0", line=9)])
    shown = _shown(picture)
    assert "1 over, 14 running, 5 scheduled; line 4 waits for step-1 and 1 more" in shown
    assert "  step-1  0 s" in shown
    assert "and 2 more" in shown
    assert out.getvalue() == "step-0: completed, 7\n"


def test_the_picture_tells_of_a_return_value_that_is_waited_for() -> None:
    picture = Picture(Console(file=StringIO()))
    picture.waits("", [AnsweredWait(key="step-1", line=None)])
    assert "waits for step-1" in _shown(picture)
