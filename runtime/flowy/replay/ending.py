"""Running the code to the end of its decision, and what it comes to: the value that it returned, or what it raised."""

from collections.abc import Callable
from typing import NoReturn

from flowy.errors import ValueRefused
from flowy.replay.arguments import Walked, walk_call, walk_value
from flowy.replay.barrier import Completed, DecisionEnds, End, Failed, Restarted, Suspended
from flowy.replay.loading import LoadFailed
from flowy.replay.restart import Restart
from flowy.replay.result import earliest
from flowy.replay.run import Run
from flowy.replay.source import error_of_exception, limited, line_of
from flowy.wire import values
from flowy.wire.messages import Phase


def run_to_end(run: Run, body: Callable[[], object]) -> None:
    """Run `body`, the whole of the code, to the end of the decision.

    Whatever it raises fails the workflow, except KeyboardInterrupt and MemoryError: those tell of the process.
    """
    try:
        _latch_end_of(run, body)
    except DecisionEnds:
        pass
    else:
        run.warn_swallowed()
    run.is_over = True


def _latch_end_of(run: Run, body: Callable[[], object]) -> None:
    """Run `body` and latch what it comes to; returns only if the decision had ended before and the code went on."""
    try:
        returned = body()
        if run.end is None:
            _come_to(run, returned)
    except (DecisionEnds, KeyboardInterrupt, MemoryError):
        raise
    except LoadFailed as failed:
        error: dict[str, object] = {"type": failed.type, "message": limited(failed.message)}
        if failed.line is not None:
            error["line"] = failed.line
        run.stop(Failed(error, failed.line, Phase.LOAD))
    except BaseException as raised:  # noqa: BLE001 - the code may raise anything, SystemExit too
        if run.end is None:
            run.stop(_failure(run, raised))


def _come_to(run: Run, returned: object) -> NoReturn:
    """Latch what the code came to. Once more where it was pending and the process goes on."""
    run.latch(_end_of(run, returned))
    while run.end is None:
        assert run.returned is not None
        run.latch(_end_of_walked(run, run.returned))
    raise DecisionEnds


def _end_of(run: Run, returned: object) -> End:
    """Apply the walking rule to what the workflow returned."""
    try:
        if isinstance(returned, Restart):
            walked = walk_call(run, returned.args, returned.kwargs, "restart.")
        else:
            walked = walk_value(run, returned, "result")
    except ValueRefused as refusal:
        return Failed({"type": "ValueRefused", "message": limited(str(refusal))})
    if run.tracer is not None:
        run.tracer.returned(walked.taken(), walked.pending)
    run.returned, run.is_restart = walked, isinstance(returned, Restart)
    return _end_of_walked(run, walked)


def _end_of_walked(run: Run, walked: Walked) -> End:
    for failed in walked.failed:
        failed.observe()
    if walked.failed:
        return Failed(earliest(walked.failed).error)
    if walked.pending:
        return Suspended(walked.pending, None)
    return Restarted(walked.text()) if run.is_restart else Completed(walked.text_of_value())


def _failure(run: Run, raised: BaseException) -> Failed:
    try:
        error = error_of_exception(run.source, raised)
    except Exception:  # noqa: BLE001 - the user's __str__ may raise anything
        error = {"type": limited(type(raised).__name__), "message": "the exception has no text: its __str__ failed"}
    if "details" in error:
        _settle_details(run, error)
    return Failed(error, line_of(error), run.phase)


def _settle_details(run: Run, error: dict[str, object]) -> None:
    """Make the details of an error plain, or leave them out: an error must not fail by its decoration."""
    details = error.pop("details")
    try:
        walked = walk_value(run, details, "details")
    except ValueRefused as refusal:
        run.log.add_warning(f"the details of the error are left out; {refusal}")
        return
    if walked.failed or walked.pending:
        run.log.add_warning("the details of the error are left out; they hold a result without a value")
        return
    error["details"] = values.decode(walked.text_of_value())
