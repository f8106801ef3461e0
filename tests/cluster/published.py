"""Programs of this checkout on the Python that the published images have, which need not be this machine's.

In a container on the cluster's node, with the dependencies of `constraints.txt`, a copy of the sources, and all rights, as on
the machine itself: what is tested there locks itself in.
"""

import subprocess
import tempfile
import uuid
from pathlib import Path

from tests.cluster import bases, cluster, images, paths
from tests.cluster.place import FIRST

ROOT = Path(__file__).resolve().parents[2]
IMAGE = "flowy.local/tests:1"
COPIED = (
    "LICENSE",
    "README.md",
    "cli",
    "constraints.txt",
    "crds",
    "images",
    "operator",
    "pyproject.toml",
    "runtime",
    "tests",
)

DOCKERFILE = f"""
FROM {bases.PYTHON}
COPY constraints.txt /
RUN python3 -m venv /venv && /venv/bin/pip install --quiet --no-deps --require-hashes -r /constraints.txt
"""

# Copied, so that nothing is written into the checkout, bytecode least of all.
START = f"""
mkdir /flowy && cd /checkout && cp -r {" ".join(COPIED)} /flowy && cd /flowy
/venv/bin/pip install --quiet --no-deps --no-build-isolation --editable .
/venv/bin/python -m compileall -q operator runtime
exec /venv/bin/python "$@"
"""


def run_python(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run the interpreter with these arguments, its standard output and errors in one. Raises ClusterError if there is no image."""
    build()
    run = [
        "ctr",
        "--address",
        str(FIRST.containerd_socket),
        "--namespace",
        images.NAMESPACE,
        "run",
        "--rm",
        "--privileged",
    ]
    run += ["--snapshotter", "overlayfs" if paths.overlay_works(FIRST.kept) else "native"]
    run += ["--mount", f"type=bind,src={ROOT},dst=/checkout,options=rbind:ro", IMAGE, f"tests-{uuid.uuid4().hex[:8]}"]
    command = [*run, "sh", "-ec", START, "sh", *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)


def build() -> None:
    """Build the image, if its content is another by now: a minute."""
    with tempfile.TemporaryDirectory() as folder:
        context = Path(folder)
        (context / "Dockerfile").write_text(DOCKERFILE)
        (context / "constraints.txt").write_bytes((ROOT / "constraints.txt").read_bytes())
        cluster.build_image(context, IMAGE)


def version() -> str:
    """Which Python that is, as "3.13"."""
    return run_python("-c", "import sys; print('%d.%d' % sys.version_info[:2])").stdout.strip()
