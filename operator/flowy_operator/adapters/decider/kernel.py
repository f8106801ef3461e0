"""The kernel's calls that Python has no function for. Each raises OSError: a lock that did not close must not go unnoticed.

Pointers are passed as `c_void_p`. A plain int would be cut to 32 bits by ctypes, and the kernel would be handed an
address that is not ours.
"""

import ctypes
import os

_libc = ctypes.CDLL(None, use_errno=True)
_libc.prctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong]
_libc.syscall.restype = ctypes.c_long
_libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_libc.getauxval.argtypes = [ctypes.c_ulong]
_libc.getauxval.restype = ctypes.c_ulong

# PyDLL keeps the interpreter's lock during the call, as a fork needs.
_fork = ctypes.PyDLL(None, use_errno=True).fork

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_THP_DISABLE = 41
_SET_MODE_FILTER = 1
_INSTRUCTION_BYTES = 8


class _Program(ctypes.Structure):
    """`struct sock_fprog`."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


class Filter:
    """A filter in memory, ready to be installed: made once in the zygote, so that a child only makes the call."""

    def __init__(self, program: bytes, seccomp_number: int) -> None:
        self._instructions = ctypes.create_string_buffer(program, len(program))
        self._program = _Program(len(program) // _INSTRUCTION_BYTES, ctypes.addressof(self._instructions))
        self._arguments = (
            ctypes.c_long(seccomp_number),
            ctypes.c_ulong(_SET_MODE_FILTER),
            ctypes.c_ulong(0),
            ctypes.c_void_p(ctypes.addressof(self._program)),
        )

    def install(self) -> None:
        """Put it in force for this process and its children; nothing takes it back."""
        if _libc.syscall(*self._arguments) != 0:
            _fail("seccomp")


def call(number: int, *arguments: ctypes.c_long | ctypes.c_ulong | ctypes.c_void_p) -> int:
    """A system call by number."""
    result: int = _libc.syscall(ctypes.c_long(number), *arguments)
    if result < 0:
        _fail(f"system call {number}")
    return result


def fork() -> int:
    """Fork, past the interpreter's hooks. Right only in a process of one thread.

    `os.fork` reseeds and re-initializes what a child here never uses, and copies sixty memory pages by that.
    """
    pid: int = _fork()
    if pid < 0:
        _fail("fork")
    return pid


def auxiliary_value(kind: int) -> int:
    """What the kernel told this process at its start, 0 if nothing."""
    value: int = _libc.getauxval(kind)
    return value


def protect(address: int, size_bytes: int, protection: int) -> None:
    """Change what may be done with these pages."""
    if _libc.mprotect(address, size_bytes, protection) != 0:
        _fail("mprotect")


def advise(address: int, size_bytes: int, advice: int) -> None:
    """Tell the kernel how these pages are used."""
    if _libc.madvise(address, size_bytes, advice) != 0:
        _fail("madvise")


def die_with_parent(signal_number: int) -> None:
    """Let the kernel send this when the parent dies. A parent that is dead already sends nothing: check after this."""
    _prctl(_PR_SET_PDEATHSIG, signal_number)


def no_new_privileges() -> None:
    """No setuid program gives more rights from here on; without this an unprivileged process may install no filter."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def no_huge_pages() -> None:
    """Have each page of memory be one of the smallest kind, also in children."""
    _prctl(_PR_SET_THP_DISABLE, 1)


def not_dumpable() -> None:
    """No core dumps, and /proc/<pid>/mem and ptrace are closed for the same user's other processes."""
    _prctl(_PR_SET_DUMPABLE, 0)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        _fail(f"prctl({option})")


def _fail(what: str) -> None:
    number = ctypes.get_errno()
    raise OSError(number, f"{what}: {os.strerror(number)}")
