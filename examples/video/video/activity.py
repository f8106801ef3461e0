"""The contract of an activity's container: one JSON value in the result file, or an error and an exit status.

Nothing here is particular to video: copy it into a program of your own. The steps' arguments come on the command line,
where the manifest puts them (`$(FLOWY_ARG_0)`).
"""

import inspect
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

RESULT_LIMIT_BYTES = 4095
"""The kubelet reads 4,096 bytes of the result file and cuts the rest, which would no longer be JSON."""

SHORT = 300
"""Characters of an error's texts that are kept: even if each becomes six bytes, the error fits."""


class Failure(Exception):
    """The step can't give a result. `retryable` is False where another attempt would meet the same fault."""

    def __init__(self, kind: str, message: str, *, details: str = "", retryable: bool = False) -> None:
        super().__init__(message)
        self.kind = kind
        self.details = details
        self.retryable = retryable


def run(steps: Mapping[str, Callable[..., object]], command_line: Sequence[str]) -> int:
    """Run the step that the command line names, write its outcome, return the exit status."""
    # The first process of a container ignores SIGTERM unless it says otherwise. As an exception it ends ffmpeg, too,
    # and removes half-written files on its way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        _write(_result(steps, command_line))
    except Failure as failure:
        error = {"type": failure.kind, "message": str(failure)[:SHORT], "retryable": failure.retryable}
        if failure.details:
            error["details"] = failure.details[-SHORT:]
        _write(json.dumps({"error": error}, ensure_ascii=False))
        print(f"{failure.kind}: {failure}", failure.details, sep="\n", file=sys.stderr)
        return 1
    return 0


def _result(steps: Mapping[str, Callable[..., object]], command_line: Sequence[str]) -> str:
    if not command_line or command_line[0] not in steps:
        raise Failure("BadArguments", f"the first argument must be one of {', '.join(steps)}")
    name, *arguments = command_line
    try:
        inspect.signature(steps[name]).bind(*arguments)
    except TypeError as error:
        raise Failure("BadArguments", f"{name}: {error}") from error
    try:
        text = json.dumps(steps[name](*arguments), ensure_ascii=False)
    except OSError as error:
        # Disk full, volume gone, no right to write: may be well on the next attempt.
        raise Failure("OSError", f"{name}: {error}", retryable=True) from error
    size = len(text.encode())
    if size > RESULT_LIMIT_BYTES:
        raise Failure("ResultTooLarge", f"{name}: the result has {size} bytes, the limit is {RESULT_LIMIT_BYTES}")
    return text


def _write(text: str) -> None:
    # Without a result file somebody tries the step by hand.
    Path(os.environ.get("FLOWY_RESULT_FILE", "/dev/stdout")).write_text(text, encoding="utf-8")
