"""The flow of data in one replay, for pictures: whose results went into which call, and what the code looked at before it.

Nothing is guessed. What code computes with a value that it looked at can't be followed, so a call tells how many looks
came before it, and a picture may say that it came after them.
"""

from collections.abc import Iterable, Iterator, Sequence

from flowy.replay.result import Done, Failed, Pending
from flowy.wire.shapes import Trace, TracedCall, TracedLook


class Tracer:
    """Takes note while the code runs."""

    def __init__(self) -> None:
        self._calls: dict[str, TracedCall] = {}
        self._looks: dict[str, TracedLook] = {}
        self._returned: Sequence[str] = ()

    def called(self, key: str, taken: Iterable[str], pending: Iterable[Pending], line: int | None) -> None:
        """Note a call; `taken` are the keys of finished results in its arguments."""
        takes = tuple(dict.fromkeys([*taken, *self._members(pending)]))
        self._calls[key] = TracedCall(key=key, line=line, takes=takes, looks=len(self._looks))

    def looked(self, state: Done | Failed, line: int | None) -> None:
        self._looks.setdefault(state.key, TracedLook(key=state.key, line=line))

    def has_seen(self, state: Done | Failed) -> bool:
        """Whether the code has looked at it before: only the first look counts."""
        return state.key in self._looks

    def returned(self, taken: Iterable[str], pending: Iterable[Pending]) -> None:
        self._returned = tuple(dict.fromkeys([*taken, *self._members(pending)]))

    def trace(self) -> Trace:
        return Trace(calls=tuple(self._calls.values()), looks=tuple(self._looks.values()), returned=self._returned)

    def _members(self, pending: Iterable[Pending]) -> Iterator[str]:
        """The keys of pending calls; a race stands for all of its members."""
        ahead = list(pending)
        while ahead:
            state = ahead.pop(0)
            if state.key in self._calls:
                yield state.key
            else:
                ahead[:0] = state.waits_for
