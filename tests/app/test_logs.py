"""What stands in the log: a line is found by workflow, task and attempt, and holds nothing that isn't for logs."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from flowy_operator.app.logs import JsonLines, Text, set_up
from tests.app.kubelet import failure, value
from tests.app.world import simulated, world


def record(message: str, **extra: Any) -> logging.LogRecord:
    return logging.getLogger("flowy_operator.app").makeRecord(
        "flowy_operator.app", logging.WARNING, __file__, 1, message, (), None, extra=extra
    )


def test_a_line_is_json_with_its_fields() -> None:
    line = json.loads(JsonLines().format(record("a pass failed", workflow="film", again_in_s=0.25)))
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "WARNING",
        "logger": "flowy_operator.app",
        "message": "a pass failed",
        "workflow": "film",
        "again_in_s": 0.25,
    }


def test_whatever_a_field_holds_it_stays_one_line() -> None:
    text = JsonLines().format(record("odd", what={1, 2}, text="a\nb", word="Größe"))
    assert "\n" not in text
    assert json.loads(text)["text"] == "a\nb"
    assert "Größe" in text


def test_a_traceback_goes_along() -> None:
    error = ValueError("why")
    told = record("failed")
    told.exc_info = (ValueError, error, None)
    assert json.loads(JsonLines().format(told))["traceback"].endswith("ValueError: why")
    assert Text().format(told).endswith("ValueError: why")


def test_text_is_for_people() -> None:
    _, rest = Text().format(record("a pass failed", workflow="film", again_in_s=0.25)).split(" ", 1)
    assert rest == "WARNING a pass failed  workflow=film again_in_s=0.25"


@pytest.fixture
def restored() -> Iterator[None]:
    """The loggers of this process are everybody's."""
    root, ours = logging.getLogger(), logging.getLogger("flowy_operator")
    kept, levels = list(root.handlers), (root.level, ours.level)
    yield
    root.handlers[:] = kept
    root.setLevel(levels[0])
    ours.setLevel(levels[1])


@pytest.mark.usefixtures("restored")
def test_at_debug_libraries_stay_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    set_up("debug", "json")
    logging.getLogger("flowy_operator.app").debug("ours", extra={"workflow": "film"})
    logging.getLogger("kopf").info("theirs")
    logging.getLogger("aiohttp").warning("theirs, and it matters")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["message"] for line in lines] == ["ours", "theirs, and it matters"]


def test_a_task_is_found_by_its_attempts(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "flowy_operator.app.announce")

    @simulated
    async def scenario() -> None:
        async with world(lambda call: failure("the secret") if call.name == "bad" else value("a secret")) as w:
            source = """
                def w(good, bad):
                    def run():
                        good("secret")
                        return bad()
                    return run
            """
            w.submit(source, "good", {"name": "bad", "retry": {"maxAttempts": 2, "when": ["Error"]}})
            await w.ended()
            await w.settle(0.1)

    scenario()
    lines = [json.loads(JsonLines().format(record)) for record in caplog.records]
    ours = [line for line in lines if line.get("task") == "bad-0"]
    assert [(line["message"], line["event"], line["attempt"]) for line in ours if line["level"] == "DEBUG"] == [
        ("event recorded", "TaskScheduled", 1),
        ("event recorded", "TaskFailed", 1),
        ("event recorded", "TaskScheduled", 2),
        ("event recorded", "TaskFailed", 2),
    ]
    told = [(line["message"], line["attempt"]) for line in ours if line["level"] == "INFO"]
    assert told == [("task failed", 2)]
    assert {(line["namespace"], line["workflow"]) for line in lines} == {("ns", "w")}
    assert "secret" not in json.dumps([{**line, "message": line["message"]} for line in ours])


STEERS = "\n12:00:00 ERROR   forged \x1b[2J\x9b31m\u2028\u202e\x85"


def test_no_field_begins_a_line_or_steers_a_terminal() -> None:
    text = Text().format(record("odd", said=STEERS))
    assert text.isprintable()
    assert text.endswith(r"said=\x0a12:00:00 ERROR   forged \x1b[2J\x9b31m\x2028\x202e\x85")
    line = JsonLines().format(record("odd", said=STEERS + "\U000e0001"))
    assert line.isprintable()
    assert json.loads(line)["said"] == STEERS + "\U000e0001"
