"""`make images`: the examples' images, built with their own Dockerfiles and imported into the embedded cluster."""

import sys
from pathlib import Path
from typing import NamedTuple

from tests.cluster import cluster
from tests.cluster.commands import run
from tests.cluster.errors import ClusterError, say

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
BASE = {"BASE": "flowy.local/python:3"}


class ExampleImage(NamedTuple):
    tag: str
    folder: Path
    prepare: Path | None = None  # fetches what the build can't: it has no network of its own


IMAGES = (
    ExampleImage("flowy.local/examples/add-python:1", EXAMPLES / "squares" / "python"),
    ExampleImage(
        "flowy.local/examples/square-go:1", EXAMPLES / "squares" / "go", EXAMPLES / "squares" / "go" / "prepare.sh"
    ),
    ExampleImage("flowy.local/examples/video:1", EXAMPLES / "video", EXAMPLES / "video" / "prepare.sh"),
)


def build_all() -> None:
    """Build what has changed since the last time; the rest costs a fraction of a second."""
    if cluster.external_kubeconfig() is not None:
        say("KUBECONFIG is set: bring the examples' images to that cluster yourself (see their READMEs)")
        return
    for image in IMAGES:
        say(f"image {image.tag}")
        if image.prepare is not None:
            run([image.prepare], doing=f"preparing {image.tag}")
        cluster.build_image(image.folder, image.tag, build_args=BASE)


if __name__ == "__main__":
    try:
        build_all()
    except ClusterError as error:
        sys.exit(f"images: {error}")
