"""What a hostile workflow would try, by group. None of it may work.

A row is the code and the ends that are right for it. `EPERM` is a refused call, `NOTHING` any other way of coming to
nothing: a module that isn't there, an error of the code. The rest are the reasons of a stalled decision.
"""

from collections.abc import Mapping
from enum import Enum

from flowy.wire.messages import Request
from flowy_operator.adapters.decider import filters
from flowy_operator.adapters.decider.syscalls import X86_64
from flowy_operator.core.errors import StallReason
from tests.adapters.decider.programs import body, native


class End(Enum):
    EPERM = "the kernel refused the call"
    NOTHING = "it failed otherwise"


EPERM, NOTHING = End
FORBIDDEN, TIMEOUT, MEMORY = StallReason.FORBIDDEN, StallReason.TIMEOUT, StallReason.MEMORY
CRASHED, MALFORMED, TOO_LARGE = StallReason.CRASHED, StallReason.MALFORMED, StallReason.TOO_LARGE
Row = tuple[Request, frozenset[End | StallReason]]


def code(text: str, *ends: End | StallReason) -> Row:
    return body(*text.splitlines()), frozenset(ends or {EPERM})


def raw(text: str, *ends: End | StallReason) -> Row:
    return native(*text.splitlines()), frozenset(ends or {EPERM})


def system_call(name: str, number: int, arguments: str, *ends: End | StallReason) -> tuple[str, Row]:
    return f"{name}, native", raw(f"return call({number}, {arguments})", *ends)


BUFFER = "ctypes.create_string_buffer(256)"


def files(sentinel: str) -> Mapping[str, Row]:
    """Reading and changing files; `sentinel` must stay as it is."""
    path = repr(sentinel)
    raw_path = f"ctypes.c_char_p({sentinel.encode()!r})"
    rows = {
        "io.open": code(f"import io\nreturn io.open({path}).read()"),
        "io.FileIO": code(f"import io\nreturn str(io.FileIO({path}).read())"),
        "io.open_code": code(f"import io\nreturn str(io.open_code({path}).read())"),
        "os.open": code(f"return os.open({path}, os.O_RDONLY)"),
        "_io of sys.modules": code(f"return sys.modules['_io'].open({path}).read()"),
        "a loader's get_data": code(f"import importlib\nreturn str(importlib._bootstrap_external.FileLoader('x', 'y').get_data({path}))"),
        "linecache": code(f"import linecache\nreturn str(linecache.getlines({path})[0])", NOTHING),
        "writing": code(f"import io\nreturn io.FileIO({path}, 'w').write(b'x')"),
        "appending": code(f"return os.open({path}, os.O_WRONLY | os.O_APPEND)"),
        "creating": code(f"return os.open({path} + '.new', os.O_WRONLY | os.O_CREAT, 0o600)"),
        "unlink": code(f"os.unlink({path})"),
        "rename": code(f"os.rename({path}, {path} + '.moved')"),
        "truncate": code(f"os.truncate({path}, 0)"),
        "chmod": code(f"os.chmod({path}, 0o777)"),
        "link": code(f"os.link({path}, {path} + '.link')"),
        "symlink": code(f"os.symlink({path}, {path} + '.link')"),
        "mkdir": code(f"os.mkdir({path} + '.folder')"),
        "mkfifo": code(f"os.mkfifo({path} + '.fifo')"),
        "utime": code(f"os.utime({path}, (0, 0))"),
        "listing /": code("return os.listdir('/')"),
        "scandir": code("return [e.name for e in os.scandir('/')]"),
        "stat": code(f"return os.stat({path}).st_size"),
        "statvfs": code("return os.statvfs('/').f_bsize"),
        "access": code(f"assert os.access({path}, os.R_OK)", NOTHING),
        "readlink": code("return os.readlink('/proc/self/exe')"),
        "the current folder": code("return os.getcwd()"),
        "changing the folder": code("os.chdir('/')"),
        "chroot": code("os.chroot('/')"),
        "a memory-mapped file": raw("return call(9, 0, 4096, 1, 2, 3, 0)"),
    }  # fmt: skip
    for place in (
        "/proc/self/environ", "/proc/self/mem", "/proc/self/maps", "/proc/1/environ", "/proc/self/fd/3", "/dev/urandom",
        "/etc/passwd", "/root/.kube/config", "/var/run/secrets/kubernetes.io/serviceaccount/token", "/sys/kernel/notes",
    ):  # fmt: skip
        rows[f"opening {place}"] = code(f"return os.open({place!r}, os.O_RDONLY)")
    for name, number, arguments in (
        ("open", 2, f"{raw_path}, 0"),
        ("openat", 257, f"-100, {raw_path}, 0"),
        ("openat2", 437, f"-100, {raw_path}, {BUFFER}, 24"),
        ("open_by_handle_at", 304, "-100, 0, 0"),
        ("statx", 332, f"-100, {raw_path}, 0, 0, {BUFFER}"),
        ("open_tree", 428, "-100, 0, 0"),
        ("fsopen", 430, "0, 0"),
        ("pivot_root", 155, "0, 0"),
        ("umount2", 166, f"{raw_path}, 0"),
        ("sendfile", 40, "3, 3, 0, 1"),
        ("splice", 275, "3, 0, 3, 0, 1, 0"),
    ):
        rows |= [system_call(name, number, arguments)]
    return rows


