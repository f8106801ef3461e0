"""The video example's steps, each run as its container runs it, with a real ffmpeg; and its code over those steps."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import imageio_ffmpeg  # type: ignore[import-untyped]
import pytest

from tests.examples import probe
from tests.examples.container import EXAMPLES, Containers, factory, manifest

IMAGE = "flowy.local/examples/video:1"
SCENES = ["testcard", "coast", "city", "dusk"]
SECONDS = 20


def fonts() -> str:
    spec = find_spec("font_lato")
    assert spec is not None, "the subtitle's font is missing: pip install -r examples/video/requirements.txt"
    assert spec.origin is not None
    return str(Path(spec.origin).with_name("files"))


def containers(folder: Path) -> Containers:
    """A volume in `folder`, and what examples/video/Dockerfile puts around the program."""
    for part in ("volume", "private", "bin"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    ffmpeg = folder / "bin" / "ffmpeg"
    if not ffmpeg.exists():
        ffmpeg.symlink_to(imageio_ffmpeg.get_ffmpeg_exe())
    return Containers(
        manifest("video"),
        folder / "volume",
        folder / "private",
        entrypoints={IMAGE: [sys.executable, "-m", "video"]},
        environment={
            "PATH": str(ffmpeg.parent),
            "PYTHONPATH": str(EXAMPLES / "video"),
            "PYTHONSAFEPATH": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "VIDEO_FONTS": fonts(),
        },
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Containers, Mapping[str, Any]]:
    """One whole run in sequence, for the tests that only look."""
    there = containers(tmp_path_factory.mktemp("run"))
    arguments = there.workflow["spec"]["input"]["args"]
    return there, factory(there.workflow)(**there.functions())(*arguments)


@pytest.fixture
def there(tmp_path: Path) -> Containers:
    return containers(tmp_path)


Run = tuple[Containers, Mapping[str, Any]]


def test_the_outputs_are_what_the_result_says(run: Run) -> None:
    there, result = run
    probe.outputs(there.folder, result, seconds=SECONDS, chapters=len(SCENES))


def test_the_result_names_what_was_made(run: Run) -> None:
    there, result = run
    name = there.workflow["metadata"]["name"]
    assert result["formats"] == {"mp4": f"{name}/film.mp4", "webm": f"{name}/film.webm"}
    assert result["thumbnails"] == [f"{name}/chapter-{n}.png" for n in range(1, len(SCENES) + 1)]
    assert [(c["start"], c["end"]) for c in result["chapters"]] == [(0, 5), (5, 10), (10, 15), (15, 20)]


def test_the_ads_are_those_that_the_words_call_for(run: Run) -> None:
    _, result = run
    assert [(ad["ad"].split(":")[0].split(",")[0], ad["words"]) for ad in result["ads"]] == [
        ("Two Beans", ["coffee"]),
        ("Spoke & Daughter", ["bicycles"]),
        ("Hotel Miramar", ["coast", "harbour"]),
        ("Olive oil straight from the mill", ["olives"]),
    ]


def test_another_attempt_makes_the_same_files(run: Run, there: Containers) -> None:
    first, result = run
    again = factory(there.workflow)(**there.functions())(*there.workflow["spec"]["input"]["args"])
    assert again == result
    files = {path.relative_to(first.folder): path for path in first.folder.rglob("*") if path.is_file()}
    assert len(files) == 3 + len(result["formats"]) + len(result["thumbnails"])
    for name, path in files.items():
        assert path.read_bytes() == (there.folder / name).read_bytes(), f"{name} differs"
    # And over what the first attempt left.
    assert there.run("embed", "tour/film.mkv", "tour/subtitle.srt").status == 0
    assert (there.folder / "tour/master.mkv").read_bytes() == (first.folder / "tour/master.mkv").read_bytes()
    probe.nothing_unfinished(there.folder / "tour")


def test_one_more_scene_gives_one_more_chapter_and_thumbnail(there: Containers) -> None:
    scenes = ["dusk", "rainbow", "testcard", "coast", "rainbow", "city"]
    result = factory(there.workflow)(**there.functions())(scenes, "tour.srt", ["mp4", "webm"])
    probe.outputs(there.folder, result, seconds=5 * len(scenes), chapters=len(scenes))


def test_a_step_that_is_told_to_stop_leaves_nothing(there: Containers) -> None:
    command = [*there.entrypoints[IMAGE], "shoot", "tour", json.dumps(SCENES * 10)]
    with subprocess.Popen(command, cwd=there.folder, env=there.environment) as step:
        while not list(there.folder.glob("tour/.unfinished-*/film.mkv")):
            assert step.poll() is None, "it ended before it wrote anything"
            time.sleep(0.01)
        step.terminate()
        assert step.wait(timeout=10) == 128 + signal.SIGTERM
    assert list((there.folder / "tour").iterdir()) == []


def test_a_path_may_hold_what_filters_use_as_signs(run: Run, there: Containers) -> None:
    first, _ = run
    odd = there.folder / "it's [1], 'or': a;b\\c"
    odd.mkdir()
    for name in ("film.mkv", "subtitle.srt"):
        (odd / name).symlink_to(first.folder / "tour" / name)
    outcome = there.run("embed", f"{odd.name}/film.mkv", f"{odd.name}/subtitle.srt")
    assert outcome.status == 0, outcome.log
    assert outcome.value == f"{odd.name}/master.mkv"
    probe.burned_in(odd / "film.mkv", odd / "master.mkv", odd / "subtitle.srt")


def test_the_analysis_counts_words_and_leaves_out_the_common_ones(there: Containers) -> None:
    text = (
        "1\n00:00:01,000 --> 00:00:02,500\nThe Sea, the sea!\n\n2\n00:00:03,000 --> 00:00:04,000\nÜber <i>uns</i> 42\n"
    )
    (there.folder / "a.srt").write_text(text, encoding="utf-8-sig")
    outcome = there.run("analyse_subtitle", "a.srt")
    assert outcome.value == {"cues": 2, "seconds": 2.5, "words": {"sea": 2, "uns": 1, "über": 1}}


def test_line_ends_of_any_system_will_do(there: Containers) -> None:
    shipped = (EXAMPLES / "video/video/subtitles/tour.srt").read_bytes()
    (there.folder / "unix.srt").write_bytes(shipped)
    (there.folder / "dos.srt").write_bytes(shipped.replace(b"\n", b"\r\n"))
    assert there.run("analyse_subtitle", "dos.srt").value == there.run("analyse_subtitle", "unix.srt").value


def test_no_word_no_ad(there: Containers) -> None:
    assert there.run("target_ads", {"cues": 1, "seconds": 1.0, "words": {"silence": 1}}).value == []


def test_the_analysis_of_a_long_subtitle_still_fits(there: Containers) -> None:
    words = [f"{chr(97 + n % 26)}{chr(97 + n // 26 % 26)}{'x' * 12}" for n in range(600)]
    cues = [
        f"{n}\n00:{n // 60:02}:{n % 60:02},000 --> 00:{n // 60:02}:{n % 60:02},900\n{w}" for n, w in enumerate(words)
    ]
    (there.folder / "long.srt").write_text("\n\n".join(cues), encoding="utf-8")
    outcome = there.run("analyse_subtitle", "long.srt")
    assert outcome.status == 0, outcome.value
    assert len(outcome.value["words"]) == 100


REFUSED: Mapping[str, tuple[str, list[object], str, str]] = {
    "an unknown scene": ("shoot", [["coast", "moon"]], "BadScenes", "no scene 'moon'; there are testcard, coast"),
    "no scenes": ("shoot", [[]], "BadScenes", "scenes must be a list of names, got []"),
    "scenes that are no list": ("shoot", ["coast"], "BadScenes", "scenes must be a list of names, got coast"),
    "a scene that is no name": ("shoot", [[["coast"]]], "BadScenes", "no scene ['coast']"),
    "an unknown subtitle": (
        "fetch_subtitle",
        ["moon.srt"],
        "FileNotFound",
        "no subtitle 'moon.srt'; there are tour.srt",
    ),
    "a film that isn't there": ("embed", ["no.mkv", "good.srt"], "FileNotFound", "no file no.mkv"),
    "a subtitle that isn't there": ("embed", ["text.mkv", "no.srt"], "FileNotFound", "no file no.srt"),
    "an empty subtitle": ("embed", ["text.mkv", "empty.srt"], "BadSubtitle", "empty.srt holds no cue"),
    "a subtitle without times": ("analyse_subtitle", ["text.mkv"], "BadSubtitle", "block 1: no line 'HH:MM:SS,mmm -->"),
    "a cue that ends too early": ("analyse_subtitle", ["back.srt"], "BadSubtitle", "block 1: it ends before it starts"),
    "a subtitle in another encoding": ("analyse_subtitle", ["latin.srt"], "BadSubtitle", "latin.srt isn't UTF-8"),
    "an unknown format": ("encode", ["text.mkv", "gif"], "UnknownFormat", "no format 'gif'; there are mp4, webm"),
    "a film that is none": ("encode", ["text.mkv", "mp4"], "FfmpegFailed", "ffmpeg ended with status"),
    "chapters of what is no film": ("find_chapters", ["text.mkv"], "FfmpegFailed", "ffmpeg ended with status"),
    "a chapter without an end": ("thumbnail", ["text.mkv", {"number": 1, "start": 0}], "BadChapter", "got {"),
    "a chapter that is none": ("thumbnail", ["text.mkv", "one"], "BadChapter", "got one"),
    "an analysis that is none": ("target_ads", [["coffee"]], "BadAnalysis", "must be the analysis of a subtitle"),
}


@pytest.mark.parametrize(("task", "args", "kind", "message"), REFUSED.values(), ids=REFUSED)
def test_bad_input_gives_a_clear_error(
    there: Containers, task: str, args: list[object], kind: str, message: str
) -> None:
    (there.folder / "text.mkv").write_text("no film\n", encoding="utf-8")
    (there.folder / "empty.srt").write_text("\n \n", encoding="utf-8")
    (there.folder / "good.srt").write_text("1\n00:00:01,000 --> 00:00:02,000\nword\n", encoding="utf-8")
    (there.folder / "back.srt").write_text("1\n00:00:02,000 --> 00:00:01,000\nword\n", encoding="utf-8")
    (there.folder / "latin.srt").write_bytes(b"1\n00:00:01,000 --> 00:00:02,000\nh\xf6ren\n")
    before = sorted(there.folder.rglob("*"))
    error = there.run(task, *args).error
    assert error["type"] == kind
    assert message in error["message"]
    # Only what may be the volume's fault is worth another attempt.
    assert error["retryable"] is (kind == "FfmpegFailed")
    assert sorted(there.folder.rglob("*")) == before, "a failed step must leave nothing behind"


def test_what_ffmpeg_said_is_in_the_details(there: Containers) -> None:
    (there.folder / "text.mkv").write_text("no film\n", encoding="utf-8")
    error = there.run("encode", "text.mkv", "mp4").error
    assert "Invalid data found" in error["details"]


def test_a_chapter_beyond_the_end_has_no_picture(run: Run, there: Containers) -> None:
    first, _ = run
    (there.folder / "film.mkv").symlink_to(first.folder / "tour/film.mkv")
    error = there.run("thumbnail", "film.mkv", {"number": 9, "start": 60.0, "end": 65.0}).error
    assert error["type"] in {"NothingWritten", "FfmpegFailed"}
    assert not (there.folder / "chapter-9.png").exists()


def test_a_film_with_more_chapters_than_a_result_holds_says_so(there: Containers, run: Run) -> None:
    # The step itself is sound for any film; the limit is the contract's, so the contract's code is asked alone.
    code = "import sys; from video.activity import run; sys.exit(run({'big': lambda: 'x' * 5000}, ['big']))"
    outcome = there_with(there, [sys.executable, "-c", code]).run("analyse_subtitle", "none")
    assert outcome.error["type"] == "ResultTooLarge"
    assert "5002 bytes, the limit is 4095" in outcome.error["message"]


def there_with(there: Containers, entrypoint: list[str]) -> Containers:
    return Containers(there.workflow, there.folder, there.private, {IMAGE: entrypoint}, there.environment)


def test_every_step_is_called_by_the_manifest() -> None:
    steps = {task["activity"]["args"][0] for task in manifest("video")["spec"]["tasks"]}
    names = {task["name"].replace("_", "-") for task in manifest("video")["spec"]["tasks"]}
    assert steps == names


def test_the_catalogue_has_ads_that_this_film_does_not_call_for() -> None:
    catalogue = json.loads((EXAMPLES / "video/video/ads.json").read_text(encoding="utf-8"))
    words = [word for ad in catalogue for word in ad["words"]]
    assert len(words) == len(set(words)), "a word that calls for two ads"
    assert len(catalogue) > 4
