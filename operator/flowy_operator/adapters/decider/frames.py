"""The fixed headers on a decision's connection, around the two messages of `flowy.wire`.

    pool   -> child   Allowance, then the request and its bytecode: the limits are known, and set, before a byte of those is read
    child  -> pool    the answer's length, then the answer; with `STAYS` in the length, the child waits for a step
    pool   -> child   a step's length, then the step; the child answers again, and so on
    zygote -> pool    Ending, once the child is reaped; then the end of the stream

These share one connection. A second one from the zygote to the pool was considered: the two streams would have to be
matched. What a hostile child gains by writing an ending itself is a wrong sentence about its own end.

    pool   -> zygote  Order: a child that stays is to be stopped, or to go on. It goes over the zygote's life line, the pipe or
                      connection whose end is the end of the one or the other, and names the child's connection

Integers are big-endian. Both sides import this module, so it imports next to nothing.
"""

import json
import os
import struct
from dataclasses import asdict, dataclass
from enum import IntEnum, StrEnum
from typing import ClassVar


class Strictness(StrEnum):
    """What the zygote does where the kernel can't filter system calls. The value is its command line argument."""

    REQUIRED = "required"  # it refuses to serve
    INSECURE = "insecure"  # it goes on, with whatever locks there are


class Home(StrEnum):
    """Where a zygote lives, which says how it learns that it is to end, and how it says that it is ready."""

    CHILD = "child"  # of the operator: the end of a pipe, a line on standard output
    CONTAINER = "container"  # of its own: SIGTERM, a line on standard output and on each connection to `life_path`


