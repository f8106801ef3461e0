"""An assembler for the kernel's packet filter language, as far as system call filters need it.

Jumps go to labels, forwards only, which is all that the kernel takes. libseccomp was considered: one more library in the
image for what is a page of code, and its programs can't be read beside the tables that they come from.
"""

import struct
from enum import IntEnum

_INSTRUCTION = struct.Struct("<HBBI")  # code, jump if true, jump if false, operand: `struct sock_filter`
_FARTHEST = 255  # a jump's distance is one byte

LOAD_WORD = 0x20
AND = 0x54
JUMP_IF_EQUAL = 0x15
JUMP_IF_GREATER = 0x25
JUMP_IF_AT_LEAST = 0x35
JUMP_IF_ANY_BIT = 0x45
RETURN = 0x06

# Offsets in `struct seccomp_data`.
NUMBER_AT = 0
ARCHITECTURE_AT = 4
_ARGUMENTS_AT = 16

_EPERM = 1


class Action(IntEnum):
    """What a filter answers. With several filters the most severe answer counts."""

    ALLOW = 0x7FFF0000
    REFUSE = 0x00050000 | _EPERM  # the call returns EPERM, the process goes on
    KILL = 0x80000000  # the whole process, by SIGSYS


def low_word_at(argument: int) -> int:
    """Where the low half of an argument lies; both our architectures are little-endian."""
    return _ARGUMENTS_AT + 8 * argument


def high_word_at(argument: int) -> int:
    return low_word_at(argument) + 4


class Assembler:
    """A program under construction. A target of None is the next instruction."""

    def __init__(self) -> None:
        self._lines: list[tuple[int, int, str | None, str | None]] = []
        self._labels: dict[str, int] = {}

    def label(self, name: str) -> None:
        """Name the next instruction."""
        if name in self._labels:
            raise ValueError(f"label {name!r} is there twice")
        self._labels[name] = len(self._lines)

    def load(self, offset: int) -> None:
        self._lines.append((LOAD_WORD, offset, None, None))

    def mask(self, bits: int) -> None:
        self._lines.append((AND, bits, None, None))

    def answer(self, action: Action) -> None:
        self._lines.append((RETURN, action, None, None))

    def if_equal(self, value: int, then: str | None, otherwise: str | None = None) -> None:
        self._lines.append((JUMP_IF_EQUAL, value, then, otherwise))

    def if_greater(self, value: int, then: str | None, otherwise: str | None = None) -> None:
        self._lines.append((JUMP_IF_GREATER, value, then, otherwise))

    def if_at_least(self, value: int, then: str | None, otherwise: str | None = None) -> None:
        self._lines.append((JUMP_IF_AT_LEAST, value, then, otherwise))

    def if_any_bit(self, bits: int, then: str | None, otherwise: str | None = None) -> None:
        self._lines.append((JUMP_IF_ANY_BIT, bits, then, otherwise))

    def encode(self) -> bytes:
        """The program as the kernel takes it. ValueError for a label that is unknown, behind, or too far."""
        return b"".join(
            _INSTRUCTION.pack(code, self._distance(at, then), self._distance(at, otherwise), operand & 0xFFFFFFFF)
            for at, (code, operand, then, otherwise) in enumerate(self._lines)
        )

    def _distance(self, at: int, target: str | None) -> int:
        if target is None:
            return 0
        if target not in self._labels:
            raise ValueError(f"no label {target!r}")
        distance = self._labels[target] - at - 1
        if not 0 <= distance <= _FARTHEST:
            raise ValueError(f"label {target!r} is {distance} instructions away")
        return distance
