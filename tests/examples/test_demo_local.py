"""`make demo-local`: what it prints, what it draws, and how much there is to gain."""

import re
from pathlib import Path

import pytest

from examples import demo_local
from flowy.local import LocalWorkflow


def test_it_prints_both_times_their_ratio_and_names_the_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "new" / "demo.html"
    demo_local.main(["--scale", "0.01", "--picture", str(picture)])
    printed = capsys.readouterr().out
    sequential, workflow, ratio = (
        float(re.findall(rf"^  {name} +([\d.]+)", printed, re.MULTILINE)[0])
        for name in ("plain Python", "workflow", "ratio")
    )
    assert sequential >= 0.1
    assert workflow > 0
    assert ratio > 0
    assert "✔ encode-0" in printed
    assert printed.endswith(f"the picture, to be opened in a browser: {picture}\n")
    page = picture.read_text()
    assert page.startswith("<!doctype html>")
    assert page.count("thumbnail-4") > 0


def test_eleven_seconds_become_less_than_a_quarter() -> None:
    """In virtual time, which no busy machine can spoil."""
    local = LocalWorkflow(
        demo_local.video,
        activities=demo_local.RESULTS,
        workers=demo_local.WORKERS,
        clock="virtual",
        durations=demo_local.SECONDS,
    )
    assert local.run(demo_local.FILM, "talk.srt") == demo_local.video(**demo_local.RESULTS)(demo_local.FILM, "talk.srt")
    assert local.trace is not None
    sequential_s = sum(demo_local.SECONDS[node["task"]] for node in local.trace["runs"][0]["nodes"])
    assert 10 <= sequential_s <= 11
    assert sequential_s / local.trace["seconds"] >= 4
