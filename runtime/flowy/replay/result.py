"""What a task call gives: a result, pending, done or failed. Touching its value is a barrier while it is pending.

`Result` is a proxy without a public attribute of its own, because every attribute belongs to the value. What it stands
for is one of three states beside it, out of reach of workflow code. A result never changes its state in a decision; between
two decisions of one process, one that was pending may become done (see `steps`).
"""

import copy
import math
import operator
import os
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, Protocol

from flowy.errors import ErrorObject, TaskError, exception_of
from flowy.replay.history import Past
from flowy.wire.messages import Record
from flowy.wire.values import decode

_NAMED_MEMBERS = 3  # of a race, in its repr

NEVER = math.inf  # the finish order of what has not finished


class Owner(Protocol):
    """What a result needs of the replay that it belongs to."""

    def suspend(self, pending: "Sequence[Pending]") -> None:
        """End the decision: one of `pending` was touched. Returns in a process that goes on: look again what is pending."""

    def unsettle(self) -> None:
        """Take note that the code may tell what is pending from what is done, so that only a replay leads further."""

    def touched(self, state: "Done | Failed") -> None:
        """Take note that the code has seen this outcome."""


class Pending:
    """Not finished. `turn` counts open tasks in call order; a call that isn't open waits for others instead."""

    __slots__ = ("key", "line", "run", "turn", "waits_for")

    def __init__(
        self, run: Owner, key: str, waits_for: "Sequence[Pending]", turn: int | None = None, line: int | None = None
    ) -> None:
        self.run = run
        self.key = key
        self.waits_for = waits_for
        self.turn = turn
        self.line = line


class Race(Pending):
    """Stands for whichever of `waits_for` finishes first; those may still grow."""

    __slots__ = ()


class Done:
    """Completed. `value` is decoded at the first touch and kept for this result's own later touches."""

    __slots__ = ("_past", "kept", "record", "run", "value")

    def __init__(self, run: Owner, record: Record, past: Past | None = None) -> None:
        self.run = run
        self.record = record
        self.kept = False
        self.value: Any
        self._past = past

    @property
    def key(self) -> str:
        return self.record.key

    @property
    def rank(self) -> int:
        return self.record.rank or 0

    @property
    def past(self) -> Past:
        """The value as it is passed on. Made when it first is: most values are only looked at."""
        if self._past is None:
            self._past = Past(self.record)
        return self._past

    def look(self) -> Any:
        """Give the value without touching it."""
        if not self.kept:
            text = self.record.value
            self.value = None if text is None else decode(text)
            self.kept = True
        return self.value


class Failed:
    """An error: of this task, or carried by a call that had `carried` among its arguments."""

    __slots__ = ("carried", "error", "finished_at", "key", "kind", "observed", "rank", "run")

    def __init__(
        self,
        run: Owner,
        key: str,
        rank: int,
        kind: type[TaskError],
        error: ErrorObject,
        finished_at: float | None,
        carried: "Sequence[Failed]" = (),
    ) -> None:
        self.run = run
        self.key = key
        self.rank = rank
        self.kind = kind
        self.error = error
        self.finished_at = finished_at
        self.carried = carried
        self.observed = False

    def exception(self) -> TaskError:
        return exception_of(self.kind, self.error)

    def observe(self) -> None:
        """Note that the code has seen this error, and with it those that were handed on to it."""
        unseen = [self]
        while unseen:
            failed = unseen.pop()
            if not failed.observed:
                failed.observed = True
                unseen.extend(failed.carried)


State = Pending | Done | Failed


def rank_of(state: State) -> float:
    """Give the place in the finish order; what is pending comes after all that finished."""
    return NEVER if isinstance(state, Pending) else state.rank


def earliest(failures: Sequence[Failed]) -> Failed:
    """Give the error that finished first; of equal ones the first met."""
    return min(failures, key=operator.attrgetter("rank"))


def race_of(members: "Sequence[Pending]") -> Race:
    """Stand for whichever of `members` (not empty) finishes first; the sequence may still grow."""
    members[0].run.unsettle()
    names = [member.key for member in members[:_NAMED_MEMBERS]] + ["…"] * (len(members) > _NAMED_MEMBERS)
    return Race(members[0].run, names[0] if len(names) == 1 else f"one of {', '.join(names)}", members)


def view_of(state: State, race: Pending | None) -> "Result":
    """Make a result that stands for a place in a race instead of the one who holds it now.

    Handing out the argument itself would let `is` tell who is ready, and code that branches on this deviates. `race`
    is there whenever `state` is pending.
    """
    if isinstance(state, Done):
        return Result(Done(state.run, state.record, state.past))
    return Result(race if isinstance(state, Pending) and race is not None else state)


def _touch(result: "Result") -> Any:
    """Give the value, raise the error, or end the decision."""
    state = state_of(result)
    while isinstance(state, Pending):
        state.run.suspend((state,))
        state = state_of(result)
    state.run.touched(state)
    if isinstance(state, Done):
        return state.look()
    raise state.exception()


def _of_value(operation: Callable[..., Any]) -> Any:
    """Make a method that applies `operation` to the value and the further arguments."""

    def forward(self: "Result", *args: Any) -> Any:
        return operation(_touch(self), *args)

    return forward


def _reflected(operation: Callable[[Any, Any], Any]) -> Any:
    """Make a method that applies a binary `operation` with the value on the right."""

    def forward(self: "Result", left: Any) -> Any:
        return operation(left, _touch(self))

    return forward