class Layout(StrEnum):
    """How objects lie in a zygote's memory, and in that of its children."""

    PLAIN = "plain"
    SCRAMBLED = "scrambled"  # see `places.scramble`: for shadow replay


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """How a zygote is to be: the argument of its command line.

    `release` is that of the package whose code it runs, empty for a child, whose code is the operator's own. `companion` is
    the pid of a process whose end is the zygote's too, 0: none.
    """

    socket_path: str
    strictness: Strictness
    home: Home
    layout: Layout
    release: str = ""
    companion: int = 0

    @property
    def is_tied(self) -> bool:
        """Whether it ends with who started it, namely with the pipe on its standard input."""
        return self.home is Home.CHILD or self.layout is Layout.SCRAMBLED

    def encode(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def parse(cls, text: str) -> "Start":
        fields = json.loads(text)
        return cls(
            socket_path=fields["socket_path"],
            strictness=Strictness(fields["strictness"]),
            home=Home(fields["home"]),
            layout=Layout(fields["layout"]),
            release=fields["release"],
            companion=fields["companion"],
        )


def life_path(socket_path: str) -> str:
    """Where a zygote in a container tells what it is. A connection to it lasts as long as the zygote."""
    return socket_path + ".life"


@dataclass(frozen=True, slots=True)
class Locks:
    """What the zygote says of its own locks. `landlock` is the version of that interface, 0 if there is none."""

    seccomp: bool = False
    landlock: int = 0
    frozen_clock: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Greeting:
    """What a zygote says when decisions can come: one line. `python` is `major.minor`."""

    release: str
    python: str
    layout: Layout
    locks: Locks

    _WORD: ClassVar[bytes] = b"ready "

    def encode(self) -> bytes:
        return self._WORD + json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def parse(cls, line: bytes) -> "Greeting | None":
        """None if this is not the line: a traceback, for instance, or that of another version."""
        if not line.startswith(cls._WORD):
            return None
        try:
            said = json.loads(line.removeprefix(cls._WORD))
            return cls(**said | {"layout": Layout(said["layout"]), "locks": Locks(**said["locks"])})
        except (ValueError, TypeError, LookupError, RecursionError):
            return None


LENGTH = struct.Struct("!I")

STAYS = 1 << 31
"""In the length of an answer: the child has not ended, and goes on when it is given more. Far above every limit."""

BEHIND_ANSWER = b"\0"
"""What stands within an answer's length between its text, which is JSON and has no such byte, and the bytecode for the run's next
decision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """What one child may use, and how many bytes of request follow, and then of bytecode. All of it is the operator's word."""

    wall_ms: int
    cpu_ms: int
    memory_bytes: int
    answer_bytes: int
    request_bytes: int
    bytecode_bytes: int = 0
    niceness: int = 0  # as of `nice`: 0 is the usual priority, 19 the lowest
    # For so long a child may be there that stays behind its answer; 0: it ends with that. The wall clock of its decisions is
    # with who asks, since no timer can be wound up again behind the locks: CPU and memory are for all of them together.
    stay_ms: int = 0

    # The number at the front changes with the shape: a zygote of another version must not take bytes for milliseconds.
    _SHAPE: ClassVar[struct.Struct] = struct.Struct("!8sIIQIIIBI")
    _MAGIC: ClassVar[bytes] = b"flowy-d4"
    SIZE: ClassVar[int] = _SHAPE.size

    def encode(self) -> bytes:
        return self._SHAPE.pack(
            self._MAGIC,
            self.wall_ms,
            self.cpu_ms,
            self.memory_bytes,
            self.answer_bytes,
            self.request_bytes,
            self.bytecode_bytes,
            self.niceness,
            self.stay_ms,
        )

    @classmethod
    def parse(cls, raw: bytes) -> "Allowance":
        magic, wall_ms, cpu_ms, memory_bytes, answer_bytes, *others = cls._SHAPE.unpack(raw)
        request_bytes, bytecode_bytes, niceness, stay_ms = others
        if magic != cls._MAGIC:
            raise ValueError("not an allowance of this version")
        return cls(
            wall_ms=wall_ms,
            cpu_ms=cpu_ms,
            memory_bytes=memory_bytes,
            answer_bytes=answer_bytes,
            request_bytes=request_bytes,
            bytecode_bytes=bytecode_bytes,
            niceness=niceness,
            stay_ms=stay_ms,
        )


class Verb(IntEnum):
    """What is to become of a child that stays."""

    REST = 1  # it is stopped; or ended, if it is too large to be kept
    GO_ON = 2


@dataclass(frozen=True, slots=True)
class Order:
    """To the zygote, about the child whose connection comes from `address`. Of one that is gone it means nothing.

    One that is to rest may have touched `pages` of memory, each as often as it was new to it; else it ends as `TOO_LARGE`.
    """

    verb: Verb
    address: bytes
    pages: int = 0

    # Abstract: no file is made, and none can be left behind. The zygote learns it with the connection, which costs nothing. A
    # pid can't be told: the child would have to say it, and could say another's.
    _PREFIX: ClassVar[bytes] = b"\0flowy-decision-"
    _ID_BYTES: ClassVar[int] = 8
    _SHAPE: ClassVar[struct.Struct] = struct.Struct(f"!B{_ID_BYTES}sI")
    SIZE: ClassVar[int] = _SHAPE.size

    @classmethod
    def new_address(cls) -> bytes:
        """One that nobody has. At random, since the other pools on this node's network don't know of this one."""
        return cls._PREFIX + os.urandom(cls._ID_BYTES)

    def encode(self) -> bytes:
        return self._SHAPE.pack(self.verb, self.address.removeprefix(self._PREFIX), self.pages)

    @classmethod
    def parse(cls, raw: bytes) -> "Order":
        """Raises ValueError for what is none."""
        verb, name, pages = cls._SHAPE.unpack(raw)
        return cls(Verb(verb), cls._PREFIX + name, pages)


NOT_FORKED = -1
"""In place of a wait status: there was no child, the system refused one."""

TOO_LARGE = -2
"""In place of a wait status: the child was ended when it was to rest, and had touched more memory than it may have for that."""

EXIT_OUT_OF_MEMORY = 91
EXIT_LOCKDOWN_FAILED = 92
EXIT_REQUEST_REFUSED = 93
EXIT_OWN_BUG = 94
EXIT_GAVE_UP = 95  # of a child that stayed: what it was given takes a replay
"""How a child says what it can't answer. Workflow code can exit with them too, and thereby misname its own end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a child ended: its wait status (or `NOT_FORKED`, or `TOO_LARGE`) and what it used. The zygote's word."""

    status: int
    cpu_ms: int = 0
    peak_kib: int = 0

    # The first four bytes, read as a length, exceed every limit: a reader that waits for an answer's length and gets an
    # ending can't take it for an answer.
    _SHAPE: ClassVar[struct.Struct] = struct.Struct("!8siII")
    _MAGIC: ClassVar[bytes] = b"\xff\xff\xff\xffend1"
    SIZE: ClassVar[int] = _SHAPE.size

    def encode(self) -> bytes:
        return self._SHAPE.pack(self._MAGIC, self.status, min(self.cpu_ms, 2**32 - 1), min(self.peak_kib, 2**32 - 1))

    @classmethod
    def at_end_of(cls, received: bytes | bytearray) -> "Ending | None":
        """Find the ending at the back of a stream, if it is there."""
        if len(received) < cls.SIZE:
            return None
        magic, status, cpu_ms, peak_kib = cls._SHAPE.unpack_from(received, len(received) - cls.SIZE)
        return cls(status=status, cpu_ms=cpu_ms, peak_kib=peak_kib) if magic == cls._MAGIC else None
