"""Chapters of a film: found by changes of scene, shown by a picture each."""

import json
import re
from pathlib import Path
from typing import TypedDict

from .activity import Failure
from .ffmpeg import existing, ffmpeg, finished, source

CHANGE_PERCENT = 8
"""How much a picture must differ from the one before: cuts of this film score 13 and more, movement less than 2."""

SHORTEST_S = 1.0
"""A cut sooner after the last one is a flash: a chapter is for people."""

THUMBNAIL_SIZE = (320, 180)


class Chapter(TypedDict):
    number: int  # from 1
    start: float  # seconds
    end: float


def find(film: str) -> list[Chapter]:
    """The chapters of the film, in order; the first starts at 0, each ends where the next one starts."""
    printed = ffmpeg(
        *source(existing(film)),
        "-an",
        "-vf",
        f"scdet=threshold={CHANGE_PERCENT},metadata=print:file=-",
        "-f",
        "null",
        "-",
    )
    frames = [float(time) for time in re.findall(r"pts_time:([\d.]+)", printed)]
    if not frames:
        raise Failure("NoPictures", f"{film} has no pictures")
    starts = [0.0]
    for cut in re.findall(r"lavfi\.scd\.time=([\d.]+)", printed):
        if float(cut) - starts[-1] >= SHORTEST_S:
            starts.append(float(cut))
    # The last frame is shown as long as the ones before it.
    end = frames[-1] + (frames[-1] / (len(frames) - 1) if len(frames) > 1 else 0.0)
    return [
        Chapter(number=n, start=round(start, 3), end=round(stop, 3))
        for n, (start, stop) in enumerate(zip(starts, [*starts[1:], end], strict=True), start=1)
    ]


def thumbnail(film: str, chapter: str) -> str:
    """A picture from the middle of the chapter (JSON, as `find` gives it); return its path."""
    try:
        one: Chapter = json.loads(chapter)
        number, middle = int(one["number"]), (one["start"] + one["end"]) / 2
    except (ValueError, KeyError, TypeError) as error:
        raise Failure("BadChapter", f"a chapter has number, start and end, got {chapter}") from error
    path = existing(film).with_name(f"chapter-{number}.png")
    width, height = THUMBNAIL_SIZE
    with finished(path) as output:
        # Before -i: ffmpeg then jumps there instead of decoding all that comes before.
        ffmpeg("-ss", f"{middle:.3f}", *source(Path(film)), "-frames:v", "1", "-update", "1",
               "-vf", f"scale={width}:{height}", output)  # fmt: skip
    return str(path)
