"""`wait`, `first`, `finish_order`, `parallel_reduce`, `restart`: how workflow code deals with several results.

What they do follows from the recorded finish order alone. All accept plain values too, so that a workflow runs
sequentially on plain functions. None but `wait` is a barrier. There is no way to ask whether a result is ready, and
none may be added: code that branches on readiness makes other calls under the same keys in a later replay.
"""

from collections import deque
from collections.abc import Callable, ItemsView, Iterable, Iterator, KeysView, Mapping, Sequence, ValuesView
from dataclasses import fields, is_dataclass
from heapq import heapify, heappop, heappush
from typing import Any

from flowy.replay.restart import Restart
from flowy.replay.result import Done, Failed, Pending, Result, earliest, race_of, rank_of, state_of, view_of

_BEFORE_ALL = -1  # the finish order of a plain value

_NOTHING: Any = object()


def restart(*args: Any, **kwargs: Any) -> Restart:
    """Make the marker that, returned by the workflow itself, restarts it with these arguments."""
    return Restart(args, kwargs)


def wait(*items: Any) -> None:
    """Go on when all results in `items` are there, nested in containers to any depth.

    Raises the error that finished first, even if others are pending. Iterators are listed; values are not looked into.
    """
    results = list(_results_in(items))
    while True:
        done: list[Done] = []
        failed: list[Failed] = []
        pending: list[Pending] = []
        for state in map(state_of, results):
            if isinstance(state, Done):
                done.append(state)
            elif isinstance(state, Failed):
                failed.append(state)
            else:
                pending.append(state)
        for failure in failed:
            failure.observe()
        if failed:
            failure = earliest(failed)
            failure.run.touched(failure)
            raise failure.exception()
        if not pending:
            break
        pending[0].run.suspend(pending)
    for passed in done:
        passed.run.touched(passed)


def _results_in(items: Iterable[Any]) -> Iterator[Result]:
    """Find the results in a nest, depth first, left to right. A stack of its own: the depth has no bound here."""
    stack = [iter(items)]
    # By identity, so that a cycle ends. Ids only tell members apart here; nothing depends on their order.
    seen: dict[int, Any] = {}
    while stack:
        for item in stack[-1]:
            if type(item) is Result:
                yield item
                continue
            inner = _members(item)
            if inner is not None and id(item) not in seen:
                seen[id(item)] = item
                stack.append(iter(inner))
                break
        else:
            stack.pop()


def _members(item: Any) -> Iterable[Any] | None:
    """Give what a container holds, None for a value."""
    if isinstance(item, (str, bytes, bytearray, memoryview, range, type)):
        return None
    if isinstance(item, Mapping):
        return list(item.values())
    if isinstance(item, (Sequence, deque, KeysView, ValuesView, ItemsView, Iterator)):
        return list(item)
    if is_dataclass(item):
        return [getattr(item, field.name) for field in fields(item)]
    return None


def _forms(name: str, items: tuple[Any, ...]) -> list[Any]:
    """Give the members of a race: the arguments, or the items of the only one if that is an iterable."""
    if not items:
        raise TypeError(f"{name}() needs at least one result or value")
    if len(items) == 1:
        only = items[0]
        if type(only) is not Result and isinstance(only, Iterable) and not isinstance(only, (str, bytes, dict)):
            return list(only)
    return list(items)


def _pending_of(members: Iterable[Any]) -> list[Pending]:
    states = [state_of(member) for member in members if type(member) is Result]
    return [state for state in states if isinstance(state, Pending)]


def _view(member: Any, race: Pending | None) -> Any:
    return view_of(state_of(member), race) if type(member) is Result else member


def _race(members: Iterable[Any]) -> Pending | None:
    pending = _pending_of(members)
    return race_of(pending) if pending else None


def first(*items: Any) -> Any:
    """Give the first plain value, else a result that stands for whichever finishes first.

    Takes the members as arguments or as one iterable. Raises TypeError without arguments, ValueError for an empty
    iterable.
    """
    members = _forms("first", items)
    if not members:
        raise ValueError("first() of an empty iterable")
    if len(members) == 1:
        return members[0]
    for member in members:
        if type(member) is not Result:
            return member
    winner = min(map(state_of, members), key=rank_of)
    return view_of(winner, _race(members))


def finish_order(*items: Any) -> Iterator[Any]:
    """Give plain values in their order, then results as they finish.

    Takes the members as arguments or as one iterable, which is listed at the call, so that the tasks in it are called
    there and not at the first `next`. Raises TypeError without arguments.
    """
    return _in_finish_order(_forms("finish_order", items))


def _in_finish_order(members: list[Any]) -> Iterator[Any]:
    race = _race(members)
    for member in sorted(members, key=_order):
        yield _view(member, race)


def _order(member: Any) -> float:
    return rank_of(state_of(member)) if type(member) is Result else _BEFORE_ALL


def parallel_reduce(f: Callable[[Any, Any], Any], iterable: Iterable[Any], initializer: Any = _NOTHING) -> Any:
    """Fold with an associative and commutative `f`, always taking what is there first.

    n elements, the initializer among them, cost n - 1 calls of `f`; one element comes back as it is. Raises ValueError
    if there is none. `f` gets views, as from `finish_order`: its pairs follow the finish order, so the argument itself
    would tell a plain `f` who is ready.
    """
    members = list(iterable) if initializer is _NOTHING else [initializer, *iterable]
    if not members:
        raise ValueError("parallel_reduce() of an empty iterable with no initializer")
    heap = [(_order(member), turn, member) for turn, member in enumerate(members)]
    heapify(heap)
    unfinished = _pending_of(members)
    race = race_of(unfinished) if unfinished else None
    for turn in range(len(members), 2 * len(members) - 1):
        left, right = (_view(heappop(heap)[2], race) for _ in range(2))
        product = f(left, right)
        heappush(heap, (_order(product), turn, product))
        unfinished += _pending_of([product])  # the race sees it: from now on this product is one of its members
        race = race or (race_of(unfinished) if unfinished else None)
    return heap[0][2]
