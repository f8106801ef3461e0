"""The filters as the kernel reads them: interpreted here over every system call number, on both architectures."""

import struct
from collections.abc import Iterator

import pytest

from flowy_operator.adapters.decider import filters, syscalls
from flowy_operator.adapters.decider.bpf import Action, Assembler
from flowy_operator.adapters.decider.syscalls import AARCH64, X86_64, Architecture

CHANNEL = 3
NUMBERS = (*range(600), 0x3FFFFFFF)
ARCHITECTURES = pytest.mark.parametrize("architecture", [X86_64, AARCH64], ids=lambda a: a.name)
I386 = 0x40000003


def run(program: bytes, number: int, *arguments: int, audit: int) -> Action:
    """What the kernel's interpreter does, for the instructions that we use."""
    padded = (*arguments, *(0,) * (6 - len(arguments)))
    data = struct.pack("<IIQ6Q", number, audit, 0, *(a & (2**64 - 1) for a in padded))
    code = [struct.unpack_from("<HBBI", program, at) for at in range(0, len(program), 8)]
    accumulator = at = 0
    while True:
        opcode, then, otherwise, operand = code[at]
        at += 1
        match opcode:
            case 0x20:
                (accumulator,) = struct.unpack_from("<I", data, operand)
            case 0x54:
                accumulator &= operand
            case 0x15:
                at += then if accumulator == operand else otherwise
            case 0x25:
                at += then if accumulator > operand else otherwise
            case 0x35:
                at += then if accumulator >= operand else otherwise
            case 0x45:
                at += then if accumulator & operand else otherwise
            case 0x06:
                return Action(operand)
            case _:
                raise AssertionError(opcode)


def answers(program: bytes, architecture: Architecture, *arguments: int) -> Iterator[tuple[int, Action]]:
    for number in NUMBERS:
        yield number, run(program, number, *arguments, audit=architecture.audit)


@ARCHITECTURES
def test_a_child_has_six_calls(architecture: Architecture) -> None:
    program = filters.child_filter(architecture, CHANNEL)
    numbers = architecture.numbers
    # Arguments under which they are right: fd 3; and for mmap where it likes, no EXEC, PRIVATE | ANONYMOUS.
    got = {n for n, action in answers(program, architecture, 3, 0, 3, 0x22) if action is Action.ALLOW}
    assert got == {numbers[name] for name in ("read", "write", "munmap", "brk", "exit_group")}
    got = {n for n, action in answers(program, architecture, 0, 0, 3, 0x22) if action is Action.ALLOW}
    assert got == {numbers[name] for name in ("mmap", "munmap", "brk", "exit_group")}


@ARCHITECTURES
def test_alarms_kill_and_all_else_is_refused(architecture: Architecture) -> None:
    program = filters.child_filter(architecture, CHANNEL)
    killed = {n for n, action in answers(program, architecture) if action is Action.KILL}
    assert killed == {architecture.numbers[name] for name in filters.ALARMS if name in architecture.numbers}
    plain = {architecture.numbers[name] for name in ("munmap", "brk", "exit_group")}
    assert {n for n, action in answers(program, architecture) if action is Action.ALLOW} == plain


@ARCHITECTURES
def test_the_zygote_opens_nothing_and_executes_nothing(architecture: Architecture) -> None:
    program = filters.zygote_filter(architecture)
    allowed = {n for n, action in answers(program, architecture) if action is Action.ALLOW}
    names = {name for name, number in architecture.numbers.items() if number in allowed}
    assert len(names) == len(allowed)  # nothing but what the table names
    assert not names & {"execve", "execveat", "fork", "vfork", "clone3", "kill", "clone", "ptrace", "seccomp", "bpf"}


