"""The time zones, in memory: `zoneinfo` opens a file for each, and workflow code can open none.

Read once in the zygote, half a megabyte, which the children share. Only the raw files: a ZoneInfo made of each would take
five times as much, and a second to build.
"""

import io
import os
import zoneinfo
from zoneinfo import _common, _tzpath  # there is no public way to give it bytes

_MAGIC = b"TZif"


def keep_zones() -> None:
    """Let `ZoneInfo(key)` find every zone of this machine without a file. Others raise ZoneInfoNotFoundError as before."""
    kept = _read_all()
    _tzpath.reset_tzpath(
        to=()
    )  # so that it falls back to what would else be the package tzdata, which is the next line

    def load_tzdata(key: str) -> io.BytesIO:
        if key not in kept:
            raise zoneinfo.ZoneInfoNotFoundError(f"No time zone found with key {key}")
        return io.BytesIO(kept[key])

    _common.load_tzdata = load_tzdata  # type: ignore[assignment]  # its callers only read


def _read_all() -> dict[str, bytes]:
    kept: dict[str, bytes] = {}
    for key in sorted(zoneinfo.available_timezones()):
        for folder in zoneinfo.TZPATH:
            try:
                descriptor = os.open(f"{folder}/{key}", os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                continue
            with io.FileIO(descriptor) as file:
                content = file.readall()
            if content.startswith(_MAGIC):
                kept[key] = content
                break
    return kept
