"""The two system call filters: what the child may do, and the little more that the zygote may.

Both are lists of what is allowed; the kernel answers EPERM to everything else, so that code which only tries the wrong
thing sees a plain PermissionError. The child's filter comes on top of the zygote's, and both have to allow a call.

`getppid` under EPERM returns -1, and -1 means *everyone* to `kill`: hence `kill` is on the alarm list of the child.
"""

from flowy_operator.adapters.decider.bpf import ARCHITECTURE_AT, NUMBER_AT, Action, Assembler, high_word_at, low_word_at
from flowy_operator.adapters.decider.syscalls import Architecture

# Calls that no honest Python code makes by accident. Killed, not refused, so that an attack shows as one. A refusal would
# hold as well: nothing here depends on the list being complete.
ALARMS = (
    "add_key", "bpf", "clone", "clone3", "execve", "execveat", "finit_module", "fork", "init_module", "io_uring_setup",
    "keyctl", "kill", "memfd_create", "mount", "perf_event_open", "pidfd_getfd", "pidfd_open", "process_madvise",
    "process_vm_readv", "process_vm_writev", "ptrace", "request_key", "setns", "tkill", "unshare", "userfaultfd", "vfork",
)  # fmt: skip

# What the zygote's loop makes besides the calls with a condition below, and a child before it has its own filter. The
# rest of what is looked up in the table is there on some architectures only.
_ZYGOTE_PLAIN = (
    "accept4", "brk", "close", "close_range", "dup2", "dup3", "exit_group", "futex", "getpid", "getppid", "getsockname",
    "mremap", "munmap", "poll", "ppoll", "read", "restart_syscall", "rt_sigprocmask", "rt_sigreturn", "set_robust_list",
    "setitimer", "wait4", "write",
)  # fmt: skip

_PROT_EXEC = 0x4
_MAP_PRIVATE_ANONYMOUS = 0x22
_MAP_NORESERVE_OR_STACK = 0x4000 | 0x20000
_FORK_FLAGS = 0x01200011  # CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | SIGCHLD: what fork() of glibc passes
_PR_SET_PDEATHSIG = 1
_SET_MODE_FILTER = 1
_SIGNALS = (9, 18, 19)  # SIGKILL, SIGCONT, SIGSTOP
_LOWEST = 19
_LAST_PID = 0x7FFFFFFF


def child_filter(architecture: Architecture, channel: int) -> bytes:
    """Six calls: read and write on `channel`, memory that can't be executed, and the exit.

    mremap is not among them: it makes page tables without a page. The C library copies where it is refused.
    """
    numbers = architecture.numbers
    program = Assembler()
    _open(program, architecture)
    program.if_equal(numbers["read"], "channel()")
    program.if_equal(numbers["write"], "channel()")
    program.if_equal(numbers["mmap"], "mmap()")
    program.if_equal(numbers["munmap"], "allow")
    program.if_equal(numbers["brk"], "allow")
    program.if_equal(numbers["exit_group"], "allow")
    for name in ALARMS:
        if name in numbers:
            program.if_equal(numbers[name], "kill")
    program.answer(Action.REFUSE)

    program.label("channel()")
    _require(program, 0, channel, last=True)
    program.label("mmap()")
    # Where it likes: pages that lie far apart cost a table of 4 KiB for each, or two, which no limit counts.
    _require(program, 0, 0)
    program.load(low_word_at(2))
    program.if_any_bit(_PROT_EXEC, "refuse")
    # Exactly these flags: not shared, no file, and not MAP_FIXED, which could replace what is mapped.
    program.load(low_word_at(3))
    program.mask(0xFFFFFFFF & ~_MAP_NORESERVE_OR_STACK)
    program.if_equal(_MAP_PRIVATE_ANONYMOUS, "allow", "refuse")
    _close(program)
    return program.encode()


def zygote_filter(architecture: Architecture) -> bytes:
    """No file can be opened, no socket made, nothing executed; signals stop, continue or kill one process."""
    numbers = architecture.numbers
    program = Assembler()
    _open(program, architecture)
    for name in _ZYGOTE_PLAIN:
        if name in numbers:
            program.if_equal(numbers[name], "allow")
    for name in ("clone", "kill", "mmap", "prctl", "prlimit64", "setpriority", "seccomp", "sendto"):
        program.if_equal(numbers[name], f"{name}()")
    program.answer(Action.REFUSE)

    program.label("clone()")
    _require(program, 0, _FORK_FLAGS, last=True)
    program.label("kill()")
    program.load(high_word_at(1))
    program.if_equal(0, None, "refuse")
    program.load(low_word_at(1))
    for number in _SIGNALS:
        program.if_equal(number, "whom()")
    program.answer(Action.REFUSE)
    program.label("whom()")
    program.load(low_word_at(0))
    program.if_greater(_LAST_PID, "refuse")  # below zero: groups, or everyone
    program.if_greater(1, "allow", "refuse")
    program.label("mmap()")
    program.load(low_word_at(2))
    program.if_any_bit(_PROT_EXEC, "refuse", "allow")
    program.label("prctl()")
    _require(program, 0, _PR_SET_PDEATHSIG, last=True)
    program.label("prlimit64()")
    _require(program, 0, 0, last=True)  # its own limits only
    program.label("setpriority()")
    _require(program, 0, 0)  # a process
    _require(program, 1, 0)  # itself
    _require(program, 2, _LOWEST, last=True)
    program.label("seccomp()")
    _require(program, 0, _SET_MODE_FILTER)
    _require(program, 1, 0, last=True)
    program.label("sendto()")
    _require(program, 4, 0, last=True)  # to whom it is connected, and no address
    _close(program)
    return program.encode()


def _open(program: Assembler, architecture: Architecture) -> None:
    """Kill calls that come by another ABI, i386 or x32: their numbers mean something else. Leave the number loaded."""
    program.load(ARCHITECTURE_AT)
    program.if_equal(architecture.audit, None, "kill")
    program.load(NUMBER_AT)
    if architecture.other_abi_from is not None:
        program.if_at_least(architecture.other_abi_from, "kill")


def _require(program: Assembler, argument: int, value: int, *, last: bool = False) -> None:
    """Go on only if the argument, all 64 bits of it, has this value; after the last condition the call is allowed."""
    program.load(low_word_at(argument))
    program.if_equal(value, None, "refuse")
    program.load(high_word_at(argument))
    program.if_equal(0, "allow" if last else None, "refuse")


def _close(program: Assembler) -> None:
    program.label("refuse")
    program.answer(Action.REFUSE)
    program.label("allow")
    program.answer(Action.ALLOW)
    program.label("kill")
    program.answer(Action.KILL)
