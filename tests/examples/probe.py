"""Probes of the video example's outputs: each raises AssertionError with a sentence that says what is wrong.

They look at files only, with an ffmpeg of their own and nothing of the example's code, so they serve as well for files
that were made in a cluster. `volume` is the folder that stands for the volume; paths in a result are relative to it.
"""

import re
import struct
import subprocess
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import imageio_ffmpeg  # type: ignore[import-untyped]

WIDTH, HEIGHT = 640, 360
THUMBNAIL_SIZE = (320, 180)
CODECS = {"mp4": ("h264", "aac"), "webm": ("vp9", "opus")}
SIGNATURES = {"mp4": (4, b"ftyp"), "webm": (0, b"\x1a\x45\xdf\xa3")}

SUBTITLE_ROWS = slice(240 * WIDTH, HEIGHT * WIDTH)
"""The lower third, where the subtitle stands: at most two lines."""

SAME, DIFFERENT = 3.0, 6.0
"""Mean difference of two grey pictures, of 255. Encoding again costs up to 1.6; a subtitle's two lines change 9 and more."""


def outputs(volume: Path, result: Mapping[str, Any], *, seconds: float, chapters: int) -> None:
    """All probes over the result of one run, on a film of so many seconds and scenes."""
    assert set(result) == {"formats", "chapters", "thumbnails", "ads"}, f"the result has other parts: {sorted(result)}"
    formats(volume, result["formats"], seconds=seconds)
    assert len(result["chapters"]) == chapters, f"{chapters} scenes, but {len(result['chapters'])} chapters were found"
    spans(result["chapters"], seconds=seconds)
    thumbnails(volume, result["thumbnails"], count=chapters)
    folder = volume / Path(result["thumbnails"][0]).parent
    for copy in ("master.mkv", *(Path(path).name for path in result["formats"].values())):
        burned_in(folder / "film.mkv", folder / copy, folder / "subtitle.srt")
    nothing_unfinished(folder)


def formats(volume: Path, paths: Mapping[str, str], *, seconds: float) -> None:
    """Each copy is of its format, has the right codecs, size and length, and can be heard."""
    assert set(paths) == set(CODECS), f"expected the formats {sorted(CODECS)}, got {sorted(paths)}"
    for name, path in paths.items():
        video(volume / path, container=name, codecs=CODECS[name], seconds=seconds)


def video(file: Path, *, container: str, codecs: tuple[str, str], seconds: float) -> None:
    """The file is a whole film of this container, codecs and length, with sound."""
    assert file.is_file(), f"no file {file}"
    at, signature = SIGNATURES[container]
    start = file.read_bytes()[: at + len(signature)]
    assert start[at:] == signature, f"{file.name} is no {container} file: it starts with {start!r}"
    # Decoded to its end: a header may promise what is not there.
    text = _ffmpeg("-i", str(file), "-af", "volumedetect", "-f", "null", "-").stderr.decode(errors="replace")
    streams = re.findall(r"Stream #0:\d+.*?: (Video|Audio): (\w+)", text.split("Stream mapping:")[0])
    assert streams == [("Video", codecs[0]), ("Audio", codecs[1])], f"{file.name} holds {streams}, expected {codecs}"
    assert f"{WIDTH}x{HEIGHT}" in text, f"{file.name} isn't {WIDTH}x{HEIGHT}"
    times = re.findall(r"time=(\d+):(\d+):(\d+\.\d+)", text)
    assert times, f"{file.name} can't be decoded: {text[-500:]}"
    hours, minutes, rest = times[-1]
    length = int(hours) * 3600 + int(minutes) * 60 + float(rest)
    assert abs(length - seconds) < 0.2, f"{file.name} is {length} s long, expected {seconds} s"
    loudness = re.search(r"mean_volume: (-?[\d.]+) dB", text)
    assert loudness, f"{file.name}: no loudness in {text[-500:]}"
    assert float(loudness.group(1)) > -40, f"{file.name} is silent: {loudness.group(1)} dB"


def spans(chapters: Sequence[Mapping[str, float]], *, seconds: float) -> None:
    """The chapters cover the film, one after the other, and are numbered from 1."""
    assert [c["number"] for c in chapters] == list(range(1, len(chapters) + 1)), f"numbers are wrong: {chapters}"
    starts, ends = [c["start"] for c in chapters], [c["end"] for c in chapters]
    assert [*starts, ends[-1]] == [0, *ends], f"the chapters leave a gap or overlap: {chapters}"
    assert abs(ends[-1] - seconds) < 0.2, f"the last chapter ends at {ends[-1]} s, the film at {seconds} s"


