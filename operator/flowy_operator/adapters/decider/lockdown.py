"""What the zygote gives up before its first fork, and a child before it reads what it was asked.

The zygote's locks (`lock_zygote`) are inherited: no new privileges, not dumpable, a frozen clock, Landlock, a filter of system calls. A
child adds three steps: `lock` closes every door that needs no number, before the first byte is read; `limit` sets what
the operator's header names; `seal` leaves it six system calls, before the first byte of the request. All of it is
enforced by the kernel, whose timers end the process by the default action of their signal: nothing here depends on the
interpreter still being in order, and no supervisor has to look.

A step that fails raises, and the process ends; it never goes on with less. The one exception is the operator's explicit
`Strictness.INSECURE`.
"""

import contextlib
import math
import os
import resource
import signal
from dataclasses import dataclass

from flowy_operator.adapters.decider import filters, kernel, landlock, syscalls, vdso
from flowy_operator.adapters.decider.frames import Allowance, Locks, Strictness
from flowy_operator.adapters.decider.kernel import Filter
from flowy_operator.adapters.decider.vdso import FrozenClock

CHANNEL = 3
"""The connection, and a child's only descriptor."""

# The zygote's limit, so what a child has to close: one for each child, of which a thousand may stay, and a few. Where fewer
# are allowed, connections wait for one.
ZYGOTE_DESCRIPTORS = 4096

ENDING_SIGNALS = (signal.SIGPROF, signal.SIGALRM, signal.SIGXCPU, signal.SIGINT, signal.SIGTERM)


class LockRefused(Exception):
    """The zygote can't be locked, so it must not serve. `str()` is for the person who started the operator."""


@dataclass(frozen=True, slots=True)
class ZygoteLocks:
    """What is in force in the zygote; the filter that each child adds and the clock that it sets (None: there is none)."""

    in_force: Locks
    child_filter: Filter | None = None
    clock: FrozenClock | None = None


def restore_signals() -> None:
    """Give the ending signals their default action. Who started us may have ignored or blocked some: both are inherited."""
    for number in ENDING_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def lock_zygote(strictness: Strictness) -> ZygoteLocks:
    """Lock this process for good. Everything has to be imported, read and bound before. Raises `LockRefused`."""
    try:
        architecture = syscalls.architecture_of()
    except syscalls.UnknownArchitecture as error:
        if strictness is Strictness.REQUIRED:
            raise LockRefused(_refusal(str(error))) from error
        return ZygoteLocks(Locks())
    kernel.no_new_privileges()
    kernel.not_dumpable()
    with contextlib.suppress(OSError):  # of a kernel that has none; see `proof.bounds_who_stays`
        kernel.no_huge_pages()
    clock = vdso.freeze()
    version = landlock.forbid_all(architecture)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a dump would write tenants' data to the node's disk
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    seccomp = architecture.numbers["seccomp"]
    child_filter = Filter(filters.child_filter(architecture, CHANNEL), seccomp)
    try:
        Filter(filters.zygote_filter(architecture), seccomp).install()
    except OSError as error:
        if strictness is Strictness.REQUIRED:
            raise LockRefused(_refusal(f"the kernel refuses a filter of system calls ({error.strerror})")) from error
        return ZygoteLocks(Locks(landlock=version, frozen_clock=clock is not None), clock=clock)
    in_force = Locks(seccomp=True, landlock=version, frozen_clock=clock is not None)
    return ZygoteLocks(in_force, child_filter, clock)


def _refusal(cause: str) -> str:
    return (
        f"The decider can't lock workflow code in: {cause}. Without this lock, code in a Workflow could do whatever the "
        "operator can; if you trust everyone who may create Workflows, --insecure-decider goes on without it"
    )


def lock(connection: int, parent: int) -> None:
    """Keep `connection` as `CHANNEL` and no other descriptor; tie the life to the zygote's."""
    os.dup2(connection, CHANNEL)
    os.closerange(CHANNEL + 1, ZYGOTE_DESCRIPTORS)
    os.closerange(0, CHANNEL)  # not even /dev/null: no file is opened any more that could take a standard number
    kernel.die_with_parent(signal.SIGKILL)
    if os.getppid() != parent:
        raise ProcessLookupError("the zygote is gone")
    resource.setrlimit(resource.RLIMIT_NOFILE, (CHANNEL + 1, CHANNEL + 1))


def limit(allowance: Allowance, base_bytes: int) -> None:
    """Set what this decision may use; `base_bytes` is what the zygote had mapped."""
    if allowance.niceness:
        with contextlib.suppress(OSError):  # where it is refused, nothing is unsafe
            os.setpriority(os.PRIO_PROCESS, 0, allowance.niceness)
    space_bytes = base_bytes + allowance.memory_bytes
    resource.setrlimit(resource.RLIMIT_AS, (space_bytes, space_bytes))
    # Whole seconds, so only behind the timer. SIGXCPU first, a second later SIGKILL.
    cpu_s = math.ceil(allowance.cpu_ms / 1000) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 1))
    # max: a timer of 0 would be none.
    signal.setitimer(signal.ITIMER_PROF, max(allowance.cpu_ms, 1) / 1000)
    signal.setitimer(signal.ITIMER_REAL, max(allowance.stay_ms or allowance.wall_ms, 1) / 1000)


def seal(child_filter: Filter | None) -> None:
    """Leave six system calls. The limits above can't be set, nor lifted, after this."""
    if child_filter is not None:
        child_filter.install()
