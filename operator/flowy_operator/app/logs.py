"""The format of log lines: a constant message, and fields that a machine can search."""

import json
import logging
from datetime import UTC, datetime
from typing import Any, Literal

from flowy_operator.core.printable import printable

_STANDARD = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = _head(record) | _extra(record) | _traceback(self, record)
        line = json.dumps(fields, default=str, ensure_ascii=False)
        # JSON escapes only some of the characters that could break a line, steer a terminal, or fail to be encoded.
        return line if line.isprintable() else "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in line)


class Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        head = f"{datetime.fromtimestamp(record.created, UTC):%H:%M:%S} {record.levelname:7} {record.getMessage()}"
        # Values come from strangers: what could begin a line of its own or steer a terminal is shown as its code.
        fields = " ".join(f"{name}={printable(str(value), kept='')}" for name, value in _extra(record).items())
        trace = _traceback(self, record).get("traceback")
        return f"{head}  {fields}".rstrip() + (f"\n{trace}" if trace else "")


def set_up(level: str, form: Literal["json", "text"]) -> None:
    """Send all logs of this process to standard error in one format."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if form == "json" else Text())
    # The level is ours: libraries at debug would bury it, kopf's with a line for each watch event.
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("flowy_operator").setLevel(level.upper())


def _head(record: logging.LogRecord) -> dict[str, Any]:
    time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
    return {"time": time, "level": record.levelname, "logger": record.name, "message": record.getMessage()}


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> dict[str, str]:
    return {"traceback": formatter.formatException(record.exc_info)} if record.exc_info else {}