_SOCKETS = "frame = sys._getframe()\nwhile 'socket' not in frame.f_globals: frame = frame.f_back\nsocket = frame.f_globals['socket']\n"

NETWORK = {
    "importing socket": code("import socket", NOTHING),
    "a TCP socket": code(_SOCKETS + "socket.socket().connect(('127.0.0.1', 80))"),
    "a unix socket": code(_SOCKETS + "socket.socket(socket.AF_UNIX)"),
    "a pair": code(_SOCKETS + "socket.socketpair()"),
    "a name": code(_SOCKETS + "return str(socket.getaddrinfo('localhost', 80))", NOTHING, EPERM, CRASHED),
    "sending a descriptor": code(_SOCKETS + "socket.send_fds(socket.socket(1, 1, 0, fileno=3), [b'x'], [3])"),
    "receiving a descriptor": code(_SOCKETS + "socket.recv_fds(socket.socket(1, 1, 0, fileno=3), 10, 4)"),
    "shutting the channel": code(_SOCKETS + "socket.socket(1, 1, 0, fileno=3).shutdown(2)"),
    "the zygote's listener": raw("got = {call(288, n, 0, 0, 0) for n in range(64)}\nreturn max(got)"),
} | dict(
    [
        system_call("a netlink socket", 41, "16, 3, 0"),
        system_call("a vsock", 41, "40, 1, 0"),
        system_call("a raw socket", 41, "2, 3, 1"),
        system_call("socketpair", 53, f"1, 1, 0, {BUFFER}"),
        system_call("connect", 42, f"3, {BUFFER}, 16"),
        system_call("bind", 49, f"3, {BUFFER}, 16"),
        system_call("sendmsg", 46, f"3, {BUFFER}, 0"),
        system_call("recvmsg", 47, f"3, {BUFFER}, 0"),
        system_call("sendto an address", 44, f"3, {BUFFER}, 1, 0, {BUFFER}, 16"),
    ]
)

PROCESSES = {
    "os.fork": code("os.fork()", FORBIDDEN),
    "forkpty": code("os.forkpty()", EPERM, FORBIDDEN),
    "os.system": code("assert os.system('id') == 0", NOTHING, FORBIDDEN),
    "posix_spawn": code("os.posix_spawn('/bin/id', ['id'], {})", FORBIDDEN, EPERM),
    "execv": code("os.execv('/bin/sh', ['sh'])", FORBIDDEN),
    "subprocess": code("import subprocess", NOTHING),
    "multiprocessing": code("import multiprocessing", NOTHING),
    "threading": code("import threading", NOTHING),
    "asyncio": code("import asyncio", NOTHING),
    "a thread": code("import _thread\n_thread.start_new_thread(print, ())", NOTHING),
    "a walk over subclasses to os": code(
        "found = [c for c in object.__subclasses__() if c.__name__ == '_wrap_close']\n"
        "assert found[0].__init__.__globals__['system']('id') == 0",
        NOTHING,
        FORBIDDEN,
    ),
    "the zygote's own fork": raw("frame.f_globals['lockdown'].kernel.fork()", FORBIDDEN),
    "popen of libc": raw("assert libc.popen(b'id', b'r')", NOTHING, FORBIDDEN),
}

