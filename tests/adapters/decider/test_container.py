"""The decider in a container as restricted as a cluster allows: it needs no right, and its locks hold there as well.

Once as a child of the operator, and once in a container of its own beside the operator's: another uid, no token, a folder
that the two share. Read-only root, no capabilities, no new privileges, namespaces of its own, no network, and a seccomp
profile that refuses what container runtimes refuse by default. Needs root, and installs runc where it is missing.
"""

import contextlib
import json
import os
import subprocess
import sys
import sysconfig
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import packages

REPOSITORY = Path(__file__).resolve().parents[3]
PACKAGES = sysconfig.get_paths()["purelib"]
PYTHON = f"{sys.base_prefix}/bin/python{sys.version_info.major}.{sys.version_info.minor}"
SOURCES = [str(REPOSITORY / name) for name in ("operator", "runtime", "tests")]
PYTHON_PATH = [str(REPOSITORY), *SOURCES[:2], PACKAGES]

UID, DECIDER_UID = 65532, 65533
SHARED = "/run/flowy"
TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount/token"

# What the default profiles of containerd and Docker refuse to a container without capabilities. They are lists of what
# is allowed; for calls that are younger than both this list is milder.
REFUSED = (
    "acct", "add_key", "bpf", "chroot", "clock_settime", "delete_module", "fanotify_init", "finit_module", "fsconfig",
    "fsmount", "fsopen", "fspick", "get_mempolicy", "init_module", "io_uring_enter", "io_uring_register",
    "io_uring_setup", "ioperm", "iopl", "kcmp", "kexec_load", "keyctl", "lookup_dcookie", "mbind", "mount",
    "mount_setattr", "move_mount", "open_by_handle_at", "open_tree", "perf_event_open", "personality", "pidfd_getfd",
    "pivot_root", "process_madvise", "quotactl", "reboot", "request_key", "set_mempolicy", "setdomainname",
    "sethostname", "setns", "settimeofday", "swapoff", "swapon", "syslog", "umount2", "unshare", "userfaultfd", "vhangup",
)  # fmt: skip
NEW_NAMESPACES = 0x7E020000

INSIDE = """
import asyncio, json, os, sys
sys.path[:0] = {path!r}
from flowy_operator.adapters.decider.limits import Limits
from flowy_operator.adapters.decider.pool import DeciderPool
from flowy_operator.core.errors import DecisionStalled
from tests.adapters.decider.programs import GOOD, body, native

ATTEMPTS = dict(
    token=body("return os.open({token!r}, os.O_RDONLY)"),
    shared=body("return os.listdir({shared!r})"),
    environment=body("return dict(os.environ)"),
    socket=native("return call(41, 2, 1, 0)"),
    clone=native("return call(56, 17, 0, 0, 0, 0)"),
    init=body("os.kill(1, 9)"),
    userns=native("return call(272, 0x10000000)"),
    endless=body("while True: pass"),
    memory=body("bytearray(10 << 30)"),
    address=body("return id(object())"),
)

async def main():
    pool = DeciderPool(Limits(start_s={start_s}), socket_path={socket_path!r}, shadow_share=1.0)
    await pool.start()
    told = dict(uid=os.getuid(), operator_reads=open({token!r}).read(), seccomp=pool.locks.seccomp)
    for name, asked in ATTEMPTS.items():
        try:
            answer = await pool.decide(asked, namespace="x", wall_s=20)
            told[name] = answer.result or answer.error["type"]
        except DecisionStalled as stalled:
            told[name] = stalled.reason
    answer = await pool.decide(GOOD, namespace="x", wall_s=20)
    told["good"] = [call.key for call in answer.scheduled]
    await pool.close()
    print(json.dumps(told))

asyncio.run(main())
"""
TOLD = {
    "uid": UID,
    "operator_reads": "a token",
    "seccomp": True,
    "token": "PermissionError",
    "shared": "PermissionError",
    "environment": "{}",
    "socket": "-1",
    "clone": "ForbiddenCall",
    "init": "ForbiddenCall",
    "userns": "ForbiddenCall",
    "endless": "DecisionTimeout",
    "memory": "DecisionMemory",
    "address": "NonDeterminism",
    "good": ["a-0", "a-1", "a-2"],
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """One container: as whom it runs what, and what it sees besides the interpreter and our sources."""

    command: Sequence[str]
    uid: int
    groups: Sequence[int] = ()
    token: Path | None = None
    shared: Path | None = None


def configuration(container: Container) -> Mapping[str, Any]:
    """The OCI runtime's `config.json`."""
    capabilities: dict[str, list[str]] = {
        kind: [] for kind in ("bounding", "effective", "inheritable", "permitted", "ambient")
    }
    seen = [(Path(path), path, "ro") for path in ("/usr", sys.base_prefix, PACKAGES, *SOURCES)]
    if container.token is not None:
        seen.append((container.token, TOKEN, "ro"))
    if container.shared is not None:
        seen.append((container.shared, SHARED, "rw"))
    binds = [
        {"destination": to, "type": "bind", "source": str(source), "options": ["rbind", access, "nosuid"]}
        for source, to, access in seen
    ]
    limits = ["nosuid", "nodev", "noexec"]
    return {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": container.uid, "gid": container.uid, "additionalGids": list(container.groups)},
            "args": list(container.command),
            "cwd": "/",
            "env": ["PATH=/usr/bin", "SECRET=of-the-container", f"PYTHONPATH={':'.join(PYTHON_PATH)}"],
            "capabilities": capabilities,
            "noNewPrivileges": True,
        },
        "root": {"path": "root", "readonly": True},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc", "options": limits},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
            {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": [*limits, "mode=1777", "size=64m"]},
            {"destination": "/run", "type": "tmpfs", "source": "tmpfs", "options": [*limits, "mode=755", "size=1m"]},
            *binds,
        ],
        "linux": {
            "namespaces": [{"type": kind} for kind in ("pid", "mount", "ipc", "uts", "network")],
            "seccomp": {
                "defaultAction": "SCMP_ACT_ALLOW",
                "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
                "syscalls": [
                    {"names": list(REFUSED), "action": "SCMP_ACT_ERRNO", "errnoRet": 1},
                    {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38},
                    *(
                        {
                            "names": ["clone"],
                            "action": "SCMP_ACT_ERRNO",
                            "errnoRet": 1,
                            "args": [{"index": 0, "value": bit, "valueTwo": bit, "op": "SCMP_CMP_MASKED_EQ"}],
                        }
                        for bit in (1 << n for n in range(32))
                        if bit & NEW_NAMESPACES
                    ),
                ],
            },
        },
    }


