"""The decider in a container as restricted as a cluster allows: it needs no right, and its locks hold there as well.

Uid 65532, read-only root, no capabilities, no new privileges, namespaces of its own, and a seccomp profile that refuses
what container runtimes refuse by default. Needs root, and installs runc where it is missing.
"""

import json
import os
import subprocess
import sys
import sysconfig
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import packages

REPOSITORY = Path(__file__).resolve().parents[3]
PACKAGES = sysconfig.get_paths()["purelib"]
UID = 65532
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
from flowy_operator.adapters.decider.pool import DeciderPool
from flowy_operator.core.errors import DecisionStalled
from tests.adapters.decider.programs import GOOD, body, native

ATTEMPTS = dict(
    token=body("return os.open({token!r}, os.O_RDONLY)"),
    environment=body("return dict(os.environ)"),
    socket=native("return call(41, 2, 1, 0)"),
    clone=native("return call(56, 17, 0, 0, 0, 0)"),
    init=body("os.kill(1, 9)"),
    userns=native("return call(272, 0x10000000)"),
    endless=body("while True: pass"),
)

async def main():
    pool = DeciderPool()
    await pool.start()
    told = dict(uid=os.getuid(), operator_reads=open({token!r}).read(), locks=str(pool.locks))
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


def configuration(folder: Path, command: list[str]) -> Mapping[str, Any]:
    """The OCI runtime's `config.json`."""
    capabilities: dict[str, list[str]] = {
        kind: [] for kind in ("bounding", "effective", "inheritable", "permitted", "ambient")
    }
    seen = [(Path(path), path) for path in ("/usr", sys.base_prefix, PACKAGES, *_sources())]
    seen.append((folder / "token", TOKEN))
    binds = [
        {"destination": to, "type": "bind", "source": str(source), "options": ["rbind", "ro", "nosuid"]}
        for source, to in seen
    ]
    limits = ["nosuid", "nodev", "noexec"]
    return {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": UID, "gid": UID},
            "args": command,
            "cwd": "/",
            "env": ["PATH=/usr/bin", "SECRET=of-the-container"],
            "capabilities": capabilities,
            "noNewPrivileges": True,
        },
        "root": {"path": "root", "readonly": True},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc", "options": limits},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
            {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": [*limits, "mode=1777", "size=64m"]},
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


def _sources() -> list[str]:
    return [str(REPOSITORY / name) for name in ("operator", "runtime", "tests")]


def run_in_container(folder: Path) -> Mapping[str, Any]:
    packages.ensure({"runc": "runc"})
    folder.chmod(0o755)
    root = folder / "root"
    root.mkdir()
    for name in ("bin", "lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")
    (folder / "token").write_text("a token")
    path = [str(REPOSITORY), *_sources()[:2], PACKAGES]
    inside = INSIDE.format(path=path, token=TOKEN)
    python = f"{sys.base_prefix}/bin/python{sys.version_info.major}.{sys.version_info.minor}"
    (folder / "config.json").write_text(json.dumps(configuration(folder, [python, "-c", inside])))
    name = f"flowy-{uuid.uuid4().hex[:8]}"
    runc = ["runc", "--root", str(folder / "state")]
    try:
        run = subprocess.run(
            [*runc, "run", "--bundle", str(folder), name], capture_output=True, timeout=60, check=False, text=True
        )
    finally:
        subprocess.run([*runc, "delete", "--force", name], capture_output=True, check=False)
    assert run.returncode == 0, run.stderr + run.stdout
    told: Mapping[str, Any] = json.loads(run.stdout)
    return told


def test_in_a_restricted_container_the_locks_close_and_hold(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.fail("runc starts containers as root only: run this test as root")
    told = run_in_container(tmp_path)
    assert told == {
        "uid": UID,
        "operator_reads": "a token",
        "locks": told["locks"],
        "token": "PermissionError",
        "environment": "{}",
        "socket": "-1",
        "clone": "ForbiddenCall",
        "init": "ForbiddenCall",
        "userns": "ForbiddenCall",
        "endless": "DecisionTimeout",
        "good": ["a-0", "a-1", "a-2"],
    }
    assert "seccomp=True" in told["locks"]
