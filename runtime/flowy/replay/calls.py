"""New calls of a decision: as they are answered, while they wait for their arguments, and whether there is room for them."""

from collections.abc import Callable
from dataclasses import dataclass

from flowy.replay.arguments import Walked
from flowy.replay.history import Past
from flowy.wire.messages import AnsweredCall


def answered(key: str, task: str, walked: Walked, line: int | None) -> AnsweredCall:
    """The call as it is answered, once nothing of it is pending."""
    return AnsweredCall(key=key, task=task, arguments=walked.text(), digest=walked.digest(), line=line)


@dataclass(frozen=True, slots=True)
class Kept:
    """A call with pending arguments. `after` counts the new calls before it, `turn` is its place among those that may be open."""

    key: str
    task: str
    walked: Walked
    line: int | None
    after: int
    turn: int

    def answered(self, past_of: Callable[[str], Past]) -> AnsweredCall:
        """The call once what it waits for has completed. Raises `ValueRefused` if that can't be passed on."""
        return answered(self.key, self.task, self.walked.filled(past_of), self.line)


class Room:
    """Room for the arguments of calls in an answer: for one of any size, or for several of `most` bytes together."""

    def __init__(self, most: int | None) -> None:
        self._most = most
        self._taken = 0

    def takes(self, call: AnsweredCall) -> bool:
        text = call.arguments
        taken = self._taken + (len(text) if text.isascii() else len(text.encode()))
        if self._most is not None and self._taken and taken > self._most:
            return False
        self._taken = taken
        return True
