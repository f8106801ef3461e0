"""The system calls that the filters name, by architecture.

A number means another call on another architecture, so that a filter of the wrong table would allow anything. An
architecture is used only when it is `proven`: when the sweep over all its numbers and the escapes have run on it.
"""

import platform
from collections.abc import Mapping
from dataclasses import dataclass


class UnknownArchitecture(Exception):
    """No filter can be made for this machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """`audit` is the kernel's own name for it; numbers from `other_abi_from` on belong to a second table (x32)."""

    name: str
    audit: int
    other_abi_from: int | None
    numbers: Mapping[str, int]
    proven: bool


X86_64 = Architecture(
    name="x86_64",
    audit=0xC000003E,
    other_abi_from=0x40000000,
    proven=True,
    numbers={
        "read": 0, "write": 1, "close": 3, "poll": 7, "mmap": 9, "munmap": 11, "brk": 12, "rt_sigprocmask": 14,
        "rt_sigreturn": 15, "mremap": 25, "dup2": 33, "setitimer": 38, "getpid": 39, "sendto": 44, "getsockname": 51,
        "clone": 56, "fork": 57, "vfork": 58, "execve": 59, "wait4": 61, "kill": 62, "ptrace": 101, "getppid": 110,
        "setpriority": 141, "prctl": 157, "mount": 165, "init_module": 175, "tkill": 200, "futex": 202, "restart_syscall": 219,
        "exit_group": 231, "add_key": 248, "request_key": 249, "keyctl": 250, "ppoll": 271, "unshare": 272,
        "set_robust_list": 273, "accept4": 288, "perf_event_open": 298, "prlimit64": 302, "setns": 308,
        "process_vm_readv": 310, "process_vm_writev": 311, "finit_module": 313, "seccomp": 317, "memfd_create": 319,
        "bpf": 321, "execveat": 322, "userfaultfd": 323, "io_uring_setup": 425, "pidfd_open": 434, "clone3": 435,
        "close_range": 436, "pidfd_getfd": 438, "process_madvise": 440, "landlock_create_ruleset": 444,
        "landlock_restrict_self": 446,
    },
)  # fmt: skip

# The generic table of the newer architectures: no fork, vfork, poll or dup2.
AARCH64 = Architecture(
    name="aarch64",
    audit=0xC00000B7,
    other_abi_from=None,
    proven=False,
    numbers={
        "dup3": 24, "mount": 40, "close": 57, "read": 63, "write": 64, "ppoll": 73, "exit_group": 94, "unshare": 97,
        "futex": 98, "set_robust_list": 99, "setitimer": 103, "init_module": 105, "ptrace": 117, "restart_syscall": 128,
        "kill": 129, "tkill": 130, "rt_sigprocmask": 135, "rt_sigreturn": 139, "setpriority": 140, "prctl": 167, "getpid": 172,
        "getppid": 173, "getsockname": 204, "sendto": 206, "brk": 214, "munmap": 215, "mremap": 216, "add_key": 217,
        "request_key": 218, "keyctl": 219, "clone": 220, "execve": 221, "mmap": 222, "perf_event_open": 241,
        "accept4": 242, "wait4": 260, "prlimit64": 261, "setns": 268, "process_vm_readv": 270,
        "process_vm_writev": 271, "finit_module": 273, "seccomp": 277, "memfd_create": 279, "bpf": 280,
        "execveat": 281, "userfaultfd": 282, "io_uring_setup": 425, "pidfd_open": 434, "clone3": 435,
        "close_range": 436, "pidfd_getfd": 438, "process_madvise": 440, "landlock_create_ruleset": 444,
        "landlock_restrict_self": 446,
    },
)  # fmt: skip

_BY_NAME = {architecture.name: architecture for architecture in (X86_64, AARCH64)}


def architecture_of(machine: str = platform.machine()) -> Architecture:
    """The table for a machine, as `uname -m` calls it. Raises `UnknownArchitecture`."""
    found = _BY_NAME.get(machine)
    if found is None:
        raise UnknownArchitecture(f"there is no table of system calls for the architecture {machine!r}")
    if not found.proven:
        raise UnknownArchitecture(f"the table of system calls for {machine!r} is not proven yet")
    return found
