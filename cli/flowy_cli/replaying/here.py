"""A decision in this process, with its rights: for the debugger, for tests of captured histories, and for who says so."""

from flowy.replay.determinism import deterministic
from flowy.replay.ending import run_to_end
from flowy.replay.loading import FreshModule
from flowy.replay.replayer import body_of
from flowy.replay.run import Run
from flowy.replay.verdict import verdict
from flowy.wire.messages import Answer, Request


def decide_here(request: Request, run: Run) -> Answer:
    """One decision in this process; `run` is what `run_of` gives for this request."""
    with FreshModule(run.log.print) as module:
        body = body_of(run, request, module)
        with deterministic(run.clock, request.seed):
            run_to_end(run, body)
    return verdict(run).answer
