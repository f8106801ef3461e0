"""The loop of a local run: what has become true, then decisions, then waiting.

One thread runs all of it, so that nothing here needs a lock; workers report over the executor. All that came in meanwhile is
taken before a workflow decides again, and outcomes before timers: one that is there counts, even if it would have been late.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from heapq import heappop, heappush

from flowy.local.around import Watcher
from flowy.local.call import Call
from flowy.local.execution import End, Execution
from flowy.local.launch import Ended, Executor, Failed, Launch, Report, Started, StopAsked
from flowy.local.plan import Plan

MAX_DEPTH = 32
"""Of workflows below workflows, as in the cluster."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A run that is over."""

    root: Execution
    end: End


class Engine:
    """Runs one workflow and all below it. Used once."""

    def __init__(self, executor: Executor, watcher: Watcher | None = None) -> None:
        self.watcher = watcher
        self._executor = executor
        self._timers: list[tuple[datetime, int, Callable[[], None]]] = []
        self._turn = 0
        self._touched: dict[int, Execution] = {}

    def run(self, plan: Plan, arguments: str, uid: str) -> Finished:
        """Run to the end. `arguments` is JSON text of args and kwargs, `uid` the identity of the run.

        What is raised on the way, KeyboardInterrupt too, stops everything and leaves here.
        """
        root = Execution(self, plan, arguments, uid=uid)
        try:
            while True:
                self._settle()
                if root.end is not None:
                    return Finished(root, root.end)
                for report in self._executor.reports(self._until()):
                    self._take(report, root)
                self._fire()
        except BaseException:
            root.terminate("the run was interrupted")
            raise
        finally:
            self._executor.close()

    # -- what an execution asks for ----------------------------------------------------------------------------------

    def now(self) -> datetime:
        return self._executor.now()

    def at(self, when: datetime, fire: Callable[[], None]) -> None:
        self._turn += 1  # of equal times the first said comes first
        heappush(self._timers, (when, self._turn, fire))

    def touch(self, execution: Execution) -> None:
        self._touched.setdefault(id(execution), execution)

    def launch(self, launch: Launch) -> None:
        self._executor.launch(launch)

    def withdraw(self, launch: Launch, why: str) -> None:
        launch.revoke(why)
        self._executor.withdraw(launch)

    def child(self, call: Call, plan: Plan) -> Execution | Failed:
        parent = call.execution
        if parent.depth >= MAX_DEPTH:
            message = (
                f"it would be nested {parent.depth + 1} Workflows deep, at most {MAX_DEPTH} are allowed: end the recursion"
                " earlier, or use restart() for a loop"
            )
            return Failed(type="LaunchRefused", message=message, could_run=False)
        path = f"{parent.path}/{call.key}" if parent.path else call.key
        uid = f"{parent.uid}/{parent.run}/{call.key}/{call.attempt}"
        return Execution(self, plan, call.answered.arguments, uid=uid, path=path, parent=call)

    # -- the loop ----------------------------------------------------------------------------------------------------

    def _until(self) -> datetime | None:
        """How long there is nothing to do but to wait for news."""
        if self._touched:
            return self._executor.now()
        return self._timers[0][0] if self._timers else None

    def _settle(self) -> None:
        """Let everybody make their steps until nothing follows any more, or somebody wants the run to end.

        A recursion that has no end settles never.
        """
        while self._touched and not self._executor.stop_is_asked():
            execution = self._touched.pop(next(iter(self._touched)))
            if execution.end is None:
                execution.step()

    def _take(self, report: Report, root: Execution) -> None:
        match report:
            case Started(launch):
                launch.call.attempts.started(launch)
            case Ended(launch, outcome):
                call: Call = launch.call
                if call.launch is launch:  # else it came too late
                    call.attempts.ended(call, outcome)
            case StopAsked():
                root.stop()

    def _fire(self) -> None:
        now = self._executor.now()
        while self._timers and self._timers[0][0] <= now:
            heappop(self._timers)[2]()