def thumbnails(volume: Path, paths: Sequence[str], *, count: int) -> None:
    """One valid PNG a chapter, of the right size, and no two alike."""
    assert len(paths) == count, f"{count} chapters, but {len(paths)} thumbnails"
    pictures = [png(volume / path, size=THUMBNAIL_SIZE) for path in paths]
    assert len(set(pictures)) == count, f"of {count} thumbnails only {len(set(pictures))} differ"


def png(file: Path, *, size: tuple[int, int]) -> bytes:
    """The pixels of a PNG, every chunk's checksum compared and the pictures' data unpacked."""
    assert file.is_file(), f"no file {file}"
    content = file.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n", f"{file.name} is no PNG: it starts with {content[:8]!r}"
    at, packed, kinds = 8, b"", []
    while at < len(content):
        (length,) = struct.unpack_from(">I", content, at)
        kind, body = content[at + 4 : at + 8], content[at + 8 : at + 8 + length]
        (checksum,) = struct.unpack_from(">I", content, at + 8 + length)
        assert checksum == zlib.crc32(kind + body), f"{file.name}: chunk {kind!r} is damaged"
        kinds.append(kind)
        packed += body if kind == b"IDAT" else b""
        at += 12 + length
    assert kinds[0] == b"IHDR", f"{file.name} starts with chunk {kinds[0]!r}"
    assert kinds[-1] == b"IEND", f"{file.name} is cut off: its last chunk is {kinds[-1]!r}"
    found = struct.unpack_from(">II", content, 16)
    assert found == size, f"{file.name} is {found}, expected {size}"
    return zlib.decompress(packed)


def burned_in(plain: Path, copy: Path, subtitle: Path) -> None:
    """The copy shows the subtitle while a cue lasts, and is like the plain film elsewhere and else."""
    for start, end in cues(subtitle):
        shown, hidden = (start + end) / 2, start - 0.4
        text, picture = _differences(plain, copy, shown)
        assert text > DIFFERENT, f"{copy.name} shows no subtitle at {shown} s: its lower third differs by {text:.1f}"
        assert picture < SAME, f"{copy.name} shows another picture at {shown} s: it differs by {picture:.1f}"
        text, picture = _differences(plain, copy, hidden)
        assert max(text, picture) < SAME, (
            f"{copy.name} shows something at {hidden} s, where no cue is: it differs by {text:.1f}, {picture:.1f}"
        )


def cues(subtitle: Path) -> Sequence[tuple[float, float]]:
    """Start and end of each cue, in seconds."""
    found = re.findall(r"(\d+):(\d+):(\d+),(\d+) --> (\d+):(\d+):(\d+),(\d+)", subtitle.read_text(encoding="utf-8"))
    assert found, f"{subtitle} holds no cue"
    return [(_seconds(*times[:4]), _seconds(*times[4:])) for times in found]


def nothing_unfinished(folder: Path) -> None:
    """No step has left a half-written file."""
    left = sorted(path.name for path in folder.iterdir() if path.name.startswith("."))
    assert not left, f"unfinished files are left in {folder}: {left}"


def _seconds(hours: str, minutes: str, seconds: str, millis: str) -> float:
    return int(hours) * 3600 + int(minutes) * 60 + int(seconds) + int(millis) / 1000


def _differences(one: Path, other: Path, at: float) -> tuple[float, float]:
    """Mean difference of the grey values at this time: where the subtitle stands, and above."""
    a, b = _grey(one, at), _grey(other, at)
    below, above = SUBTITLE_ROWS, slice(0, SUBTITLE_ROWS.start)
    return _mean_difference(a[below], b[below]), _mean_difference(a[above], b[above])


def _mean_difference(a: bytes, b: bytes) -> float:
    return sum(abs(x - y) for x, y in zip(a, b, strict=True)) / len(a)


def _grey(file: Path, at: float) -> bytes:
    shot = _ffmpeg("-ss", f"{at:.3f}", "-i", str(file), "-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "gray", "-")
    assert len(shot.stdout) == WIDTH * HEIGHT, f"{file.name} has no picture of {WIDTH}x{HEIGHT} at {at} s"
    return shot.stdout


def _ffmpeg(*arguments: str) -> "subprocess.CompletedProcess[bytes]":
    ended = subprocess.run(
        [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-hide_banner", *arguments], capture_output=True, check=False
    )
    assert ended.returncode == 0, f"ffmpeg can't read the file: {ended.stderr.decode(errors='replace')[-500:]}"
    return ended
