"""A debugger in the replayed code: it stops where a task is called, with the recorded results at hand."""

import linecache
import pdb  # noqa: T100 - this is what the user asks for
import sys
from bdb import BdbQuit
from collections.abc import Callable, Mapping, Sequence
from types import FrameType, TracebackType
from typing import Any

from flowy.replay.loading import FILENAME
from flowy.replay.replayer import run_of
from flowy.replay.result import Result
from flowy.replay.run import Run
from flowy.wire.messages import Answer, Request
from flowy_cli.describing import outcome_of
from flowy_cli.errors import NotThere
from flowy_cli.replaying.here import decide_here
from flowy_cli.replaying.points import seen_by_code
from flowy_cli.run import Run as RecordedRun
from flowy_operator.core.history import Event
from flowy_operator.core.printable import printable
from flowy_operator.core.request import decision_request
from flowy_operator.core.sentences import line
from flowy_operator.core.spec import WorkflowSpec
from flowy_operator.core.state import apply

_INTERNALS = ("flowy.*", "flowy_cli.*", "contextlib", "click.*")
"""Modules that a user's `step` doesn't go into."""


class Debugger(pdb.Pdb):
    """Opens at calls of one key, or of one task. `stops` counts them."""

    def __init__(self, where: str, told: Callable[[str], str]) -> None:
        # On a terminal it takes its own, with the editing of lines; a script's are passed on.
        streams: dict[str, Any] = {} if sys.stdin.isatty() else {"stdin": sys.stdin, "stdout": sys.stdout}
        super().__init__(skip=_INTERNALS, **streams)
        self.reset()
        self.stops = 0
        self.called: list[str] = []
        self._where = where
        self._told = told

    def get_stack(self, f: FrameType | None, t: TracebackType | None) -> tuple[list[tuple[FrameType, int]], int]:
        """Begin with the workflow's code: how this command came to call it is nobody's question."""
        stack, at = super().get_stack(f, t)
        first = next((n for n, (frame, _) in enumerate(stack) if frame.f_code.co_filename == FILENAME), 0)
        return stack[first:], max(at - first, 0)

    def at_call(self, key: str, task: str) -> None:
        """Open if this is what is looked for. Raises BdbQuit if the user has had enough."""
        self.called.append(key)
        frame = _user_frame()
        if self._where not in {key, task} or frame is None:
            return
        self.stops += 1
        self.message(self._told(key))
        self.reset()
        self.interaction(frame, None)
        if self.quitting:
            raise BdbQuit
        if self.stoplineno != -1:  # not `continue`: go on line by line from here
            self._trace(frame)

    def _trace(self, frame: FrameType | None) -> None:
        # `set_trace` would do this, and stop in this very module.
        while frame is not None:
            frame.f_trace = self.trace_dispatch
            self.botframe = frame
            frame = frame.f_back
        sys.settrace(self.trace_dispatch)


def _user_frame() -> FrameType | None:
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - the frames of the code that is looked at
    while frame is not None and frame.f_code.co_filename != FILENAME:
        frame = frame.f_back
    return frame


class DebuggedRun(Run):
    """A replay that shows each call to the debugger before it is answered."""

    debugger: Debugger

    def call(self, task: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Result:
        """Answer a task call, as ever. One whose arguments call the same task as they are listed is shown under the first number."""
        if self.end is None:
            self.debugger.at_call(f"{task}-{self.counters.get(task, 0)}", task)
        return super().call(task, args, kwargs)


def debug(request: Request, debugger: Debugger) -> Answer | None:
    """Decide once in this process under the debugger; None if the user quits."""
    run = run_of(request, DebuggedRun)
    assert isinstance(run, DebuggedRun)
    run.debugger = debugger
    lines = request.source.splitlines(keepends=True)
    # Without a time of change: the cache then never looks for a file of this name.
    linecache.cache[FILENAME] = (len(request.source), None, lines, FILENAME)
    traced = sys.gettrace()  # by a measurement of coverage, or another debugger around this one
    try:
        answer = decide_here(request, run)
    finally:
        sys.settrace(traced)
        linecache.cache.pop(FILENAME, None)
    return None if debugger.quitting else answer


def debug_run(run: RecordedRun, events: Sequence[Event], spec: WorkflowSpec, where: str) -> Answer | None:
    """Debug the last decision of one run of a Workflow: with everything that is known. Raises NotThere, if nothing is called so.

    None if the user quits.
    """
    state = apply(run.before(events), seen_by_code(events))

    def told(key: str) -> str:
        task = state.tasks.get(key)
        if task is None:
            return f"{key} is called, and stands nowhere in the history"
        standing, outcome = outcome_of(task)
        return printable(f"{key} is called: {standing}{f', {outcome}' if outcome else ''}")

    debugger = Debugger(where, told)
    answer = debug(decision_request(spec, state, (), run.values), debugger)
    if not debugger.stops:
        called = ", ".join(debugger.called) or "nothing"
        raise NotThere(f"the code doesn't call {where!r}; it calls {line(called)}")
    return answer
