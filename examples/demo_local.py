"""`make demo-local`: the same ten lines of Python run twice on this machine, from top to bottom and as a workflow.

Each step sleeps for as long as a real one would work, so that the demo is the same on any machine: about eleven seconds one
after the other. Then it draws why the workflow needed so much less.
"""

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from flowy.local import LocalWorkflow
from flowy_cli.pictures.local import execution_of_trace
from flowy_cli.pictures.report import report
from flowy_cli.pictures.timeline import timeline_of
from flowy_cli.pictures.timeline_text import timeline_text

PICTURE = Path("build/demo-local.html")
WORKERS = 16
"""Sleepers need no processor: one for each step that may run at once."""

SECONDS = {
    "embed": 0.5,
    "encode": 1.9,
    "find_chapters": 0.6,
    "thumbnail": 0.4,
    "analyse_subtitle": 0.9,
    "target_ads": 0.9,
}
CHAPTERS = ("opening", "history", "demo", "questions", "end")
FILM = "talk.mov"


def video(
    embed: Callable[..., Any],
    encode: Callable[..., Any],
    find_chapters: Callable[..., Any],
    thumbnail: Callable[..., Any],
    analyse_subtitle: Callable[..., Any],
    target_ads: Callable[..., Any],
) -> Callable[..., Any]:
    def workflow(film: str, subtitle: str) -> Any:
        master = embed(film, subtitle)
        copies = {form: encode(master, form) for form in ("mp4", "webm", "ogv")}
        ads = target_ads(analyse_subtitle(subtitle))
        thumbnails = [thumbnail(film, chapter) for chapter in find_chapters(film)]
        return {"copies": copies, "ads": ads, "thumbnails": thumbnails}

    return workflow


RESULTS: Mapping[str, Callable[..., Any]] = {
    "embed": lambda film, subtitle: f"{film} with {subtitle}",
    "encode": lambda master, form: f"{master} as {form}",
    "find_chapters": lambda _: list(CHAPTERS),
    "thumbnail": lambda _, chapter: f"{chapter}.jpg",
    "analyse_subtitle": lambda _: ["cluster", "python"],
    "target_ads": lambda topics: [f"ad about {topic}" for topic in topics],
}


def steps(scale: float) -> dict[str, Callable[..., Any]]:
    """The steps: each sleeps, and gives its result."""

    def sleeping(name: str) -> Callable[..., Any]:
        def step(*args: Any) -> Any:
            time.sleep(SECONDS[name] * scale)
            return RESULTS[name](*args)

        return step

    return {name: sleeping(name) for name in SECONDS}


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Sequential time, workflow time, and a picture of why.")
    parser.add_argument("--scale", type=float, default=1.0, help="of all sleeps; 0.1 is ten times as fast")
    parser.add_argument("--picture", type=Path, default=PICTURE, help="the page to write")
    given = parser.parse_args(words)
    functions = steps(given.scale)

    print("the video workflow, one step after the other ...", flush=True)
    begun = time.monotonic()
    expected = video(**functions)(FILM, "talk.srt")
    sequential_s = time.monotonic() - begun
    print(f"  plain Python   {sequential_s:6.2f} s", flush=True)

    print("the same code as a workflow ...", flush=True)
    local = LocalWorkflow(video, activities=functions, workers=WORKERS)
    begun = time.monotonic()
    result = local.run(FILM, "talk.srt")
    workflow_s = time.monotonic() - begun
    print(f"  workflow       {workflow_s:6.2f} s\n  ratio          {sequential_s / workflow_s:6.1f}\n", flush=True)
    if result != expected:
        sys.exit(f"the results differ:\n  {expected}\n  {result}")

    assert local.trace is not None
    execution = execution_of_trace(local.trace)
    print(timeline_text(timeline_of(execution), 100))
    given.picture.parent.mkdir(parents=True, exist_ok=True)
    given.picture.write_text(report(execution), encoding="utf-8")
    print(f"the picture, to be opened in a browser: {given.picture}")


if __name__ == "__main__":
    main()
