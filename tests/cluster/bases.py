"""The images that others build on, made from Debian's packages because there is no registry.

Each is an archive in the cache, named by the hash of its recipe, made when first asked for. They carry names below `flowy.local`,
which no registry answers to: an image that is missing then fails at once instead of being fetched from somewhere.
"""

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.cluster import archive, build, node, packages, paths
from tests.cluster.commands import run
from tests.cluster.errors import ClusterError, say

BUSYBOX = "flowy.local/busybox:1"
DEBIAN = "flowy.local/debian:13"
PYTHON = "flowy.local/python:3"
ALSO_CALLED = {BUSYBOX: ["docker.io/library/busybox:1"]}  # so that manifests written for any cluster run here unchanged

SUITE = "trixie"  # with the Python that the images have where there is a registry
DEBIAN_PACKAGES = ("ca-certificates",)
PYTHON_PACKAGES = (*DEBIAN_PACKAGES, "python3", "python3-venv", "python3-pip")
TRIMMED = (
    "var/cache/apt",
    "var/lib/apt/lists",
    "var/log",
    "usr/share/doc",
    "usr/share/info",
    "usr/share/locale",
    "usr/share/man",
    "etc/apt/sources.list.d",
)
MOUNTED_AT_BUILD = ("etc/apt/apt.conf.d/99flowy-host", "etc/pip.conf")  # images.py mounts the host's settings over them
USERS = "root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n"
GROUPS = "root:x:0:\nnogroup:x:65534:\n"


def names() -> list[str]:
    return [BUSYBOX, DEBIAN, PYTHON]


def ensure(name: str) -> tuple[Path, str]:
    """Return the image's archive and the key of its content; makes it if need be (debootstrap: about 40 s)."""
    recipe, fill, command = _recipe(name)
    key = hashlib.sha256(json.dumps([name, recipe]).encode()).hexdigest()[:16]
    slug = re.sub(r"\W+", "-", name)
    target = paths.IMAGES / "bases" / f"{slug}-{key}.tar"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            root = Path(scratch) / "root"
            root.mkdir(mode=0o755)
            fill(root)
            archive.write(root, target, [name, *ALSO_CALLED.get(name, [])], command=command)
        for old in target.parent.glob(f"{slug}-*.tar"):
            if old != target:
                old.unlink()
    return target, key


def _recipe(name: str) -> tuple[list[str], Callable[[Path], None], list[str]]:
    """Return what the content depends on, the function that fills the root, and the command."""
    if name == node.PAUSE_IMAGE:
        program = build.pause()
        return [program.parent.name], lambda root: _copy(program, root / "pause"), ["/pause"]
    if name == BUSYBOX:
        packages.ensure(packages.FOR_BUSYBOX)
        busybox = Path("/bin/busybox")
        return (
            [hashlib.sha256(busybox.read_bytes()).hexdigest(), USERS],
            lambda root: _busybox(busybox, root),
            ["/bin/sh"],
        )
    if name == DEBIAN:
        return [SUITE, *DEBIAN_PACKAGES, *TRIMMED], lambda root: _debian(root, DEBIAN_PACKAGES), ["/bin/sh"]
    if name == PYTHON:
        return [SUITE, *PYTHON_PACKAGES, *TRIMMED], _python, ["python3"]
    raise ClusterError(f"there is no base image {name}; there are: {', '.join(names())}")


def _copy(program: Path, target: Path) -> None:
    shutil.copyfile(program, target)
    target.chmod(0o755)


def _busybox(program: Path, root: Path) -> None:
    for folder, mode in {"bin": 0o755, "etc": 0o755, "home": 0o755, "root": 0o700, "tmp": 0o1777, "var": 0o755}.items():
        (root / folder).mkdir()
        (root / folder).chmod(mode)
    _copy(program, root / "bin/busybox")
    for applet in run([program, "--list"], doing="listing busybox's applets").split():
        with suppress(FileExistsError):  # `busybox` lists itself
            (root / "bin" / applet).symlink_to("busybox")
    (root / "etc/passwd").write_text(USERS)
    (root / "etc/group").write_text(GROUPS)
    usr = root / "usr"
    usr.mkdir()
    (usr / "bin").symlink_to("../bin")  # scripts begin with #!/usr/bin/env


def _debian(root: Path, wanted: tuple[str, ...]) -> None:
    if os.geteuid() != 0:
        raise ClusterError("making a Debian root needs root (debootstrap does)")
    packages.ensure(packages.FOR_ROOTS)
    say(f"making a Debian root with {', '.join(wanted)} (about 40 s)")
    downloads = paths.IMAGES / "debs"
    downloads.mkdir(parents=True, exist_ok=True)
    options = ["--variant=minbase", f"--include={','.join(wanted)}", f"--cache-dir={downloads}"]
    mirror = [uri for uri in debian_mirrors() if uri.rstrip("/").endswith("/debian")][:1]
    run(["debootstrap", *options, SUITE, root, *mirror], doing="debootstrap")
    for folder in TRIMMED:
        shutil.rmtree(root / folder, ignore_errors=True)
        (root / folder).mkdir(parents=True)
    for file in MOUNTED_AT_BUILD:
        (root / file).touch()
    shutil.rmtree(root / "dev")  # every runtime mounts its own
    (root / "dev").mkdir()


def _python(root: Path) -> None:
    """Make it look like the official Python image, on which the same Dockerfiles build: `python`, and pip without a warning."""
    _debian(root, PYTHON_PACKAGES)
    (root / "usr/bin/python").symlink_to("python3")
    for marker in root.glob("usr/lib/python3*/EXTERNALLY-MANAGED"):
        marker.unlink()


def debian_mirrors() -> list[str]:
    """Return the addresses that this machine's apt takes Debian's own packages from."""
    files = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    text = "\n".join(file.read_text() for file in files if file.suffix in {".list", ".sources"} and file.exists())
    uris = re.findall(r"^(?:URIs:|deb(?:\s+\[[^\]]*\])?)\s+(\S+)", text, re.MULTILINE)
    return [uri for uri in dict.fromkeys(uris) if re.search(r"/debian(-security)?/?$", uri)]
