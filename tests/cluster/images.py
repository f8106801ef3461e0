"""Images of the cluster without a registry: build with buildah, put into containerd, and know what is there already.

What an image was made from is recorded beside the caches, so that building it again costs reading the folder and one question to
containerd. Nothing is ever pulled.
"""

import hashlib
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from tests.cluster import bases, context, node, packages, paths
from tests.cluster.commands import run
from tests.cluster.errors import ClusterError, say
from tests.cluster.place import FIRST, Place

NAMESPACE = "k8s.io"  # containerd's, in which the kubelet looks
RECORDS = paths.IMAGES / "records"
HOST_SETTINGS = paths.IMAGES / "host"
CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
NEEDED = (node.PAUSE_IMAGE, bases.BUSYBOX)
NO_NETWORK_BASES = ("scratch", bases.BUSYBOX)  # they have neither apt nor pip to configure


def canonical(tag: str) -> str:
    """Return the name as the kubelet will say it: with a registry's host and a tag."""
    first, slash, _ = tag.partition("/")
    if not slash:
        tag = f"docker.io/library/{tag}"
    elif "." not in first and ":" not in first and first != "localhost":
        tag = f"docker.io/{tag}"
    return tag if ":" in tag.rpartition("/")[2] else f"{tag}:latest"


def ensure_base(name: str) -> None:
    """Put a base image into containerd."""
    archive, key = bases.ensure(name)
    if not _present(name, key):
        load(archive)
        _record(name, key)


def load(archive: Path, place: Place = FIRST) -> list[str]:
    """Import an archive (Docker's or OCI's format) and return the images' names."""
    said = ctr("images", "import", str(archive), doing=f"importing {archive}", place=place)
    return re.findall(r"^unpacking (\S+)", said, re.MULTILINE)


def listing() -> list[str]:
    """Return the names of all images that pods can use."""
    return [name for name in ctr("images", "list", "--quiet", doing="listing images").split() if "sha256:" not in name]


def build(
    folder: Path, tag: str, *, dockerfile: Path | None = None, build_args: Mapping[str, str] | None = None
) -> str:
    """Build a Dockerfile and put the image into containerd, unless it is there from the same content; return its full name."""
    tag = canonical(tag)
    arguments = dict(build_args or {})
    dockerfile = dockerfile or folder / "Dockerfile"
    if not dockerfile.is_file():
        raise ClusterError(f"there is no Dockerfile at {dockerfile}")
    from_images = context.from_lines(dockerfile.read_text(), arguments)
    used = {image: _base_key(image, dockerfile) for image in from_images}
    key = context.key(folder, dockerfile, arguments, used)
    if _present(tag, key):
        return tag
    say(f"building image {tag}")
    packages.ensure(packages.FOR_IMAGES)
    for image in from_images:
        if image in bases.names():
            _ensure_in_buildah(image)
    words = [
        "bud",
        "--isolation",
        "chroot",
        "--layers=true",
        "--force-rm",
        "--pull-never",
        "--format=docker",
        "--timestamp=0",
    ]
    words += [f"--build-arg={name}={value}" for name, value in sorted(arguments.items())]
    if any(image not in NO_NETWORK_BASES for image in from_images):
        words += [f"--volume={host}:{inside}:ro" for host, inside in _host_settings().items()]
    _buildah(*words, f"--tag={tag}", f"--file={dockerfile}", str(folder), doing=f"building {tag}")
    with tempfile.TemporaryDirectory(dir=paths.IMAGES) as scratch:
        archive = Path(scratch) / "image.tar"
        _buildah("push", tag, f"docker-archive:{archive}:{tag}", doing=f"exporting {tag}")
        load(archive)
    with suppress(ClusterError):  # only disk space: the image that had this name before
        _buildah("rmi", "--prune", doing="removing old images")
    _record(tag, key)
    return tag


def ctr(*words: str, doing: str, place: Place = FIRST) -> str:
    if not place.containerd_socket.exists():
        raise ClusterError(
            "the cluster does not run, so there is no place for images; start it: python3 -m tests.cluster up"
        )
    return run(["ctr", "--address", place.containerd_socket, "--namespace", NAMESPACE, *words], doing=doing)


def _present(tag: str, key: str) -> bool:
    """Tell whether containerd's image of that name is the one recorded, and made from `key`."""
    with suppress(FileNotFoundError, ValueError):
        record = json.loads(_record_path(tag).read_text())
        return bool(record["key"] == key and record["digest"] == _digest(tag))
    return False