def _unsupported(protocol: str) -> Any:
    """Make a method for what no JSON value can do: a barrier like any touch, then the TypeError of the value."""

    def refuse(self: "Result", *_: Any) -> NoReturn:
        kind = type(_touch(self)).__name__
        raise TypeError(f"{kind!r} object does not support {protocol}")

    return refuse


def _call(self: "Result", *args: Any, **kwargs: Any) -> Any:
    return _touch(self)(*args, **kwargs)


class Result:
    """Stands for the outcome of one task call."""

    __slots__ = ("_state",)

    def __init__(self, state: State) -> None:
        _set_state(self, state)

    def __repr__(self) -> str:
        """For eyes: neither a barrier nor an error. Text made from a pending one is refused in values."""
        state = state_of(self)
        if isinstance(state, Done):
            return repr(state.look())
        if isinstance(state, Failed):
            return f"⟨{state.key}: {state.kind.__name__}({state.error['message']!r})⟩"
        state.run.unsettle()
        return f"⟨{state.key}: pending⟩"

    __getattribute__ = _of_value(getattr)
    __setattr__ = _of_value(setattr)
    __delattr__ = _of_value(delattr)
    __dir__ = _of_value(dir)
    __call__ = _call

    __bool__ = _of_value(bool)
    __str__ = _of_value(str)
    __format__ = _of_value(format)
    __bytes__ = _of_value(bytes)
    __fspath__ = _of_value(os.fspath)
    __hash__ = _of_value(hash)

    __len__ = _of_value(len)
    __iter__ = _of_value(iter)
    __next__ = _of_value(next)
    __reversed__ = _of_value(reversed)
    __contains__ = _of_value(operator.contains)
    __getitem__ = _of_value(operator.getitem)
    __setitem__ = _of_value(operator.setitem)
    __delitem__ = _of_value(operator.delitem)

    __eq__ = _of_value(operator.eq)
    __ne__ = _of_value(operator.ne)
    __lt__ = _of_value(operator.lt)
    __le__ = _of_value(operator.le)
    __gt__ = _of_value(operator.gt)
    __ge__ = _of_value(operator.ge)

    __int__ = _of_value(int)
    __float__ = _of_value(float)
    __complex__ = _of_value(complex)
    __index__ = _of_value(operator.index)
    __round__ = _of_value(round)
    __trunc__ = _of_value(math.trunc)
    __floor__ = _of_value(math.floor)
    __ceil__ = _of_value(math.ceil)
    __neg__ = _of_value(operator.neg)
    __pos__ = _of_value(operator.pos)
    __abs__ = _of_value(abs)
    __invert__ = _of_value(operator.invert)

    __add__, __radd__, __iadd__ = _of_value(operator.add), _reflected(operator.add), _of_value(operator.iadd)
    __sub__, __rsub__, __isub__ = _of_value(operator.sub), _reflected(operator.sub), _of_value(operator.isub)
    __mul__, __rmul__, __imul__ = _of_value(operator.mul), _reflected(operator.mul), _of_value(operator.imul)
    __mod__, __rmod__, __imod__ = _of_value(operator.mod), _reflected(operator.mod), _of_value(operator.imod)
    __and__, __rand__, __iand__ = _of_value(operator.and_), _reflected(operator.and_), _of_value(operator.iand)
    __or__, __ror__, __ior__ = _of_value(operator.or_), _reflected(operator.or_), _of_value(operator.ior)
    __xor__, __rxor__, __ixor__ = _of_value(operator.xor), _reflected(operator.xor), _of_value(operator.ixor)
    __pow__, __rpow__, __ipow__ = _of_value(pow), _reflected(pow), _of_value(operator.ipow)
    __divmod__, __rdivmod__ = _of_value(divmod), _reflected(divmod)
    __truediv__, __rtruediv__ = _of_value(operator.truediv), _reflected(operator.truediv)
    __itruediv__ = _of_value(operator.itruediv)
    __floordiv__, __rfloordiv__ = _of_value(operator.floordiv), _reflected(operator.floordiv)
    __ifloordiv__ = _of_value(operator.ifloordiv)
    __lshift__, __rlshift__ = _of_value(operator.lshift), _reflected(operator.lshift)
    __ilshift__ = _of_value(operator.ilshift)
    __rshift__, __rrshift__ = _of_value(operator.rshift), _reflected(operator.rshift)
    __irshift__ = _of_value(operator.irshift)
    __matmul__, __rmatmul__ = _of_value(operator.matmul), _reflected(operator.matmul)
    __imatmul__ = _of_value(operator.imatmul)

    __copy__ = _of_value(copy.copy)
    __deepcopy__ = _of_value(copy.deepcopy)

    __enter__ = __exit__ = _unsupported("the context manager protocol")
    __aenter__ = __aexit__ = _unsupported("the asynchronous context manager protocol")
    __await__ = _unsupported("await")
    __aiter__ = __anext__ = _unsupported("asynchronous iteration")


# Attribute access goes to the value, so the state is reached through the slot itself.
state_of: Callable[[Result], State] = Result.__dict__["_state"].__get__
_set_state: Callable[[Result, State], None] = Result.__dict__["_state"].__set__


def settle(result: Result, done: Done) -> None:
    """Let a pending result be done, between two decisions."""
    _set_state(result, done)
