"""The fixed headers around the messages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowy_operator.adapters.decider.frames import LENGTH, Allowance, Ending, Order, Verb
from flowy_operator.adapters.decider.limits import Limits

ALLOWANCE = Allowance(
    wall_ms=2000, cpu_ms=1000, memory_bytes=1 << 40, answer_bytes=1 << 20, request_bytes=77, niceness=19
)


def test_an_allowance_arrives_as_it_was_sent() -> None:
    assert len(ALLOWANCE.encode()) == Allowance.SIZE
    assert Allowance.parse(ALLOWANCE.encode()) == ALLOWANCE


@given(st.sampled_from(Verb), st.integers(0, 2**32 - 1))
def test_an_order_arrives_as_it_was_sent(verb: Verb, pages: int) -> None:
    order = Order(verb, Order.new_address(), pages)
    assert len(order.encode()) == Order.SIZE
    assert Order.parse(order.encode()) == order


def test_an_order_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="Verb"):
        Order.parse(bytes(Order.SIZE))


def test_an_allowance_of_another_version_is_refused() -> None:
    with pytest.raises(ValueError, match="version"):
        Allowance.parse(b"flowy-d0" + ALLOWANCE.encode()[8:])


@given(st.binary(max_size=200), st.integers(-1, 1 << 15), st.integers(0, 1 << 40))
def test_an_ending_is_found_behind_whatever_the_child_wrote(said: bytes, status: int, peak_kib: int) -> None:
    ending = Ending.at_end_of(said + Ending(status=status, cpu_ms=5, peak_kib=peak_kib).encode())
    assert ending == Ending(status=status, cpu_ms=5, peak_kib=min(peak_kib, 2**32 - 1))


def test_a_stream_without_an_ending_has_none() -> None:
    assert Ending.at_end_of(b"x" * 100) is None
    assert Ending.at_end_of(b"x") is None


def test_an_ending_read_as_a_length_exceeds_every_limit() -> None:
    assert LENGTH.unpack_from(Ending(status=0).encode())[0] > Limits().answer_bytes
