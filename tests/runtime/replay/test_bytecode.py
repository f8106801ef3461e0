"""Bytecode of an earlier decision changes nothing but how long the next one takes."""

import marshal
from collections.abc import Iterator

import pytest

from flowy.replay import bytecode
from flowy.replay.bytecode import MOST_BYTES, Bytecode
from flowy.replay.loading import compiled
from flowy.replay.replayer import replay
from flowy.wire.messages import Answer, Phase, Request

PLAIN = "def main(a):\n    def run():\n        return a(1, [2, 'x'])\n    return run\n"
CLASSES = """
from collections import namedtuple
from dataclasses import dataclass, field
from typing import NamedTuple

@dataclass(frozen=True, order=True)
class Part:
    name: str
    sizes: list = field(default_factory=list)

Pair = namedtuple("Pair", "left right")

class Named(NamedTuple):
    n: int = 3

def main(a):
    def run():
        part = Part("x", [1])
        return a([repr(part), part == Part("x", [1]), hash(Named()), str(Pair(1, 2))])
    return run
"""
FAILS = """
from dataclasses import dataclass

@dataclass
class Part:
    n: int

def main(a):
    def run():
        Part(1, 2)
    return run
"""
# Each warning is shown once for its line, until `catch_warnings` is left: what is compiled in between must not do that.
WARNS = """
import warnings
from dataclasses import make_dataclass

def main(a):
    def run():
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("default")
            for n in range(3):
                warnings.warn("old way")
                make_dataclass(f"Part{n}", ["x"])
        return a(len(seen))
    return run
"""
PROGRAMS = {
    "a function": PLAIN,
    "what generates code": CLASSES,
    "a failure in it": FAILS,
    "warnings beside it": WARNS,
}


@pytest.fixture(autouse=True)
def _imposed() -> Iterator[None]:
    undo = bytecode.impose()
    yield
    undo()
    compiled.cache_clear()


def request(source: str) -> Request:
    return Request(source=source, entrypoint="main", tasks=("a",), input='{"args": [], "kwargs": {}}')


def decide(source: str, handed_on: bytes = b"") -> tuple[Answer, bytes]:
    """As in a process of its own."""
    compiled.cache_clear()
    used = Bytecode(handed_on)
    bytecode.begin(used)
    return replay(request(source)), used.hand_on()


@pytest.mark.parametrize("source", PROGRAMS.values(), ids=PROGRAMS)
def test_the_next_decision_says_the_same_and_compiles_nothing(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first, handed_on = decide(source)
    assert handed_on

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("compiled once more")

    monkeypatch.setattr(bytecode, "compile", refuse, raising=False)
    again, news = decide(source, handed_on)
    assert again == first
    assert news == b""


def test_it_is_handed_on_once() -> None:
    used = Bytecode()
    bytecode.begin(used)
    used.compile("1", "f", "eval")
    assert used.hand_on()
    assert used.hand_on() == b""


def test_what_is_no_longer_used_is_not_handed_on() -> None:
    _, of_other = decide(CLASSES)
    _, handed_on = decide(PLAIN, of_other)
    assert handed_on == decide(PLAIN)[1]


def test_the_same_text_of_another_kind_is_other_code() -> None:
    used = Bytecode()
    assert eval(used.compile("1", "f", "eval")) == 1
    assert eval(used.compile("1", "f", "exec")) is None
    assert used.compile("1", "g", "eval").co_filename == "g"


def test_code_that_does_not_compile_is_told_of_each_time() -> None:
    first, handed_on = decide("x = 1\ndef (")
    assert handed_on == b""
    assert first.phase is Phase.LOAD
    assert first.error is not None
    assert first.error["line"] == 2
    assert decide("x = 1\ndef (")[0] == first


GARBAGE = {
    "noise": b"\xff\x00 no marshal",
    "cut": marshal.dumps({b"k": compile("1", "f", "eval")})[:-4],
    "no table": marshal.dumps([1]),
    "no code in it": marshal.dumps({b"k": 1}),
}


@pytest.mark.parametrize("handed_on", GARBAGE.values(), ids=GARBAGE)
def test_what_is_no_bytecode_is_as_good_as_none(handed_on: bytes) -> None:
    assert decide(PLAIN, handed_on) == decide(PLAIN)


def test_too_much_is_not_handed_on() -> None:
    many = "\n".join(f"x{n} = 'some text that is different each time {n}'" for n in range(MOST_BYTES // 40))
    answer, handed_on = decide(many + "\n" + PLAIN)
    assert answer.scheduled
    assert handed_on == b""