@contextlib.contextmanager
def running(folder: Path, container: Container) -> Iterator[tuple["subprocess.Popen[str]", Sequence[str]]]:
    """The container's process, and the words by which runc sends it a signal, which is to be added."""
    folder.mkdir(mode=0o755)
    root = folder / "root"
    root.mkdir()
    for name in ("bin", "lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")
    (folder / "config.json").write_text(json.dumps(configuration(container)))
    name = f"flowy-{uuid.uuid4().hex[:8]}"
    runc = ["runc", "--root", str(folder / "state")]
    process = subprocess.Popen(
        [*runc, "run", "--bundle", str(folder), name], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process, [*runc, "kill", name]
    finally:
        subprocess.run([*runc, "delete", "--force", name], capture_output=True, check=False)
        process.communicate()


def told_by(folder: Path, container: Container) -> Mapping[str, Any]:
    with running(folder, container) as (process, _):
        said, complaint = process.communicate(timeout=100)
        assert process.returncode == 0, complaint + said
        told: Mapping[str, Any] = json.loads(said)
        return told


@pytest.fixture
def token(tmp_path: Path) -> Path:
    if os.geteuid() != 0:
        pytest.fail("runc starts containers as root only: run this test as root")
    packages.ensure({"runc": "runc"})
    tmp_path.chmod(0o755)
    path = tmp_path / "token"
    path.write_text("a token")
    return path


def inside(socket_path: str | None, start_s: float = 60.0) -> list[str]:
    source = INSIDE.format(path=PYTHON_PATH, token=TOKEN, shared=SHARED, socket_path=socket_path, start_s=start_s)
    return [PYTHON, "-c", source]


def test_in_a_restricted_container_the_locks_close_and_hold(tmp_path: Path, token: Path) -> None:
    operator = Container(command=inside(None), uid=UID, token=token)
    assert told_by(tmp_path / "operator", operator) == TOLD


def test_in_a_container_of_its_own_the_decider_has_another_user_and_no_token(tmp_path: Path, token: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    os.chown(shared, 0, UID)  # as the kubelet does with a volume for an fsGroup, of which both containers are
    shared.chmod(0o2775)
    socket_path = f"{SHARED}/decider.sock"
    serve = [PYTHON, "-c", "from flowy_operator.app.cli import main; main()", "decider", "--socket", socket_path]
    decider = Container(command=[*serve, "--shadow"], uid=DECIDER_UID, groups=[UID], shared=shared)
    operator = Container(command=inside(socket_path), uid=UID, groups=[UID], token=token, shared=shared)
    stranger = Container(command=inside(socket_path, 0.2), uid=DECIDER_UID + 1, token=token, shared=shared)
    with running(tmp_path / "decider", decider) as (process, kill):
        assert process.stdout is not None
        assert "ready" in process.stdout.readline()
        assert "ready" in process.stdout.readline()
        assert told_by(tmp_path / "operator", operator) == TOLD
        # Who is not of the group gets nowhere, though it sees the folder.
        with running(tmp_path / "stranger", stranger) as (other, _):
            _, complaint = other.communicate(timeout=100)
            assert "Permission denied" in complaint
            assert "fsGroup" in complaint
        # As the first process of its container it has to see to it that SIGTERM ends it.
        subprocess.run([*kill, "TERM"], check=True)
        assert process.wait(timeout=60) == 0
