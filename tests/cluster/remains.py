"""Take away what pods leave behind when nobody is there to end them: after `down`, and after a machine where all was killed.

One way for both: it asks neither the kubelet nor containerd, only the kernel and runc's records. Containers are known by their
control groups, shims by our socket on their command line, mounts and network namespaces by our folders, iptables chains by the
prefixes that Kubernetes keeps for itself.
"""

import os
import re
import shutil
import signal
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from tests.cluster import network, paths, place, processes
from tests.cluster.commands import SYSTEM_PATH, run
from tests.cluster.errors import ClusterError
from tests.cluster.place import FIRST, Place

CGROUPS = Path("/sys/fs/cgroup")
CGROUP_PARENT = "k8s.io"  # containerd's name for the namespace the kubelet's containers are in
CONTAINER_LOG_LINKS = Path("/var/log/containers")  # the kubelet's, which has no setting for it
MOUNTED_BELOW = (paths.RUN, FIRST.kubelet, FIRST.containerd_root, paths.IMAGES)
CNI_RESULTS = Path("/var/lib/cni/results")
WAIT_S = 5.0  # killed processes leave their control groups within milliseconds; a loaded machine takes longer


def end_containers(places: Sequence[Place]) -> None:
    """Kill every process in the containers of these nodes, and the shims that watch over them."""
    identifiers = _container_ids(places)
    deadline = time.monotonic() + WAIT_S
    while pids := [pid for identifier in identifiers for pid in _pids_in_container(identifier)]:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)  # membership in the control group, read just now, says that it is ours
        if time.monotonic() > deadline:
            raise ClusterError(f"processes of containers do not end although killed: {pids}")
        time.sleep(0.02)
    # Below /run/containerd, a path that containerd does not let us choose; listed now, since the list goes with the shims.
    tasks = "io.containerd.runtime.v2.task/*/*/address"
    addresses = [address for one in places for address in one.containerd_state.glob(tasks)]
    sockets = [Path(address.read_text().removeprefix("unix://")) for address in addresses]
    for pid in _shims(places):
        moment = processes.started(pid)
        if moment is not None:
            processes.end(pid, moment, grace_s=0)
    for socket in sockets:
        socket.unlink(missing_ok=True)


def end_added_nodes() -> None:
    """End all that runs on added nodes: whoever added them is gone, or the cluster is about to be."""
    for added in place.all_added():
        end_node(added)


def end_node(added: Place) -> None:
    """End an added node's processes and containers as a power cut would: nobody is left to note how the containers ended."""
    for name in ("kubelet", "containerd"):
        processes.stop(added.component(name), grace_s=0)
    end_containers([added])


def clear() -> None:
    """Remove mounts, namespaces, control groups, iptables chains, files. Everything must have ended before."""
    for added in place.all_added():
        clear_node(added)
    _clear_pods(FIRST, MOUNTED_BELOW)
    _remove_cgroups_of_nobody()
    for program in ("iptables", "ip6tables"):
        _remove_chains(program)
    network.release(FIRST.address)
    for folder in (paths.RUN, FIRST.kubelet, FIRST.pod_logs, paths.ETCD, paths.PROCESSES, paths.HOST_PATH_VOLUMES):
        _remove(folder)


def clear_node(added: Place) -> None:
    """The same for an added node alone. Its disk goes with it."""
    _clear_pods(added, (added.run, added.kept))
    network.release(added.address)
    for folder in (added.kept, added.run):
        _remove(folder)


def listing() -> list[str]:
    """Tell what is left, one line each; empty when nothing is."""
    places = [FIRST, *place.all_added()]
    lines = [f"container {identifier}" for identifier in _container_ids(places)]
    lines += [f"shim {pid}" for pid in _shims(places)]
    lines += [f"mount {mount}" for mount in _mounts((*MOUNTED_BELOW, paths.ADDED_NODES))]
    for parent in (CGROUPS, *CGROUPS.glob("*/")):
        lines += [f"control group {group}" for group in parent.glob(f"{CGROUP_PARENT}/*/")]
    for program in ("iptables", "ip6tables"):
        lines += [f"{program} chain {table}/{chain}" for table, chains in _chains(program).items() for chain in chains]
    if paths.RUN.exists():
        lines.append(f"folder {paths.RUN}")
    return lines


def _clear_pods(where: Place, mounted_below: Iterable[Path]) -> None:
    """What the pods of one node leave outside its folders, and the mounts below these."""
    identifiers = _container_ids([where])
    _unmount(mounted_below)
    _remove_cgroups(identifiers)
    for address in paths.POD_ADDRESSES.glob("*/*"):
        if address.is_file() and address.read_text(errors="replace").split("\n")[0].strip() in identifiers:
            address.unlink(missing_ok=True)
    for result in CNI_RESULTS.glob("*"):
        if f"{where.containerd_state}/" in result.read_text(errors="replace"):  # where the pod's network namespace was
            result.unlink(missing_ok=True)
    for link in CONTAINER_LOG_LINKS.glob("*"):
        if link.is_symlink() and link.readlink().is_relative_to(where.pod_logs):
            link.unlink()


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        raise ClusterError(f"{folder} cannot be removed; see what holds it: fuser -vm {folder}")


