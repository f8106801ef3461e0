"""What may travel as JSON, what is refused and with which words, and the digest."""

import datetime as dt
import decimal
import enum
import io
import pickle
import uuid
from array import array
from collections import Counter, OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowy.errors import ValueRefused
from flowy.wire import values


class Number(enum.IntEnum):
    ONE = 1


class Text(enum.StrEnum):
    A = "a"


class Plain(enum.Enum):
    X = "x"


class Weight(float):
    pass


@dataclass
class Item:
    name: str
    sizes: tuple[int, ...]


class Point(NamedTuple):
    x: int
    y: int


def numbers() -> Iterator[int]:
    yield 1
    yield 2


ACCEPTED: dict[str, tuple[Any, Any]] = {
    "None": (None, None),
    "bool": (True, True),
    "int": (7, 7),
    "large int": (2**200, 2**200),
    "str": ("é⟨", "é⟨"),
    "float": (1.0, 1.0),
    "IntEnum": (Number.ONE, 1),
    "StrEnum": (Text.A, "a"),
    "float subclass": (Weight(1.5), 1.5),
    "list": ([1, [2]], [1, [2]]),
    "tuple": ((1, ()), [1, []]),
    "namedtuple": (Point(1, 2), [1, 2]),
    "range": (range(3), [0, 1, 2]),
    "deque": (deque([1]), [1]),
    "array": (array("i", [1, 2]), [1, 2]),
    "keys": ({"a": 1}.keys(), ["a"]),
    "values": ({"a": 1}.values(), [1]),
    "items": ({"a": 1}.items(), [["a", 1]]),
    "dict": ({"b": 1, "a": 2}, {"b": 1, "a": 2}),
    "dict with a StrEnum key": ({Text.A: 1}, {"a": 1}),
    "OrderedDict": (OrderedDict(a=1), {"a": 1}),
    "Counter": (Counter("aab"), {"a": 2, "b": 1}),
    "mapping": (MappingProxyType({"a": 1}), {"a": 1}),
    "dataclass": (Item("n", (1,)), {"name": "n", "sizes": [1]}),
    "generator": (numbers(), [1, 2]),
    "map": (map(str, [1]), ["1"]),
    "zip": (zip([1], [2], strict=True), [[1, 2]]),
    "filter": (filter(None, [0, 1]), [1]),
    "iterator of iterators": (iter([iter([1])]), [[1]]),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_accepted(name: str) -> None:
    value, expected = ACCEPTED[name]
    plain = values.plain(value)
    assert plain == expected
    assert type(plain) is type(expected)
    assert values.decode(values.encode_plain(plain)) == expected


def test_key_order_is_kept() -> None:
    assert values.encode({"b": 1, "a": 2}) == '{"b":1,"a":2}'


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


CYCLE: list[Any] = []
CYCLE.append({"k": CYCLE})

REFUSED: dict[str, tuple[Any, str]] = {
    "nan": (float("nan"), "result: nan is no JSON number; pass None or text instead"),
    "infinity": ([1, float("-inf")], "result[1]: -inf is no JSON number; pass None or text instead"),
    "lone surrogate": ("\ud800", "result: a lone surrogate; pass valid Unicode text"),
    "lone surrogate in a key": ({"\ud800": 1}, "result: a lone surrogate; pass valid Unicode text"),
    "bytes": (b"", "result: bytes; pass .decode() or base64 text"),
    "bytearray": (bytearray(), "result: a bytearray; pass .decode() or base64 text"),
    "memoryview": (memoryview(b""), "result: a memoryview; pass .tobytes().decode() or base64 text"),
    "set": ({"items": [{1}]}, "result.items[0]: a set has no order; pass sorted(...) instead"),
    "frozenset": (frozenset(), "result: a frozenset has no order; pass sorted(...) instead"),
    "datetime": (dt.datetime.now(dt.UTC), "result: datetime; pass .isoformat()"),
    "date": (dt.date(2024, 1, 1), "result: date; pass .isoformat()"),
    "time": (dt.time(), "result: time; pass .isoformat()"),
    "timedelta": (dt.timedelta(1), "result: timedelta; pass .total_seconds()"),
    "Decimal": (decimal.Decimal(1), "result: Decimal; pass str(...)"),
    "Fraction": (Fraction(1), "result: Fraction; pass str(...)"),
    "UUID": ({"a": [uuid.UUID(int=1)]}, "result.a[0]: UUID; pass str(...)"),
    "complex": (1j, "result: complex; pass [z.real, z.imag]"),
    "Enum": (Plain.X, "result: an Enum (Plain); pass .value"),
    "class": (Item, "result: the class Item; pass data, or a name that the task knows"),
    "function": (numbers, "result: the function numbers; pass data, or a name that the task knows"),
    "builtin": (len, "result: the function len; pass data, or a name that the task knows"),
    "method": ("".join, "result: the function join; pass data, or a name that the task knows"),
    "file": (io.StringIO("a"), "result: a file; pass its name or its content"),
    "object": (object(), "result: an object of class object; pass a dict, or make it a dataclass"),
    "int key": ({"by id": {7: 1}}, 'result["by id"]: key 7 is an int; use str(7)'),
    "None key": ({None: 1}, "result: key None is a NoneType; use str(None)"),
    "tuple key": ({(1,): 1}, "result: a key is a tuple; use str(...)"),
    "cycle": (CYCLE, "result[0].k: contains itself; pass a copy without the cycle"),
    "201 levels": (nested(201), f"result{'[0]' * 200}: more than 200 levels; pass a flatter structure"),
    "a huge int": (10**5000, "result: an int of more than 4300 digits; pass hex(...) as text"),
    "dataclass field": (Item("n", ({1},)), "result.sizes[0]: a set has no order; pass sorted(...) instead"),  # type: ignore[arg-type]
    "odd field name": ({"no name": {1}}, 'result["no name"]: a set has no order; pass sorted(...) instead'),
    "iterator": (iter([{1}]), "result[0]: a set has no order; pass sorted(...) instead"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    value, message = REFUSED[name]
    with pytest.raises(ValueRefused) as refusal:
        values.plain(value)
    assert str(refusal.value) == message


def test_a_coroutine_is_refused() -> None:
    async def work() -> None:
        """Never run."""

    coroutine = work()
    with pytest.raises(ValueRefused, match="a coroutine; workflow code is not asynchronous"):
        values.plain(coroutine)
    coroutine.close()


def test_the_deepest_and_longest_that_pass() -> None:
    assert values.levels(values.plain(nested(200))) == 200
    assert values.plain(10**4299) == 10**4299


def test_sharing_without_a_cycle_passes() -> None:
    shared = [1]
    assert values.plain([shared, {"a": shared}]) == [[1], {"a": [1]}]


def test_what_an_iterator_raises_leaves_unchanged() -> None:
    with pytest.raises(ZeroDivisionError):
        values.plain(1 // zero for zero in [0])


def test_paths_of_a_call() -> None:
    with pytest.raises(ValueRefused, match=r"^args\[1\]\.when: datetime"):
        values.plain_call([1, {"when": dt.datetime.now(dt.UTC)}], {})
    with pytest.raises(ValueRefused, match=r"^kwargs\.when: date; "):
        values.plain_call([], {"when": dt.date(2024, 1, 1)})


def test_a_refusal_crosses_processes_whole() -> None:
    with pytest.raises(ValueRefused) as refusal:
        values.plain([{1}])
    assert str(pickle.loads(pickle.dumps(refusal.value))) == str(refusal.value)


def test_canonical_sorts_keys_by_code_point_and_keeps_numbers_apart() -> None:
    assert values.canonical({"b": 1, "a": 1.0, "é": "é", "Z": 1e22}) == '{"Z":1e+22,"a":1.0,"b":1,"é":"é"}'
    assert values.digest([1], {}) != values.digest([1.0], {})
    assert values.digest([], {"a": 1, "b": 2}) == values.digest([], {"b": 2, "a": 1})


def test_digest_is_recorded_behaviour() -> None:
    """It stands in histories: a change here stalls every running workflow."""
    assert values.digest([1, "é", None], {"x": [1.5, True]}) == DIGEST


DIGEST = "f94066bf9a4b963a"

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
    max_leaves=10,
)


@settings(deadline=None, max_examples=200)
@given(JSON)
def test_plain_values_survive_exactly(value: Any) -> None:
    plain = values.plain(value)
    assert repr(values.decode(values.encode_plain(plain))) == repr(value)
    assert values.canonical(values.decode(values.canonical(plain))) == values.canonical(plain)


@settings(deadline=None, max_examples=200)
@given(st.lists(JSON, max_size=3))
def test_the_short_way_to_a_canonical_call_gives_the_same_text(args: list[Any]) -> None:
    short = values.canonical_scalars(args)
    assert short is None or short == values.canonical((args, {}))


def test_non_finite_numbers_are_no_json() -> None:
    for text in ("NaN", "[Infinity]", "-Infinity"):
        with pytest.raises(ValueError, match="is no JSON number"):
            values.decode(text)


def test_levels_of_scalars_and_containers() -> None:
    samples: list[Any] = [1, [], {"a": [1, {}]}]
    assert [values.levels(sample) for sample in samples] == [0, 1, 3]
