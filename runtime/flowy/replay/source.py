"""The user's source: which line is running, and what an exception that left it says."""

import linecache
import sys
from collections.abc import Mapping, Sequence
from itertools import islice
from types import FrameType, TracebackType

from flowy.errors import TaskError, object_of

MAX_TEXT = 4096  # characters of a message or traceback: a status is read by people and stored in etcd
_MAX_FRAMES = 20  # of a traceback, at each end: a recursion has a thousand equal ones


def limited(text: str, most: int = MAX_TEXT) -> str:
    """Give text that UTF-8 can carry, cut with a note where it is too long."""
    if not text.isascii():
        text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= most else f"{text[:most]}… ({len(text) - most} characters more)"


class UserSource:
    """Tells the frames of the user's own file from all others. `text` is there if it is not a file on disk."""

    def __init__(self, filename: str, text: str | None = None) -> None:
        self.filename = filename
        self._text = text

    def line(self) -> int | None:
        """Give the line of the innermost frame that lies in the user's source."""
        frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - the only way to look at one's callers cheaply
        filename = self.filename
        while frame is not None:
            if frame.f_code.co_filename == filename:
                return frame.f_lineno
            frame = frame.f_back
        return None

    def places(self, traceback: TracebackType | None) -> Sequence[tuple[int, str]]:
        """Give line and function of each traceback entry in the user's source, outermost first."""
        found = []
        while traceback is not None:
            code = traceback.tb_frame.f_code
            if code.co_filename == self.filename:
                found.append((traceback.tb_lineno, code.co_qualname))
            traceback = traceback.tb_next
        return found

    def shown(self, places: Sequence[tuple[int, str]]) -> str:
        """Give a traceback's text from its places."""
        lines = [self._shown(*place) for place in islice(places, _MAX_FRAMES)]
        left_out = len(places) - 2 * _MAX_FRAMES
        if left_out > 0:
            lines.append(f"  … {left_out} more")
        lines += [self._shown(*place) for place in places[max(_MAX_FRAMES, len(places) - _MAX_FRAMES) :]]
        return "\n".join(lines)

    def _shown(self, line: int, function: str) -> str:
        return f"  line {line}, in {function}\n    {self._code(line)}".rstrip()

    def _code(self, line: int) -> str:
        if self._text is None:
            return linecache.getline(self.filename, line).strip()
        return next(islice(self._text.splitlines(), line - 1, line), "").strip()


def error_of_exception(source: UserSource, raised: BaseException) -> dict[str, object]:
    """Give the error object of an exception that left the code; a `TaskError` keeps all that it says.

    Its text is made by `str`, which is the user's code where the class is: what that raises, leaves here.
    """
    if isinstance(raised, TaskError):
        error = object_of(raised)
        error["type"] = limited(str(error["type"]))
        error["message"] = limited(str(error["message"]))
    else:
        error = {"type": limited(type(raised).__name__), "message": limited(_text_of(raised))}
    places = source.places(raised.__traceback__)
    if places:
        error["line"] = places[-1][0]
        error["traceback"] = limited(source.shown(places))
    return error


def _text_of(raised: BaseException) -> str:
    """Without the file of the module that lacks a name: another host has it elsewhere, and its replay would seem to deviate."""
    if isinstance(raised, ImportError) and raised.path is not None:
        return str(raised).removesuffix(f" ({raised.path})")
    return str(raised)


def line_of(error: Mapping[str, object]) -> int | None:
    line = error.get("line")
    return line if isinstance(line, int) else None
