"""Who has a port that we need."""

import errno
import socket
from contextlib import suppress
from pathlib import Path

from tests.cluster.component import Component
from tests.cluster.errors import ClusterError

_LOCAL_ADDRESS, _STATE, _INODE = 1, 3, 9  # fields of a line of /proc/net/tcp
_LISTENING = "0A"


def check_free(component: Component) -> None:
    """Raise if somebody else listens where the component is going to: its own message is somewhere in a log, and names nobody."""
    for address, port in component.ports:
        if is_taken(address, port):
            raise ClusterError(
                f"port {port} on {address}, which {component.name} needs, is taken by {_owner(port)}; "
                "end that program, or set KUBECONFIG to use a cluster you have"
            )


def is_taken(address: str, port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # else connections that are just ending count as well
        try:
            probe.bind((address, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise ClusterError(f"no program can listen on {address}:{port}: {error}") from error
            return True
    return False


def _owner(port: int) -> str:
    inodes = set()
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        for line in table.read_text().splitlines()[1:]:
            fields = line.split()
            if fields[_STATE] == _LISTENING and int(fields[_LOCAL_ADDRESS].rpartition(":")[2], 16) == port:
                inodes.add(f"socket:[{fields[_INODE]}]")
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # ended meanwhile, or not ours to look at
            if any(str(descriptor.readlink()) in inodes for descriptor in (folder / "fd").iterdir()):
                words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
                return f"process {folder.name} ({' '.join(words).strip()[:80]})"
    return "a process that this user may not see"
