"""Which tasks a factory is given: a short way for most functions, and the long one, have to say the same."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import pytest

from flowy.replay.loading import LoadFailed, tasks_of


def _plain(a: object, b: object) -> object:
    return a, b


def _by_keyword(a: object, *, b: object) -> object:
    return a, b


def _with_default(a: object, b: object = None) -> object:
    return a, b


def _with_keyword_default(*, a: object, b: object = None) -> object:
    return a, b


def _takes_all(**tasks: object) -> object:
    return tasks


def _takes_more(a: object, **tasks: object) -> object:
    return a, tasks


def _with_locals(a: object, b: object) -> object:
    c = d = (a, b)
    return c, d


@functools.wraps(_plain)
def _wrapper(*args: object, **kwargs: object) -> object:
    return _plain(*args, **kwargs)


@functools.wraps(_plain)
def _wrapper_of_names(x: object, y: object) -> object:
    return _plain(x, y)


def _with_a_signature(x: object) -> object:
    return x


_with_a_signature.__signature__ = inspect.signature(_plain)  # type: ignore[attr-defined]


class _Class:
    def __init__(self, a: object, b: object) -> None:
        self.both = a, b


class _Callable:
    def __call__(self, a: object, b: object) -> object:
        return a, b


TAKES_BOTH = [
    _plain,
    _by_keyword,
    _with_default,
    _with_keyword_default,
    _takes_all,
    _takes_more,
    _with_locals,
    _wrapper,
]
TAKES_BOTH += [_wrapper_of_names, _with_a_signature, _Class, _Callable(), functools.partial(_plain)]


@pytest.mark.parametrize("factory", TAKES_BOTH)
def test_it_is_given_those_that_its_signature_names(factory: Callable[..., Any]) -> None:
    assert tasks_of(factory, ("b", "a")) == ["b", "a"]
    inspect.signature(factory).bind(a=1, b=2)


OF_NONE = [_plain, _by_keyword, _with_default, _with_keyword_default, _takes_more, _wrapper, _with_a_signature, _Class]
OF_NONE += [_Callable(), functools.partial(_plain)]


@pytest.mark.parametrize("factory", OF_NONE)
def test_one_that_asks_for_tasks_is_refused_where_there_are_none(factory: Callable[..., Any]) -> None:
    with pytest.raises(LoadFailed, match=r"asks for tasks that are not given: .*, nor is any other"):
        tasks_of(factory, ())


def _positional_only(a: object, b: object, /) -> object:
    return a, b


def _any_number(a: object, *b: object) -> object:
    return a, b


REFUSED = {
    "positional-only": (
        _positional_only,
        ("a", "b"),
        "the factory takes the positional-only a; tasks are given by name",
    ),
    "any number": (_any_number, ("a", "b"), "the factory takes *b; tasks are given by name"),
    "positional-only, of none": (
        _positional_only,
        (),
        "the factory takes the positional-only a; tasks are given by name",
    ),
    "any number, of none": (_any_number, (), "the factory takes *b; tasks are given by name"),
    "one too few": (_plain, ("a",), "the factory asks for tasks that are not given: b; given are: a"),
    "none": (_plain, (), "the factory asks for tasks that are not given: a, b, nor is any other"),
    "one too many": (
        _plain,
        ("a", "b", "c"),
        "tasks are given that the factory does not ask for: c; it asks for: a, b",
    ),
    "a local's name": (
        _with_locals,
        ("a", "b", "c"),
        "tasks are given that the factory does not ask for: c; it asks for: a, b",
    ),
    "another name": (
        _wrapper_of_names,
        ("x", "y"),
        "the factory asks for tasks that are not given: a, b; given are: x, y",
    ),
}


@pytest.mark.parametrize(("factory", "tasks", "message"), REFUSED.values(), ids=REFUSED)
def test_it_is_refused_what_it_does_not_ask_for(
    factory: Callable[..., Any], tasks: tuple[str, ...], message: str
) -> None:
    with pytest.raises(LoadFailed) as refused:
        tasks_of(factory, tasks)
    assert (refused.value.type, str(refused.value)) == ("TasksMismatch", message)


def test_one_without_tasks_needs_none() -> None:
    assert tasks_of(lambda: print, ()) == []
