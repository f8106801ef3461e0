"""Where everything lies.

Three roots. Caches and whatever should outlive a stop are in the user's cache folder, shared by all clones of the repository.
What belongs to running containers is under /run, as with every container engine: it ends with the machine, and sockets need short
paths (108 bytes). There is one cluster a machine, so the path under /run has no name in it.
"""

import os
from pathlib import Path

SOURCES = Path(__file__).resolve().parent


def _cache() -> Path:
    named = os.environ.get("FLOWY_CACHE")
    if named:
        return Path(named).expanduser().resolve()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache").resolve() / "flowy"


CACHE = _cache()
TOOLS = CACHE / "tools"  # programs built or installed, each in a folder named by the hash of its sources
IMAGES = CACHE / "images"  # buildah's storage, base images as archives

CLUSTER = CACHE / "cluster"
LOCK = CLUSTER / "lock"
KUBECONFIG = CLUSTER / "admin.kubeconfig"
CERTIFICATES = CLUSTER / "certificates"
CONFIG = CLUSTER / "config"
LOGS = CLUSTER / "logs"
PROCESSES = CLUSTER / "processes"
ETCD = CLUSTER / "etcd"
ADDED_NODES = CLUSTER / "nodes"

RUN = Path("/run/flowy-cluster")
OWNER = (
    RUN / "cache"
)  # holds the path of the cache folder whose cluster this is: another user's, or another FLOWY_CACHE, has another
ADDED_NODES_RUN = RUN / "nodes"
POD_ADDRESSES = RUN / "addresses"  # which pod has which address, kept by the host-local plugin
BUILDAH_RUN = RUN / "buildah"

HOST_PATH_VOLUMES = Path(
    "/tmp/hostpath_pv"
)  # where the controller manager's provisioner puts volumes; it has no setting


def overlay_works(where: Path = CACHE) -> bool:
    """Tell whether layers may be stacked here; not on a filesystem that is such a stack itself, as inside a container."""
    device = next(folder for folder in (where, *where.parents) if folder.exists()).stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    mounts = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    types = [fields[fields.index("-") + 1] for fields in mounts if fields[2] == wanted]
    return "overlay" not in types