def _record(tag: str, key: str) -> None:
    path = _record_path(tag)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"tag": tag, "key": key, "digest": _digest(tag)}))


def _record_path(tag: str) -> Path:
    return RECORDS / f"{hashlib.sha256(tag.encode()).hexdigest()[:24]}.json"


def _digest(tag: str) -> str:
    lines = ctr("images", "list", f"name=={tag}", doing="looking for an image").splitlines()[1:]
    return lines[0].split()[2] if lines else ""


def _base_key(image: str, dockerfile: Path) -> str:
    """Return what an image named by FROM is made of: a base by its recipe, one of our own by its record."""
    if image in bases.names():
        return bases.ensure(image)[1]
    with suppress(FileNotFoundError, ValueError):
        return str(json.loads(_record_path(canonical(image)).read_text())["key"])
    raise ClusterError(
        f"{dockerfile} builds on {image!r}, which is not on this machine, and there is no registry to take it from. "
        f"Build on one of {', '.join(bases.names())} (for instance --build-arg BASE={bases.PYTHON}), or build that image first."
    )


def _ensure_in_buildah(image: str) -> None:
    archive, key = bases.ensure(image)
    mark = RECORDS / f"buildah-{re.sub(r'[^a-z0-9]+', '-', image)}"
    if mark.exists() and mark.read_text() == key:
        return
    _buildah("pull", f"docker-archive:{archive}", doing=f"giving {image} to buildah")
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.write_text(key)


def _buildah(*words: str, doing: str) -> str:
    driver = (
        "overlay" if paths.overlay_works() else "vfs"
    )  # vfs copies all files for each line of a Dockerfile: five times slower
    store: list[str | Path] = [
        "--root",
        paths.IMAGES / f"storage-{driver}",
        "--runroot",
        paths.BUILDAH_RUN,
        "--storage-driver",
        driver,
    ]
    if not Path("/etc/containers/policy.json").exists():
        policy = paths.IMAGES / "policy.json"
        policy.write_text(json.dumps({"default": [{"type": "insecureAcceptAnything"}]}))
        words = (words[0], f"--signature-policy={policy}", *words[1:]) if words[0] in {"bud", "pull", "push"} else words
    return run(["buildah", *store, *words], doing=doing)


def _host_settings() -> dict[Path, str]:
    """Return this machine's way to packages, to be mounted while RUN lines run: apt's sources, pip's index, trusted authorities."""
    HOST_SETTINGS.mkdir(parents=True, exist_ok=True)
    sources, apt, pip = (HOST_SETTINGS / name for name in ("sources.list", "apt.conf", "pip.conf"))
    lines = []
    for uri in bases.debian_mirrors():
        suites = (
            [f"{bases.SUITE}-security"]
            if uri.rstrip("/").endswith("security")
            else [bases.SUITE, f"{bases.SUITE}-updates"]
        )
        lines += [f"deb {uri} {suite} main\n" for suite in suites]
    sources.write_text("".join(lines))
    settings = run(["apt-config", "dump"], doing="reading apt's settings").splitlines()
    apt.write_text("\n".join(line for line in settings if re.match(r"Acquire::(https?|Check-|Retries)", line)) + "\n")
    pip.write_text("\n".join(["[global]", *_pip_settings()]) + "\n")
    mounts = {sources: "/etc/apt/sources.list", apt: "/etc/apt/apt.conf.d/99flowy-host", pip: "/etc/pip.conf"}
    return mounts | ({CA_BUNDLE: str(CA_BUNDLE)} if CA_BUNDLE.exists() else {})


def _pip_settings() -> Sequence[str]:
    """Return the host's settings that say where packages come from; folders of wheels are not in the image, hence not these."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    )
    wanted = re.findall(
        r"^(?:global|:env:)\.(index-url|extra-index-url|trusted-host|proxy|timeout)='(.*)'$",
        listed.stdout,
        re.MULTILINE,
    )
    return [f"{name} = {value}" for name, value in dict(wanted).items()] + [f"cert = {CA_BUNDLE}"]


def ensure_needed() -> None:
    """Put the images that every cluster has into containerd."""
    for name in NEEDED:
        ensure_base(name)


def load_needed(place: Place) -> None:
    """The same for an added node, which has none."""
    for name in NEEDED:
        load(bases.ensure(name)[0], place)