SIGNALS = {
    "killing its parent": code("os.kill(os.getppid(), 9)", FORBIDDEN),
    "killing everyone": code("os.kill(-1, 9)", FORBIDDEN),
    "killing init": code("os.kill(1, 9)", FORBIDDEN),
    "killing its group": code("os.killpg(0, 9)", FORBIDDEN, EPERM),
    "stopping itself": code("import signal\nos.kill(os.getpid(), signal.SIGSTOP)", FORBIDDEN),
    "raising": code("import signal\nsignal.raise_signal(signal.SIGALRM)"),
    "a handler": code("import signal\nsignal.signal(signal.SIGPROF, signal.SIG_IGN)"),
    "another timer": code("import signal\nsignal.setitimer(signal.ITIMER_PROF, 0)", NOTHING),
    "alarm(0)": raw("return call(37, 0)"),
    "blocking signals": code("import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])"),
} | dict(
    [
        system_call("tgkill", 234, "1, 1, 9"),
        system_call("rt_sigqueueinfo", 129, f"1, 9, {BUFFER}"),
        system_call("rt_sigaction", 13, f"27, {BUFFER}, 0, 8"),
        system_call("rt_sigprocmask", 14, f"0, {BUFFER}, 0, 8"),
        system_call("pidfd_send_signal", 424, "3, 9, 0, 0"),
        system_call("signalfd", 282, f"-1, {BUFFER}, 8"),
        system_call("timer_create", 222, f"0, 0, {BUFFER}"),
    ]
)

ALARMS = {
    f"alarm: {name}": raw(f"return call({X86_64.numbers[name]}, 0, 0, 0, 0, 0, 0)", FORBIDDEN)
    for name in filters.ALARMS
}

UNDOING = dict(
    [
        system_call("prlimit64", 302, f"0, 0, {BUFFER}, 0"),
        system_call("setrlimit", 160, f"0, {BUFFER}"),
        system_call("dumpable", 157, "4, 1, 0, 0, 0"),
        system_call("outliving the zygote", 157, "1, 0, 0, 0, 0"),
        system_call("new privileges", 157, "38, 0, 0, 0, 0"),
        system_call("seccomp by prctl", 157, "22, 0, 0, 0, 0"),
        system_call("another filter", 317, f"1, 0, {BUFFER}"),
        system_call("strict mode", 317, "0, 0, 0"),
        system_call("executable memory", 9, "0, 4096, 7, 0x22, -1, 0"),
        system_call("shared memory", 9, "0, 4096, 3, 0x21, -1, 0"),
        system_call("memory over what is there", 9, "0x10000, 4096, 3, 0x32, -1, 0"),
        system_call("memory far away", 9, "0x100000000000, 4096, 1, 0x22, -1, 0"),
        system_call("mprotect", 10, "0x10000, 4096, 7"),
        system_call("pkey_mprotect", 329, "0x10000, 4096, 7, 0"),
        system_call("mremap", 25, "0x10000, 4096, 8192, 1, 0"),
        system_call("mremap to a place", 25, "0x10000, 4096, 4096, 3, 0x20000"),
        system_call("remap_file_pages", 216, "0x10000, 4096, 0, 0, 0"),
        system_call("madvise", 28, "0x10000, 4096, 4"),
        system_call("shmget", 29, "0, 4096, 0o1600"),
        system_call("msgget", 68, "0, 0o1600"),
        system_call("io_uring_enter", 426, "3, 1, 1, 0, 0, 0"),
        system_call("io_setup", 206, f"1, {BUFFER}"),
        system_call("personality", 135, "0x40000"),
        system_call("setuid", 105, "0"),
        system_call("setns by a thread", 186, ""),
        system_call("capset", 126, f"{BUFFER}, {BUFFER}"),
        system_call("modify_ldt", 154, f"1, {BUFFER}, 16"),
        system_call("arch_prctl", 158, "0x1002, 0"),
        system_call("landlock again", 444, "0, 0, 1"),
        system_call("dup of the channel", 32, "3"),
        system_call("closing the channel", 3, "3"),
        system_call("ioctl on the channel", 16, "3, 0x541B, 0"),
        system_call("fcntl on the channel", 72, "3, 4, 2048"),
        system_call("readv", 19, f"3, {BUFFER}, 1"),
        system_call("pread", 17, f"3, {BUFFER}, 1, 0"),
        system_call("the nodes's name", 63, BUFFER),
        system_call("the kernel's log", 103, f"3, {BUFFER}, 9"),
        system_call("reboot", 169, "0, 0, 0"),
        system_call("the real clock", 228, f"0, {BUFFER}"),
        system_call("the kernel's randomness", 318, f"{BUFFER}, 8, 0"),
        system_call("read of another descriptor", 0, f"0, {BUFFER}, 1"),
        system_call("write to another descriptor", 1, f"2, {BUFFER}, 1"),
        system_call("x32 getpid", 0x40000000 | 39, "0", FORBIDDEN),
        system_call("x32 execve", 0x40000000 | 520, "0, 0, 0", FORBIDDEN),
    ]
) | {
    # int 0x80 stands somewhere in the code of a library or of the interpreter by chance; what follows is never reached.
    "the i386 calls": raw(
        "places = libc.getpid, libc.qsort, ctypes.pythonapi.PyList_New, ctypes.pythonapi.PyObject_Repr\n"
        "starts = [ctypes.cast(place, ctypes.c_void_p).value for place in places]\n"
        "found = [(start, ctypes.string_at(start, 400_000).find(bytes([0xCD, 0x80]))) for start in starts]\n"
        "at = next(start + offset for start, offset in found if offset >= 0)\n"
        "ctypes.CFUNCTYPE(ctypes.c_int)(at)()",
        FORBIDDEN,
        CRASHED,
    ),
    "resource limits by Python": code(
        "frame = sys._getframe()\nwhile 'lockdown' not in frame.f_globals: frame = frame.f_back\n"
        "resource = frame.f_globals['lockdown'].resource\nresource.setrlimit(resource.RLIMIT_CPU, (999, 999))",
        NOTHING,  # ValueError, into which the module turns EPERM
    ),
}  # fmt: skip

