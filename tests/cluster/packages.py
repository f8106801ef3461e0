"""Debian packages the cluster needs, and only those that are missing."""

import os
import shutil

from tests.cluster.commands import SYSTEM_PATH, run
from tests.cluster.errors import ClusterError, say

# A program that proves the package is there, and the package. Programs and not dpkg's list: a machine may have them from elsewhere.
NEEDED = {
    "containerd": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "openssl": "openssl",
    "ip": "iproute2",
    "mount": "mount",
    "/usr/lib/cni/ptp": "containernetworking-plugins",
}
FOR_IMAGES = {"buildah": "buildah"}
FOR_BUSYBOX = {"/bin/busybox": "busybox-static"}
FOR_ROOTS = {"debootstrap": "debootstrap"}


def ensure(needed: dict[str, str]) -> None:
    """Install the packages whose program is missing. Nothing of what they bring is started or stopped here."""
    missing = sorted(
        {package for program, package in needed.items() if shutil.which(program, path=SYSTEM_PATH) is None}
    )
    if not missing:
        return
    names = " ".join(missing)
    if shutil.which("apt-get") is None:
        raise ClusterError(f"these programs are missing and there is no apt-get to install them with; install: {names}")
    if os.geteuid() != 0:
        raise ClusterError(f"Debian packages are missing; run as root: apt-get install --no-install-recommends {names}")
    say(f"installing Debian packages: {names}")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "--yes", "--no-install-recommends", *missing]
    try:
        run(install, doing="installing Debian packages", env=env)
    except ClusterError:
        # A fresh machine has no package lists, an old one outdated ones: worth one update, which costs seconds otherwise saved.
        run(["apt-get", "update"], doing="updating the package lists", env=env)
        run(install, doing="installing Debian packages", env=env)