def _container_ids(places: Iterable[Place]) -> list[str]:
    return sorted(folder.name for one in places for folder in one.runc_root.glob("k8s.io/*"))


def _cgroup_folders(identifier: str) -> Iterator[Path]:
    """Yield the container's groups: one under each controller in version 1, one in version 2."""
    for parent in (CGROUPS, *CGROUPS.glob("*/")):
        folder = parent / CGROUP_PARENT / identifier
        if folder.is_dir():
            yield folder


def _pids_in_container(identifier: str) -> set[int]:
    pids: set[int] = set()
    for folder in _cgroup_folders(identifier):
        with suppress(OSError):  # the group went away while we looked
            for listed in folder.rglob("cgroup.procs"):
                pids.update(int(line) for line in listed.read_text().split())
    return pids


def _shims(places: Iterable[Place]) -> list[int]:
    sockets = {str(one.containerd_socket) for one in places}
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:  # ended meanwhile
            continue
        if Path(words[0]).name.startswith("containerd-shim") and not sockets.isdisjoint(words):
            found.append(int(folder.name))
    return found


def _mounts(below: Iterable[Path]) -> list[str]:
    """Return mount points in these folders, innermost first."""
    ours = tuple(f"{folder}/" for folder in below)
    points = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        point = re.sub(r"\\(\d{3})", lambda match: chr(int(match[1], 8)), line.split()[4])
        if f"{point}/".startswith(ours):
            points.append(point)
    return points[::-1]


def _unmount(below: Iterable[Path]) -> None:
    mounts = _mounts(below)
    if mounts:
        # Lazily: a file that some program of the owner's still holds open must not stop the rest.
        run(["umount", "--lazy", *mounts], doing="unmounting what pods left")


def _remove_cgroups(identifiers: list[str]) -> None:
    for identifier in identifiers:
        for top in _cgroup_folders(identifier):
            for folder in _deepest_first(top):
                _remove_cgroup(folder)


def _remove_cgroups_of_nobody() -> None:
    """Those of containers that were being made when they were ended: no process is in them, and containerd never knew them."""
    for parent in (CGROUPS, *CGROUPS.glob("*/")):
        for top in parent.glob(f"{CGROUP_PARENT}/*/"):
            folders = _deepest_first(top)
            if not any((folder / "cgroup.procs").read_text() for folder in folders):
                for folder in folders:
                    _remove_cgroup(folder)
        with suppress(OSError):  # not there, or another containerd's containers are in it
            (parent / CGROUP_PARENT).rmdir()


def _deepest_first(top: Path) -> list[Path]:
    return sorted([top, *top.rglob("*/")], key=lambda path: -len(path.parts))


def _remove_cgroup(folder: Path) -> None:
    deadline = time.monotonic() + WAIT_S
    while folder.is_dir():
        try:
            folder.rmdir()
        except OSError as error:  # busy until the kernel has buried the last process
            if time.monotonic() > deadline:
                raise ClusterError(f"control group {folder} cannot be removed: {error}") from error
            time.sleep(0.02)


def _chains(program: str) -> dict[str, list[str]]:
    """Return the chains of Kubernetes and ours, by table."""
    tables: dict[str, list[str]] = {}
    if shutil.which(f"{program}-save", path=SYSTEM_PATH) is None:
        return tables
    table = ""
    for line in run([f"{program}-save"], doing="listing iptables chains").splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif re.match(rf":(KUBE-|{network.FORWARD_CHAIN} )", line):
            tables.setdefault(table, []).append(line[1:].split()[0])
    return tables


def _remove_chains(program: str) -> None:
    """Remove the chains and every rule that jumps to them, each table in one transaction."""
    chains = _chains(program)
    if not chains:
        return
    script: list[str] = []
    rules = run([f"{program}-save"], doing="listing iptables rules").splitlines()
    table = ""
    for line in rules:
        if line.startswith("*"):
            table = line[1:]
            script.append(line)
            script += [f":{chain} - [0:0]" for chain in chains.get(table, [])]  # naming a chain empties it
        elif line.startswith("-A ") and table in chains:
            holder = line.split()[1]
            target = re.search(r" -[jg] (\S+)", line)
            if holder not in chains[table] and target is not None and target[1] in chains[table]:
                script.append(f"-D {line[3:]}")
        elif line == "COMMIT":
            script += [f"-X {chain}" for chain in chains.get(table, [])]
            script.append(line)
    run(
        [f"{program}-restore", "--noflush", "--wait"],
        doing="removing iptables chains",
        stdin="\n".join(script) + "\n",
    )
