"""The error of a stall: what the code does is not what is on record."""

from flowy.replay.source import limited
from flowy.wire.messages import Record


def deviation(record: Record, asked: str, line: int | None) -> dict[str, object]:
    """Give the error: the call that the code makes is not the recorded one."""
    recorded = f"digest {record.digest or 'unknown'}, line {shown(record.line)}"
    message = (
        f"{record.key} is not the recorded call: recorded {recorded}; asked {asked}, line {shown(line)}. "
        "The code has changed since, or depends on something outside of its input and its results"
    )
    return {
        "type": "NonDeterminism",
        "message": limited(message),
        "key": record.key,
        "recorded": recorded,
        "asked": limited(asked),
        "line": line,
    }


def shown(line: int | None) -> str:
    """A line as it is told."""
    return "unknown" if line is None else str(line)
