"""Container images as files: a folder becomes an archive in Docker's format, of one layer, with nothing but tar."""

import hashlib
import json
import platform
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.cluster.commands import run

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def write(
    root: Path, target: Path, tags: Sequence[str], *, command: Sequence[str], entrypoint: Sequence[str] = ()
) -> None:
    """Write `root` as an image with these names. The same folder gives the same bytes: times are zero, names sorted."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        layer, config, manifest = (Path(scratch) / name for name in ("layer.tar", "config.json", "manifest.json"))
        same = ("--sort=name", "--mtime=@0", "--numeric-owner", "--format=gnu")
        run(["tar", "--create", *same, f"--file={layer}", f"--directory={root}", "."], doing="packing an image's layer")
        with layer.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        program = {"Env": [f"PATH={SEARCH_PATH}"], "Cmd": list(command)}
        if entrypoint:
            program["Entrypoint"] = list(entrypoint)
        content = {
            "architecture": ARCHITECTURES[platform.machine()],
            "os": "linux",
            "created": "1970-01-01T00:00:00Z",
            "config": program,
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
            "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "tests/cluster"}],
        }
        config.write_text(json.dumps(content))
        manifest.write_text(json.dumps([{"Config": config.name, "RepoTags": list(tags), "Layers": [layer.name]}]))
        fresh = Path(scratch) / "image.tar"
        with tarfile.open(fresh, "w") as tar:
            for part in (manifest, config, layer):
                tar.add(part, arcname=part.name)
        fresh.replace(target)
