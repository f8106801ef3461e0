"""The film: shot, given its subtitle, encoded.

Small pictures and fast presets, so that the example takes seconds; nothing else here is particular to a demonstration.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from .activity import Failure
from .ffmpeg import existing, ffmpeg, finished, option, source
from .subtitle import read

SIZE = "640x360"
SCENE_SECONDS = 5

LIFE = "life=s=80x45:r=5:mold=10:ratio=0.3:seed=7:death_color=#403020:life_color=#ffd040:mold_color=#203060"
SUNSET = "gradients=r=25:seed=7:speed=0.02:nb_colors=4:c0=#102060:c1=#f07030:c2=#f0d080:c3=#802040"

SCENES: Mapping[str, tuple[str, int]] = {
    # Pictures that ffmpeg draws by itself, and the tone (Hz) that sounds with each.
    "testcard": (f"testsrc2=s={SIZE}:r=25", 220),
    "coast": (f"mandelbrot=s={SIZE}:r=25:maxiter=200", 277),
    "city": (f"{LIFE},scale={SIZE.replace('x', ':')}:flags=neighbor,fps=25,tmix=frames=10", 330),
    "dusk": (f"{SUNSET}:s={SIZE}:d={SCENE_SECONDS}", 415),
    "rainbow": (f"colorspectrum=s={SIZE}:r=25,hue=h=36*t", 494),
}

ENCODERS: Mapping[str, Sequence[str]] = {
    "mp4": ("-c:v", "libx264", "-preset", "veryfast", "-crf", "23", "-c:a", "aac", "-b:a", "96k",
            "-movflags", "+faststart"),
    "webm": ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-row-mt", "1", "-crf", "34", "-b:v", "0",
             "-c:a", "libopus", "-b:a", "64k"),
}  # fmt: skip

LOSSLESS_ENOUGH = ("-c:v", "libx264", "-preset", "ultrafast", "-crf", "14")
"""For files between steps: encoded again later, so the loss must not show, but a lossless film would be more than twice as large."""

SAME_BYTES = ("-fflags", "+bitexact", "-flags", "+bitexact")
"""No versions, dates and random ids in the files: another attempt on the same kind of node gives the same file."""

STYLE = "FontName=Lato,FontSize=22,Outline=2,MarginV=24"


def shoot(folder: str, scenes: str) -> str:
    """Make a film of the scenes (JSON list of their names) in `folder`; return its path."""
    names = _names(scenes)
    pictures = [f"-f lavfi -t {SCENE_SECONDS} -i {SCENES[name][0]}".split() for name in names]
    sounds = [f"-f lavfi -t {SCENE_SECONDS} -i sine=f={SCENES[name][1]}".split() for name in names]
    count = len(names)
    shots = [f"[{n}:v]setsar=1,format=yuv420p[v{n}]" for n in range(count)]
    joined = "".join(f"[v{n}][{count + n}:a]" for n in range(count)) + f"concat=n={count}:v=1:a=1[v][a]"
    path = Path(folder, "film.mkv")
    path.parent.mkdir(parents=True, exist_ok=True)
    with finished(path) as output:
        ffmpeg(
            *(argument for shot in [*pictures, *sounds] for argument in shot),
            *("-filter_complex", ";".join([*shots, joined]), "-map", "[v]", "-map", "[a]"),
            *(*LOSSLESS_ENOUGH, "-c:a", "flac", *SAME_BYTES, output),
        )
    return str(path)


def _names(scenes: str) -> Sequence[str]:
    try:
        names = json.loads(scenes)
    except ValueError:
        names = None  # a text that is no JSON: refused like any other that is no list
    if not isinstance(names, list) or not names:
        raise Failure("BadScenes", f"scenes must be a list of names, got {scenes}")
    for name in names:
        if not isinstance(name, str) or name not in SCENES:
            raise Failure("BadScenes", f"no scene {name!r}; there are {', '.join(SCENES)}")
    return names


def embed(film: str, subtitle: str) -> str:
    """Draw the subtitle into the film's pictures; return the path of the new film beside the old one."""
    fonts = Path(os.environ["VIDEO_FONTS"])
    if not any(fonts.glob("Lato-Regular.ttf")):
        # libass would draw nothing and succeed.
        raise Failure("FontNotFound", f"no Lato-Regular.ttf in {fonts}")
    read(existing(subtitle))  # a broken subtitle, too, would be drawn as nothing
    drawing = f"subtitles=filename={option(subtitle)}:fontsdir={option(fonts)}:force_style={option(STYLE)}"
    path = existing(film).with_name("master.mkv")
    with finished(path) as output:
        ffmpeg(*source(Path(film)), "-vf", drawing, *LOSSLESS_ENOUGH, "-c:a", "copy", *SAME_BYTES, output)
    return str(path)


def encode(master: str, container: str) -> str:
    """Encode the film for viewers as `mp4` (H.264, AAC) or `webm` (VP9, Opus); return the path of the copy."""
    if container not in ENCODERS:
        raise Failure("UnknownFormat", f"no format {container!r}; there are {', '.join(ENCODERS)}")
    path = existing(master).with_name(f"film.{container}")
    with finished(path) as output:
        ffmpeg(*source(Path(master)), "-pix_fmt", "yuv420p", *ENCODERS[container], *SAME_BYTES, output)
    return str(path)
