"""Programs built from Go modules, each in a folder named by the hash of what went into it."""

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path

from tests.cluster.errors import ClusterError, say
from tests.cluster.paths import SOURCES, TOOLS

KUBERNETES = SOURCES / "kubernetes"
KWOK = SOURCES / "kwok"
HELM = SOURCES / "helm"
KUBERNETES_VERSION = "v1.35.4"  # as in go.mod
OLDEST_GO = (1, 25)  # Kubernetes 1.35's own
KEPT = 3  # builds kept: one for each branch somebody is likely to change between

# Without these the API server calls itself v0.0.0-master+$Format:%H$, and clients that compare versions refuse to talk to it.
_VERSION = "k8s.io/component-base/version"
_LINK = (
    f"-s -w -X {_VERSION}.gitVersion={KUBERNETES_VERSION} -X {_VERSION}.gitMajor=1 -X {_VERSION}.gitMinor=35"
    f" -X {_VERSION}.gitTreeState=clean -X {_VERSION}.buildDate=1970-01-01T00:00:00Z"
)
HEARTBEAT_S = 20.0  # a silent build of minutes looks hung


def kubernetes() -> Path:
    """Return the binary with all programs of Kubernetes and etcd: 4 to 5 minutes on two cores, then nothing."""
    title = "Kubernetes (all programs and etcd, 4 to 5 minutes on two cores)"
    return _built("kubernetes", KUBERNETES, ".", _LINK, title)


def pause() -> Path:
    """Return the static program for the container that every pod has."""
    return _built("pause", KUBERNETES, "./pause", _LINK, "the pause program")


def kwok() -> Path:
    """Return the controller of fake nodes: 1 to 3 minutes, and only for whoever asks for it."""
    return _built("kwok", KWOK, "sigs.k8s.io/kwok/cmd/kwok", "-s -w", "KWOK (fake nodes, 1 to 3 minutes on two cores)")


def helm() -> Path:
    """Return helm: 1 to 3 minutes, and only for whoever asks for it."""
    return _built("helm", HELM, "helm.sh/helm/v4/cmd/helm", "-s -w", "helm (1 to 3 minutes on two cores)")


def _built(name: str, module: Path, package: str, link: str, title: str) -> Path:
    sources = [module / "go.mod", module / "go.sum", *sorted((module / package).glob("*.go"))]
    key = hashlib.sha256(link.encode())
    for source in sources:
        key.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
    target = TOOLS / f"{name}-{key.hexdigest()[:16]}" / name
    if target.exists():
        return target
    _check_go()
    say(f"building {title}")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        fresh = Path(scratch) / name
        _compile(["go", "build", "-trimpath", "-ldflags", link, "-o", str(fresh), package], module)
        fresh.replace(target)  # in one step: a build cut short must not leave half a program under its final name
    _drop_old(name)
    return target


def _check_go() -> None:
    program = shutil.which("go")
    if program is None:
        raise ClusterError("Go is missing (1.25 or newer): install it, or set KUBECONFIG to use a cluster you have")
    said = subprocess.run([program, "version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"go(\d+)\.(\d+)", said)
    if found is None or (int(found[1]), int(found[2])) < OLDEST_GO:
        raise ClusterError(f"Go is too old: {said.strip()}; Kubernetes {KUBERNETES_VERSION} needs 1.25 or newer")


def _compile(argv: list[str], module: Path) -> None:
    """Run Go with a heartbeat. GOFLAGS of the user stay: they may be what makes modules reachable."""
    env = {**os.environ, "CGO_ENABLED": "0", "GOWORK": "off"}
    ended = threading.Event()

    def heartbeat() -> None:
        waited_s = 0.0
        while not ended.wait(HEARTBEAT_S):
            waited_s += HEARTBEAT_S
            say(f"still building, {waited_s:.0f} s so far")

    thread = threading.Thread(target=heartbeat, daemon=True)
    thread.start()
    try:
        done = subprocess.run(argv, cwd=module, env=env, capture_output=True, text=True, check=False)
    finally:
        ended.set()
        thread.join()
    if done.returncode != 0:
        raise ClusterError(f"go build failed in {module}:\n{done.stderr.strip()[-4000:]}")


def _drop_old(name: str) -> None:
    """Each Kubernetes build is 130 MB. A program that still runs from a removed file goes on running."""
    builds = sorted(TOOLS.glob(f"{name}-*"), key=lambda folder: folder.stat().st_mtime, reverse=True)
    for folder in builds[KEPT:]:
        shutil.rmtree(folder, ignore_errors=True)
