"""What a child gives up before it reads what it was asked.

Two steps: `lock` closes every door that needs no number, before the first byte is read; `limit` sets what the operator's
header names, before the first byte of the request. All of it is enforced by the kernel, whose timers end the process by
the default action of their signal: nothing here depends on the interpreter still being in order, and no supervisor has
to look.

A check that fails ends the child (`OSError`), never goes on with less.
"""

import ctypes
import math
import os
import resource
import signal

from flowy_operator.adapters.decider.frames import Allowance

CHANNEL = 3
"""The connection, and the only descriptor that leads anywhere."""

HEADER_WAIT_S = 10.0  # the pool sends its header with the connection; this ends a child whose caller never does

ZYGOTE_DESCRIPTORS = 1024  # the zygote's limit, so what a child has to close; one for each child, and a few
_DESCRIPTORS = 64  # a child needs four; the rest of this lets an import of a data file (zoneinfo) through
_PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True)
_libc.prctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong]

ENDING_SIGNALS = (signal.SIGPROF, signal.SIGALRM, signal.SIGXCPU, signal.SIGINT, signal.SIGTERM)


def restore_signals() -> None:
    """Give the ending signals their default action. Who started us may have ignored or blocked some: both are inherited."""
    for number in ENDING_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def die_with_parent() -> None:
    """Let the kernel kill this process when its parent dies.

    A parent that is dead already sends nothing: the caller has to check, after this, that it is still there.
    """
    if _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")


def lock(connection: int, null: int, parent: int) -> None:
    """Keep `connection` as `CHANNEL`, /dev/null as the standard three, and nothing else; tie the life to the zygote's."""
    for standard in range(CHANNEL):  # first, for `null` may be the number that the channel takes
        os.dup2(null, standard)
    os.dup2(connection, CHANNEL)
    os.closerange(CHANNEL + 1, ZYGOTE_DESCRIPTORS)
    die_with_parent()
    if os.getppid() != parent:
        raise ProcessLookupError("the zygote is gone")
    signal.setitimer(signal.ITIMER_REAL, HEADER_WAIT_S)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a dump would write tenants' data to the node's disk
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (_DESCRIPTORS, _DESCRIPTORS))


def limit(allowance: Allowance, base_bytes: int) -> None:
    """Set what this decision may use; `base_bytes` is what the zygote had mapped."""
    space_bytes = base_bytes + allowance.memory_bytes
    resource.setrlimit(resource.RLIMIT_AS, (space_bytes, space_bytes))
    # Whole seconds, so only behind the timer: for code that ignores SIGPROF. SIGXCPU first, a second later SIGKILL.
    cpu_s = math.ceil(allowance.cpu_ms / 1000) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 1))
    # max: a timer of 0 would be none.
    signal.setitimer(signal.ITIMER_PROF, max(allowance.cpu_ms, 1) / 1000)
    signal.setitimer(signal.ITIMER_REAL, max(allowance.wall_ms, 1) / 1000)
