"""The probes see what they are there for: each fault, put into a good run's files, gives its sentence."""

import copy
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.examples import probe
from tests.examples.container import factory
from tests.examples.test_video import containers

SCENES = ["dusk", "coast"]

Damage = Callable[[Path, dict[str, Any]], object]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Mapping[str, Any]]:
    there = containers(tmp_path_factory.mktemp("good"))
    # The subtitle has cues beyond this short film: only the first two can be looked for.
    result = factory(there.workflow)(**there.functions())(SCENES, "tour.srt", ["mp4", "webm"])
    subtitle = there.folder / "tour/subtitle.srt"
    subtitle.write_text("\n\n".join(subtitle.read_text().split("\n\n")[:2]))
    return there.folder, result


def overwrite(name: str, change: Callable[[bytes], bytes]) -> Damage:
    def damage(tour: Path, result: dict[str, Any]) -> None:
        (tour / name).write_bytes(change((tour / name).read_bytes()))

    return damage


def replace(name: str, by: str) -> Damage:
    return lambda tour, result: shutil.copyfile(tour / by, tour / name)


FAULTS: Mapping[str, tuple[Damage, str]] = {
    "no subtitle": (replace("master.mkv", "film.mkv"), "master.mkv shows no subtitle at 2.5 s"),
    "another format under the name": (replace("film.mp4", "film.webm"), "film.mp4 is no mp4 file"),
    "a film cut off": (overwrite("film.webm", lambda b: b[: len(b) // 2]), "film.webm is"),
    "a missing copy": (lambda tour, _: (tour / "film.mp4").unlink(), "no file"),
    "a format not made": (lambda _, result: result["formats"].pop("webm"), "expected the formats"),
    "a picture twice": (replace("chapter-2.png", "chapter-1.png"), "of 2 thumbnails only 1 differ"),
    "a picture with a wrong bit": (overwrite("chapter-1.png", lambda b: b[:60] + b"?" + b[61:]), "is damaged"),
    "a picture cut off": (overwrite("chapter-1.png", lambda b: b[:-12]), "chapter-1.png is cut off"),
    "a thumbnail too few": (lambda _, result: result["thumbnails"].pop(), "2 chapters, but 1 thumbnails"),
    "a chapter not found": (lambda _, result: result["chapters"].pop(), "2 scenes, but 1 chapters"),
    "a gap": (lambda _, result: result["chapters"][1].update(start=6.0), "leave a gap"),
    "a half-written file": (lambda tour, _: (tour / ".unfinished-x").mkdir(), "unfinished files are left"),
}


def run(good: tuple[Path, Mapping[str, Any]], volume: Path, damage: Damage) -> None:
    folder, result = good
    shutil.copytree(folder / "tour", volume / "tour")
    changed = copy.deepcopy(dict(result))
    damage(volume / "tour", changed)
    probe.outputs(volume, changed, seconds=10, chapters=len(SCENES))


def test_a_good_run_passes(good: tuple[Path, Mapping[str, Any]], tmp_path: Path) -> None:
    run(good, tmp_path, lambda _, result: json.dumps(result))


@pytest.mark.parametrize(("damage", "sentence"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_found(good: tuple[Path, Mapping[str, Any]], tmp_path: Path, damage: Damage, sentence: str) -> None:
    with pytest.raises(AssertionError, match=sentence):
        run(good, tmp_path, damage)
