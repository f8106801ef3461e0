"""How a process that has decided goes on from its barrier over what has completed since, instead of replaying all of it.

What comes of it is what a replay would come to, or nothing: wherever a replay might see something else before the barrier,
or in a way that is not proven the same, the process gives up and a replay takes its place. So errors, races, and code that
has looked at a pending result's `repr` are left to replays; what remains are the calls and waits of long chains.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import NamedTuple, NoReturn, cast

from flowy.errors import ValueRefused
from flowy.replay.barrier import Suspended
from flowy.replay.calls import Kept
from flowy.replay.ending import run_to_end
from flowy.replay.history import Past
from flowy.replay.result import Done, Pending, settle, state_of
from flowy.replay.run import Run
from flowy.wire.messages import Answer, AnsweredCall, Record, RecordState

# Frames of ours that may lie between the barrier and the start of the run: they look again at what they wait for. All
# others have drawn conclusions, for instance a walk through arguments that an iterator of the code interrupts by waiting.
RESUMABLE = frozenset(
    {
        ("flowy.combinators", "wait"),
        ("flowy.replay.ending", "_come_to"),
        ("flowy.replay.ending", "_end_of"),
        ("flowy.replay.ending", "_latch_end_of"),
        ("flowy.replay.replayer", "body_of.<locals>.body"),
        ("flowy.replay.replayer", "call_workflow"),
        ("flowy.replay.replayer", "replay.<locals>.left"),
        ("flowy.replay.result", "_call"),
        ("flowy.replay.result", "_of_value.<locals>.forward"),
        ("flowy.replay.result", "_reflected.<locals>.forward"),
        ("flowy.replay.result", "_touch"),
        ("flowy.replay.result", "_unsupported.<locals>.refuse"),
        ("flowy.replay.run", "Run.latch"),
        ("flowy.replay.run", "Run.suspend"),
    }
)
_BEGAN = run_to_end.__code__


class Steps(NamedTuple):
    """What a process does that stays. `next` tells an answer, and gives the records that are new or other than before.

    `give_up` ends the process: it can't go on over these, and a replay can.
    """

    next: Callable[[Answer], Sequence[Record]]
    give_up: Callable[[], NoReturn]


def may_stay(run: Run) -> bool:
    """Whether the code can go on where it stands: it waits, and nothing of ours on its stack has seen who is pending."""
    return (
        isinstance(run.end, Suspended)
        and not run.more
        and run.is_settled
        and run.tracer is None
        and run.reached == len(run.records)
        and _is_resumable(sys._getframe(1))  # noqa: SLF001 - the code's stack is what this is about
    )


def go_on(run: Run, records: Sequence[Record]) -> bool:
    """Take these records in and let the code go on. False if it takes a replay; the run is of no use then."""
    unrecorded = {call.key: call for call in run.calls}
    turns = {key: _turn_of(run, key) for key in unrecorded}
    for record in records:
        if not _is_of_open_call(run, record, unrecorded):
            return False
        unrecorded.pop(record.key, None)
        run.take_record(record)
        if record.state is RecordState.COMPLETED:
            settle(run.pending.pop(record.key), Done(run, record))
    made = _made_ready(run)
    if made is None:
        return False
    for turn, call in made:
        unrecorded[call.key], turns[call.key] = call, turn
    calls = sorted(unrecorded.values(), key=lambda call: turns[call.key])
    if not run.take_calls(calls) or not _fills_returned(run):
        return False
    run.end = None
    return True


def _is_of_open_call(run: Run, record: Record, unrecorded: Mapping[str, AnsweredCall]) -> bool:
    """Whether this is the next thing to know about a call that the code has made, and one that can be told in place."""
    known = run.record_of(record.key)
    open_call = run.pending.get(record.key)
    if open_call is None or cast(Pending, state_of(open_call)).turn is None:
        return False
    if record.state not in (RecordState.RUNNING, RecordState.COMPLETED):
        return False
    if known is not None:
        return (known.state, known.digest, known.line) == (RecordState.RUNNING, record.digest, record.line)
    return record.key in unrecorded and record.digest in (None, unrecorded[record.key].digest)


def _made_ready(run: Run) -> list[tuple[int, AnsweredCall]] | None:
    """The calls that have all of their arguments now. None if the code would fail at one, or it can't be made here."""
    made: list[tuple[int, AnsweredCall]] = []
    kept: list[Kept] = []
    for call in run.kept:
        state = cast(Pending, state_of(run.pending[call.key]))
        call.walked.pending = state.waits_for = _still_pending(run, call.walked.pending)
        if state.waits_for:
            kept.append(call)
            continue
        if not call.walked.is_fillable:
            return None
        try:
            made.append((call.turn, call.answered(_past_of(run))))
        except ValueRefused:
            return None
        state.turn = call.turn
    run.kept = kept
    return made


def _fills_returned(run: Run) -> bool:
    """Put into what the code has returned what has completed of it."""
    if run.returned is None:
        return True
    run.returned.pending = _still_pending(run, run.returned.pending)
    if run.returned.pending:
        return True
    if not run.returned.is_fillable:
        return False
    try:
        run.returned = run.returned.filled(_past_of(run))
    except ValueRefused:
        return False
    return True


def _still_pending(run: Run, pending: Sequence[Pending]) -> Sequence[Pending]:
    return [state for state in pending if state.key in run.pending]


def _past_of(run: Run) -> Callable[[str], Past]:
    def past_of(key: str) -> Past:
        record = run.record_of(key)
        assert record is not None
        return Past(record)

    return past_of


def _turn_of(run: Run, key: str) -> int:
    turn = cast(Pending, state_of(run.pending[key])).turn
    assert turn is not None
    return turn


def _is_resumable(frame: FrameType | None) -> bool:
    """Look from the barrier up to where the run began."""
    while frame is not None and frame.f_code is not _BEGAN:
        module = frame.f_globals.get("__name__")
        if type(module) is str and module.startswith("flowy") and (module, frame.f_code.co_qualname) not in RESUMABLE:
            return False
        frame = frame.f_back
    return True