CHILD_CASES = {
    "read from the channel": ("read", (3,), Action.ALLOW),
    "read from standard input": ("read", (0,), Action.REFUSE),
    "read from 3 and a high word": ("read", (3 | 1 << 32,), Action.REFUSE),
    "write to standard error": ("write", (2,), Action.REFUSE),
    "write to -1": ("write", (-1,), Action.REFUSE),
    "memory": ("mmap", (0, 4096, 3, 0x22, -1), Action.ALLOW),
    "memory without reserve": ("mmap", (0, 4096, 3, 0x4022, -1), Action.ALLOW),
    "a stack": ("mmap", (0, 4096, 3, 0x20022, -1), Action.ALLOW),
    "memory to execute": ("mmap", (0, 4096, 7, 0x22, -1), Action.REFUSE),
    "shared memory": ("mmap", (0, 4096, 3, 0x21, -1), Action.REFUSE),
    "memory at a fixed place": ("mmap", (4096, 4096, 3, 0x32, -1), Action.REFUSE),
    "memory of a file": ("mmap", (0, 4096, 1, 0x2, 3), Action.REFUSE),
    "huge pages": ("mmap", (0, 4096, 3, 0x40022, -1), Action.REFUSE),
    "memory where it would like it": ("mmap", (4096, 4096, 3, 0x22, -1), Action.REFUSE),
    "memory far above": ("mmap", (1 << 40, 4096, 3, 0x22, -1), Action.REFUSE),
    "growing": ("mremap", (4096, 4096, 8192, 1), Action.REFUSE),
    "a fork": ("clone", (0x1200011,), Action.KILL),
    "a signal": ("kill", (-1, 9), Action.KILL),
    "another filter": ("seccomp", (1, 0), Action.REFUSE),
    "a limit": ("prlimit64", (0, 0), Action.REFUSE),
}
ZYGOTE_CASES = {
    "a fork": ("clone", (0x1200011,), Action.ALLOW),
    "a thread": ("clone", (0x3D0F00,), Action.REFUSE),
    "a namespace": ("clone", (0x10000000 | 17,), Action.REFUSE),
    "the end of a child": ("kill", (77, 9), Action.ALLOW),
    "the rest of a child": ("kill", (77, 19), Action.ALLOW),
    "that it goes on": ("kill", (77, 18), Action.ALLOW),
    "another signal": ("kill", (77, 15), Action.REFUSE),
    "a signal of more bits than it has": ("kill", (77, 9 + 2**32), Action.REFUSE),
    "the rest of everyone": ("kill", (-1, 19), Action.REFUSE),
    "the end of everyone": ("kill", (-1, 9), Action.REFUSE),
    "the end of everyone as 32 bits": ("kill", (0xFFFFFFFF, 9), Action.REFUSE),
    "the end of its group": ("kill", (0, 9), Action.REFUSE),
    "the end of init": ("kill", (1, 9), Action.REFUSE),
    "memory": ("mmap", (0, 4096, 3, 0x22), Action.ALLOW),
    "memory to execute": ("mmap", (0, 4096, 5, 0x22), Action.REFUSE),
    "the signal at a parent's death": ("prctl", (1, 9), Action.ALLOW),
    "dumpable again": ("prctl", (4, 1), Action.REFUSE),
    "its own limits": ("prlimit64", (0, 9), Action.ALLOW),
    "another's limits": ("prlimit64", (77, 9), Action.REFUSE),
    "its own lowest priority": ("setpriority", (0, 0, 19), Action.ALLOW),
    "another's priority": ("setpriority", (0, 77, 19), Action.REFUSE),
    "its group's priority": ("setpriority", (1, 0, 19), Action.REFUSE),
    "a higher priority": ("setpriority", (0, 0, -5), Action.REFUSE),
    "a filter": ("seccomp", (1, 0), Action.ALLOW),
    "a filter with a listener": ("seccomp", (1, 8), Action.REFUSE),
    "strict mode": ("seccomp", (0, 0), Action.REFUSE),
    "an ending": ("sendto", (9, 1, 20, 64, 0), Action.ALLOW),
    "a message to an address": ("sendto", (9, 1, 20, 64, 1 << 40), Action.REFUSE),
}


@ARCHITECTURES
@pytest.mark.parametrize(("name", "arguments", "expected"), CHILD_CASES.values(), ids=CHILD_CASES)
def test_a_childs_conditions(
    architecture: Architecture, name: str, arguments: tuple[int, ...], expected: Action
) -> None:
    program = filters.child_filter(architecture, CHANNEL)
    assert run(program, architecture.numbers[name], *arguments, audit=architecture.audit) is expected


@ARCHITECTURES
@pytest.mark.parametrize(("name", "arguments", "expected"), ZYGOTE_CASES.values(), ids=ZYGOTE_CASES)
def test_the_zygotes_conditions(
    architecture: Architecture, name: str, arguments: tuple[int, ...], expected: Action
) -> None:
    program = filters.zygote_filter(architecture)
    assert run(program, architecture.numbers[name], *arguments, audit=architecture.audit) is expected


@pytest.mark.parametrize("program", [filters.child_filter(X86_64, CHANNEL), filters.zygote_filter(X86_64)])
def test_other_abis_are_killed(program: bytes) -> None:
    for number in NUMBERS:
        assert run(program, number, audit=I386) is Action.KILL
        assert run(program, number, audit=AARCH64.audit) is Action.KILL
        assert run(program, 0x40000000 | number, audit=X86_64.audit) is Action.KILL
    assert run(program, -1 & 0xFFFFFFFF, audit=X86_64.audit) is Action.KILL


def test_the_filter_stays_short() -> None:
    """Each instruction costs a microsecond in each child."""
    assert len(filters.child_filter(X86_64, CHANNEL)) // 8 <= 60


def test_no_number_is_named_twice() -> None:
    for architecture in (X86_64, AARCH64):
        assert len(set(architecture.numbers.values())) == len(architecture.numbers)


def test_an_architecture_is_used_only_when_proven() -> None:
    assert syscalls.architecture_of("x86_64") is X86_64
    with pytest.raises(syscalls.UnknownArchitecture, match="'aarch64' is not proven yet"):
        syscalls.architecture_of("aarch64")
    with pytest.raises(syscalls.UnknownArchitecture, match="no table of system calls for the architecture 'riscv64'"):
        syscalls.architecture_of("riscv64")


def test_jumps_go_forward_to_known_labels() -> None:
    program = Assembler()
    program.label("back")
    program.if_equal(1, "back")
    with pytest.raises(ValueError, match="-1 instructions away"):
        program.encode()
    program = Assembler()
    program.if_equal(1, "nowhere")
    with pytest.raises(ValueError, match="no label"):
        program.encode()
    program = Assembler()
    program.if_equal(1, "far")
    for _ in range(256):
        program.answer(Action.ALLOW)
    program.label("far")
    with pytest.raises(ValueError, match="256 instructions away"):
        program.encode()
    with pytest.raises(ValueError, match="twice"):
        program.label("far")
