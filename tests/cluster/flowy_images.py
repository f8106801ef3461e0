"""Flowy's own images, built with its own Dockerfiles and imported into the embedded cluster."""

import sys
from pathlib import Path

from tests.cluster import bases, cluster
from tests.cluster.errors import ClusterError, say

ROOT = Path(__file__).resolve().parents[2]
OPERATOR = "flowy.local/flowy-operator:test"
ACTIVITY = "flowy.local/flowy-activity:test"
DOCKERFILES = {OPERATOR: ROOT / "images/operator/Dockerfile", ACTIVITY: ROOT / "images/activity/Dockerfile"}


def build_all() -> None:
    """Build what has changed since the last time; the rest costs a second."""
    if cluster.external_kubeconfig() is not None:
        say("KUBECONFIG is set: bring Flowy's images to that cluster yourself (see docs/installing.md)")
        return
    for tag, dockerfile in DOCKERFILES.items():
        say(f"image {tag}")
        cluster.build_image(ROOT, tag, dockerfile=dockerfile, build_args={"BASE": bases.PYTHON})


if __name__ == "__main__":
    try:
        build_all()
    except ClusterError as error:
        sys.exit(f"images: {error}")
