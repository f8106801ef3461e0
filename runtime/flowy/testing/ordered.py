"""The executor of orders: attempts end one at a time, and somebody chooses which one is next.

There is no time in it: each end comes a second after the one before, so that a trace can be read.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from flowy.local.launch import Ended, Launch, Outcome, Report, StopAsked
from flowy.local.virtual import BEGIN

Choose = Callable[[Sequence[str]], int]
"""Of the calls that run, by their keys, the one that ends next: its place in the list."""


class Ordered:
    """Ends attempts as `choose` says. `order` tells what ended, in its order; of a sub-workflow's calls as `page-0/render-1`."""

    def __init__(self, choose: Choose, perform: Callable[[Launch], Outcome]) -> None:
        self.order: list[str] = []
        self._choose = choose
        self._perform = perform
        self._running: list[Launch] = []
        self._is_stop_asked = False

    def now(self) -> datetime:
        return BEGIN + timedelta(seconds=len(self.order))

    def launch(self, launch: Launch) -> None:
        launch.started_at = self.now()
        self._running.append(launch)

    def withdraw(self, launch: Launch) -> None:
        self._running = [other for other in self._running if other is not launch]

    def reports(self, until: datetime | None) -> Sequence[Report]:  # noqa: ARG002 - there are no timers
        if self._is_stop_asked:
            self._is_stop_asked = False
            return [StopAsked()]
        keys = [place_of(launch) for launch in self._running]
        chosen = self._choose(keys)
        launch = self._running.pop(chosen)
        outcome = self._perform(launch)
        self.order.append(keys[chosen])
        return [Ended(launch, outcome)]

    def ask_to_stop(self) -> None:
        self._is_stop_asked = True

    def stop_is_asked(self) -> bool:
        return self._is_stop_asked

    def close(self) -> None:
        self._running.clear()


def place_of(launch: Launch) -> str:
    """The key of a launch's call, with those that lead to its workflow."""
    path: str = launch.call.execution.path
    return f"{path}/{launch.task}" if path else launch.task


class Given:
    """Chooses by a list of keys; when it is over, whoever began first."""

    def __init__(self, order: Sequence[str]) -> None:
        self._ahead = list(order)

    def check_used(self) -> None:
        """Raise ValueError if the run has ended before its order: then it isn't the run that the test means."""
        if self._ahead:
            raise ValueError(f"the run ended, and the order goes on with {', '.join(map(repr, self._ahead))}")

    def __call__(self, running: Sequence[str]) -> int:
        if not self._ahead:
            return 0
        key = self._ahead.pop(0)
        if key not in running:
            raise ValueError(f"the order has {key!r} where it doesn't run: there are {', '.join(running)}")
        return running.index(key)
