"""Calls of ffmpeg: finished files appear at once, and failures say what ffmpeg said."""

import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from .activity import Failure

# Without a configuration, fontconfig complains; with the machine's, the picture would depend on the machine.
NO_SYSTEM_FONTS = Path(__file__).with_name("fonts.conf")


def ffmpeg(*arguments: str | Path) -> str:
    """Run ffmpeg, which must be on the PATH; return its standard output."""
    command = ["ffmpeg", "-nostdin", "-hide_banner", "-loglevel", "error", "-y", *map(str, arguments)]
    environment = {**os.environ, "FONTCONFIG_FILE": str(NO_SYSTEM_FONTS)}
    ended = subprocess.run(  # noqa: S603 - no shell, and ffmpeg is the image's own
        command, env=environment, capture_output=True, text=True, errors="replace", check=False
    )
    if ended.returncode != 0:
        # ffmpeg's status doesn't tell a broken input from a lost volume, so another attempt may be worth it.
        raise Failure(
            "FfmpegFailed", f"ffmpeg ended with status {ended.returncode}", details=ended.stderr.strip(), retryable=True
        )
    return ended.stdout


@contextmanager
def finished(path: Path) -> Iterator[Path]:
    """A path to write to; at the end the file moves to `path` in one step.

    So a killed attempt leaves no half file under the name that others read, and two attempts at the same time don't
    mix. The suffix stays, because ffmpeg chooses the container by it.
    """
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".unfinished-") as folder:
        unfinished = Path(folder, path.name)
        yield unfinished
        if not unfinished.is_file() or unfinished.stat().st_size == 0:
            raise Failure("NothingWritten", f"ffmpeg made no {path}")
        unfinished.replace(path)


def existing(path: str) -> Path:
    """`path`, if such a file is there: ffmpeg's own message hides the name in a long line."""
    if not Path(path).is_file():
        raise Failure("FileNotFound", f"no file {path}")
    return Path(path)


def source(path: Path) -> Sequence[str]:
    """Arguments that read `path`, never taken for a protocol or an option."""
    return "-i", f"file:{path}"


def option(value: str | Path) -> str:
    """`value` as an option inside a filter graph: ffmpeg unquotes twice, once for the graph, once for the filter."""
    inner = re.sub(r"([\\':])", r"\\\1", str(value))
    return re.sub(r"([\\'\[\],;])", r"\\\1", inner)