LATE_IMPORTS = {
    f"importing {name}": code(f"import {name}", NOTHING)
    for name in ("ssl", "sqlite3", "_testcapi", "http.client", "xml.etree.ElementTree", "pty", "mmap", "ctypes")
} | {
    "dlopen": raw("ctypes.CDLL('libm.so.6.1')", NOTHING, EPERM),
    "create_dynamic": code(
        "import _imp, importlib\n_imp.create_dynamic(importlib._bootstrap.ModuleSpec('x', None, origin='/x.so'))",
        NOTHING,
    ),
}

EXHAUSTION = {
    "10 GB": code("bytearray(10 << 30)", MEMORY),
    "a list": code("kept = []\nwhile True: kept.append('x' * 1000)", MEMORY, TIMEOUT),
    "a doubling string": code("text = 'x'\nwhile True: text += text", MEMORY),
    "a dict": code("kept = {}\nfor n in range(10**9): kept[n] = n", MEMORY, TIMEOUT),
    "mmap in a loop": raw("while True: assert call(9, 0, 1 << 24, 3, 0x4022, -1, 0) > 0", NOTHING),
    "brk": raw("at = call(12, 0)\nassert call(12, at + (1 << 34)) > at + (1 << 33)", NOTHING),
    "while True": code("while True: pass", TIMEOUT),
    "9**9**9": code("9**9**9", TIMEOUT),
    "a loop in C": code("import collections, itertools\ncollections.deque(itertools.repeat(0), maxlen=0)", TIMEOUT),
    "backtracking": code("import re\nre.match(r'(a+)+$', 'a' * 40 + 'b')", TIMEOUT),
    "swallowing all": code("while True:\n    try:\n        while True: pass\n    except BaseException: pass", TIMEOUT),
    "waiting on the channel": code("os.read(3, 1)", TIMEOUT),
    "a deadlock": code("import _thread\nlock = _thread.allocate_lock()\nlock.acquire()\nlock.acquire()", TIMEOUT, CRASHED),
    "sleeping": raw("return call(35, ctypes.create_string_buffer(b'\\1' * 16, 16), 0)"),
    "a flood on the channel": code("while True: os.write(3, b'x' * 65536)", MALFORMED),
    "a forged header": code("os.write(3, b'\\xff' * 4)\nos._exit(0)", MALFORMED, TOO_LARGE, CRASHED),
    "256 MB of result": code("return 'x' * (1 << 28)", MEMORY),
    "a nest of lists": code("os.write(3, bytes([0, 1, 0, 0]) + b'[' * 65536)", MALFORMED),
    "a number of a million digits": code("os.write(3, (900_000).to_bytes(4, 'big') + b'9' * 900_000)", MALFORMED),
    "no answer": code("os._exit(0)", CRASHED),
    "a NULL pointer": raw("ctypes.string_at(0)", CRASHED),
    "abort": code("os.abort()", CRASHED),
    "bad bytecode": code("def f(): pass\nf.__code__ = f.__code__.replace(co_code=b'\\x64\\xff' * 50, co_consts=())\nf()", CRASHED),
    "recursion without limit": code("sys.setrecursionlimit(10**9)\ndef f(): f()\nf()", CRASHED, MEMORY, TIMEOUT),
    "a million brackets": code("eval('(' * 200000 + ')' * 200000)", NOTHING, CRASHED, MEMORY),
    "unmapping its own code": raw(
        "at = ctypes.cast(libc.getpid, ctypes.c_void_p).value & ~4095\ncall(11, at - (1 << 20), 1 << 21)", CRASHED, NOTHING
    ),
}  # fmt: skip
