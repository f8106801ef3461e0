"""The clock, frozen below Python.

The kernel maps a little library, the vDSO, into each process, and reading a clock is a call of that: no system call, so
no filter sees it. What Python's patches miss (`time.clock_gettime`, `time.process_time`, a clock read in C) would differ
from replay to replay. So the zygote replaces those functions in its private copy by a few instructions that read one
place in memory. Children inherit them, and set that place from the request. Costs nothing in a decision.

Where the kernel does not let its mapping be changed (some seal it), the patches of `flowy.replay.determinism` remain. The
processor's trap on reading its time stamp counter was tried instead (PR_SET_TSC): CPython reads the clock when it takes a
lock, so honest code died.
"""

import ctypes
import struct
import time
from collections.abc import Iterator, Mapping

from flowy_operator.adapters.decider import kernel

_AT_SYSINFO_EHDR = 33
_PAGE = 4096
_PROT_READ_EXEC, _PROT_READ_WRITE_EXEC = 0b101, 0b111
_LOADED, _DYNAMIC = 1, 2  # types of ELF program headers
_STRING_TABLE, _SYMBOL_TABLE = 5, 6  # tags of ELF dynamic entries
_SYMBOL = struct.Struct("<IBBHQQ")
_PROBE_S = 1_234_567_890.5


class FrozenClock:
    """The place that all clocks read: seconds, nanoseconds and microseconds within the second."""

    def __init__(self) -> None:
        self._slot = (ctypes.c_int64 * 3)()

    @property
    def address(self) -> int:
        return ctypes.addressof(self._slot)

    def show(self, at: float) -> None:
        """Let it be so many Unix seconds, for every clock."""
        seconds, nanoseconds = divmod(round(at * 1e9), 1_000_000_000)
        self._slot[0], self._slot[1], self._slot[2] = seconds, nanoseconds, nanoseconds // 1000


def freeze() -> FrozenClock | None:
    """Freeze the clocks of this process and its children, x86-64 only. None where that can't be done."""
    base = kernel.auxiliary_value(_AT_SYSINFO_EHDR)
    if base == 0:
        return None
    clock = FrozenClock()
    size, symbols = _symbols(base)
    patches = [(symbols[name], code) for name, code in _stubs(clock.address).items() if name in symbols]
    if any(size < len(code) for (_, size), code in patches):
        return None
    try:
        kernel.protect(base, size, _PROT_READ_WRITE_EXEC)
    except OSError:
        return None
    for (offset, _), code in patches:
        ctypes.memmove(base + offset, code, len(code))
    kernel.protect(base, size, _PROT_READ_EXEC)
    clock.show(_PROBE_S)
    is_frozen = time.clock_gettime(time.CLOCK_MONOTONIC) == _PROBE_S == time.clock_gettime(time.CLOCK_REALTIME)
    clock.show(0)
    return clock if is_frozen else None


def _stubs(slot: int) -> Mapping[str, bytes]:
    load_slot = b"\x48\xb8" + struct.pack("<Q", slot)  # mov rax, slot
    return {
        # mov rcx,[rax]; mov [rsi],rcx; mov rcx,[rax+8]; mov [rsi+8],rcx; xor eax,eax; ret
        "__vdso_clock_gettime": load_slot + b"\x48\x8b\x08\x48\x89\x0e\x48\x8b\x48\x08\x48\x89\x4e\x08\x31\xc0\xc3",
        # test rdi,rdi; jz end; the same with [rax+16] to [rdi]; end: xor eax,eax; ret
        "__vdso_gettimeofday": load_slot
        + b"\x48\x85\xff\x74\x0e\x48\x8b\x08\x48\x89\x0f\x48\x8b\x48\x10\x48\x89\x4f\x08\x31\xc0\xc3",
        # mov rax,[rax]; test rdi,rdi; jz end; mov [rdi],rax; end: ret
        "__vdso_time": load_slot + b"\x48\x8b\x00\x48\x85\xff\x74\x03\x48\x89\x07\xc3",
        # mov rax,-ENOSYS; ret: all 64 bits of it, else it is a success to glibc 2.41, which takes its randomness from here
        "__vdso_getrandom": b"\x48\xc7\xc0\xda\xff\xff\xff\xc3",
    }


def _symbols(base: int) -> tuple[int, Mapping[str, tuple[int, int]]]:
    """The library's mapped bytes in whole pages, and offset and size of what it exports."""

    def read(form: str, offset: int) -> tuple[int, ...]:
        return struct.unpack(form, ctypes.string_at(base + offset, struct.calcsize(form)))

    (headers_at,) = read("<Q", 32)
    header_size, header_count = read("<HH", 54)
    size = dynamic_at = shift = 0
    for n in range(header_count):
        kind, _, offset, address, _, _, mapped, _ = read("<IIQQQQQQ", headers_at + n * header_size)
        if kind == _LOADED:
            size, shift = mapped, address - offset
        elif kind == _DYNAMIC:
            dynamic_at = offset

    def entries() -> Iterator[tuple[int, ...]]:
        at = dynamic_at
        while (entry := read("<QQ", at))[0]:
            yield entry
            at += 16

    tables = {tag: value - shift for tag, value in entries() if tag in (_STRING_TABLE, _SYMBOL_TABLE)}
    names_at, symbols_at = tables[_STRING_TABLE], tables[_SYMBOL_TABLE]
    found = {}
    # The names follow the symbols, in every kernel so far; if not, there is no symbol, and nothing gets frozen.
    for at in range(symbols_at, names_at, _SYMBOL.size):
        name_at, _, _, section, value, length = read(_SYMBOL.format, at)
        if section and value:
            found[ctypes.string_at(base + names_at + name_at).decode()] = (value - shift, length)
    return -(-size // _PAGE) * _PAGE, found
