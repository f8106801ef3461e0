"""The subtitle: brought to the volume, read, its words counted."""

import re
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from .activity import Failure
from .ffmpeg import existing, finished

SHIPPED = Path(__file__).with_name("subtitles")

MOST_WORDS = 100
"""Of a whole film's words the frequent ones say what it is about; and the result must stay below 4 kB."""

STOP_WORDS = frozenset(
    re.findall(
        r"\w+",
        "a an and are as at be but by for from had has have he her his in is it its not of on one or our she so that "
        "the their then there they this to two up us was we were when which will with you your",
    )
)

TIMES = re.compile(r"(\d+):(\d\d):(\d\d)[,.](\d{3})\s*-->\s*(\d+):(\d\d):(\d\d)[,.](\d{3})")

TAGS = re.compile(r"</?[a-zA-Z][^>]*>|\{\\[^}]*\}")  # <i>, <font color=...>, {\an8}: how it looks, not what it says


@dataclass(frozen=True, slots=True)
class Cue:
    start_s: float
    end_s: float
    text: str


class Analysis(TypedDict):
    cues: int
    seconds: float  # during which a cue is shown
    words: Mapping[str, int]  # how often each occurs, the most frequent first


def fetch(folder: str, name: str) -> str:
    """Bring a subtitle to `folder`; return its path. It lies in the image; your own step would download it."""
    shipped = SHIPPED / Path(name).name
    if not shipped.is_file():
        raise Failure(
            "FileNotFound", f"no subtitle {name!r}; there are {', '.join(p.name for p in SHIPPED.glob('*.srt'))}"
        )
    path = Path(folder, "subtitle.srt")
    path.parent.mkdir(parents=True, exist_ok=True)
    with finished(path) as output:
        shutil.copyfile(shipped, output)
    return str(path)


def read(path: Path) -> Sequence[Cue]:
    """The cues of a SubRip file. Failure `BadSubtitle`, with the number of the block, if it isn't one."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise Failure("BadSubtitle", f"{path} isn't UTF-8: {error}") from error
    blocks = [block.splitlines() for block in re.split(r"\n\s*\n", text.strip()) if block.strip()]
    if not blocks:
        raise Failure("BadSubtitle", f"{path} holds no cue")
    return [_cue(path, n, block) for n, block in enumerate(blocks, start=1)]


def _cue(path: Path, number: int, lines: Sequence[str]) -> Cue:
    # First line: a number, which nobody needs; second: the times; the rest: the text.
    times = TIMES.match(lines[1]) if len(lines) > 1 else None
    if times is None:
        raise Failure(
            "BadSubtitle", f"{path}, block {number}: no line 'HH:MM:SS,mmm --> HH:MM:SS,mmm' below its number"
        )
    hours, minutes, seconds, millis, *end = (int(group) for group in times.groups())
    start_s = hours * 3600 + minutes * 60 + seconds + millis / 1000
    end_s = end[0] * 3600 + end[1] * 60 + end[2] + end[3] / 1000
    if end_s <= start_s:
        raise Failure("BadSubtitle", f"{path}, block {number}: it ends before it starts")
    return Cue(start_s, end_s, TAGS.sub("", "\n".join(lines[2:])))


def analyse(path: str) -> Analysis:
    """What the subtitle is about: its words, without the ones that any text has."""
    cues = read(existing(path))
    words = Counter(
        word for cue in cues for word in re.findall(r"[^\W\d_]+", cue.text.lower()) if word not in STOP_WORDS
    )
    ranked = sorted(words.items(), key=lambda item: (-item[1], item[0]))
    return Analysis(
        cues=len(cues), seconds=round(sum(cue.end_s - cue.start_s for cue in cues), 3), words=dict(ranked[:MOST_WORDS])
    )
