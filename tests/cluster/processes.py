"""Start, find and stop processes that outlive the program which started them.

A process is known by its id and the moment it started: ids are used again, and a file that names one may be older than the
machine's last boot. Signals go through a pidfd, so that between check and signal the id cannot change hands.
"""

import json
import os
import select
import signal
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.commands import SYSTEM_PATH
from tests.cluster.errors import ClusterError
from tests.cluster.paths import CLUSTER, LOGS, PROCESSES

KEPT_LOG_BYTES = 20_000_000  # of a former run; one more start turns it into NAME.log.1
_STATE, _START = 0, 19  # fields of /proc/PID/stat, counted after the program's name


@dataclass(frozen=True, slots=True)
class Process:
    """A running process, and the fingerprint of the definition it was started from."""

    pid: int
    started: str
    fingerprint: str


def started(pid: int) -> str | None:
    """When the process began: boot and clock ticks since then. None when it is gone, or dead and only not yet waited for."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()
    if fields[_STATE] in "ZX":
        return None
    return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()}/{fields[_START]}"


def find(name: str) -> Process | None:
    """The recorded process if it still runs."""
    try:
        record = json.loads((PROCESSES / f"{name}.json").read_text())
        process = Process(record["pid"], record["started"], record["fingerprint"])
    except (FileNotFoundError, ValueError, KeyError):  # a record cut short names nothing we could trust
        return None
    return process if started(process.pid) == process.started else None


def start(name: str, argv: Sequence[str], fingerprint: str) -> Process:
    """Start in a session of its own, output appended to LOGS/name.log, and record it."""
    LOGS.mkdir(parents=True, exist_ok=True)
    PROCESSES.mkdir(parents=True, exist_ok=True)
    log = LOGS / f"{name}.log"
    if log.exists() and log.stat().st_size > KEPT_LOG_BYTES:
        log.replace(log.with_suffix(".log.1"))
    # Not the caller's environment: proxies, KUBECONFIG or GOGC of whoever said `up` would act on everybody's cluster.
    env = {"PATH": SYSTEM_PATH, "HOME": str(CLUSTER), "LANG": "C.UTF-8"}
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
        (os.POSIX_SPAWN_DUP2, 1, 2),
        *((os.POSIX_SPAWN_CLOSE, number) for number in _inherited()),
    ]
    # `env -C /` (which becomes the program) because a process that stands in a clone's folder keeps it from being unmounted.
    # posix_spawn and not Popen, which warns when it is thrown away while its process runs.
    pid = os.posix_spawn(
        "/usr/bin/env",
        ["env", "-C", "/", *argv],
        env,
        file_actions=actions,
        setsid=True,
        setsigdef=[signal.SIGPIPE, signal.SIGINT],
        setsigmask=[],
    )
    moment = started(pid)
    if moment is None:
        raise ClusterError(f"{name} ended at once; see {log}")
    process = Process(pid, moment, fingerprint)
    record = PROCESSES / f"{name}.json"
    fresh = record.with_suffix(".new")
    fresh.write_text(json.dumps({"pid": pid, "started": moment, "fingerprint": fingerprint, "argv": list(argv)}))
    fresh.replace(record)
    return process


def _inherited() -> list[int]:
    """Descriptors that a new program would get beside the first three: a lock of the caller's shell would be held for ever."""
    numbers = [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]
    return [number for number in numbers if number > 2 and _is_inheritable(number)]


def _is_inheritable(number: int) -> bool:
    try:
        return os.get_inheritable(number)
    except OSError:  # the one that listed the folder
        return False


def stop(name: str, *, grace_s: float) -> bool:
    """End the recorded process: SIGTERM, after `grace_s` SIGKILL (0: at once). Tell whether there was one."""
    process = find(name)
    if process is not None:
        end(process.pid, process.started, grace_s=grace_s)
    (PROCESSES / f"{name}.json").unlink(missing_ok=True)
    return process is not None


def end(pid: int, moment: str, *, grace_s: float) -> None:
    """End the process that has this id and started at that moment, and wait until it is gone."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if started(pid) != moment:
            return
        if grace_s > 0:
            signal.pidfd_send_signal(handle, signal.SIGTERM)
            if _ended(handle, grace_s):
                return
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
        if not _ended(handle, 10.0):
            raise ClusterError(
                f"process {pid} does not end although killed: it hangs in the kernel; see /proc/{pid}/stack"
            )
    except ProcessLookupError:
        return
    finally:
        os.close(handle)
        with suppress(ChildProcessError):  # it was started by another program, whose business this is
            os.waitpid(pid, os.WNOHANG)


def _ended(handle: int, within_s: float) -> bool:
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    return bool(poll.poll(within_s * 1000))
