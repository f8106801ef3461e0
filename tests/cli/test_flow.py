"""A run that is told from one replay over all of it: random programs, in the same words as by a replay of each decision."""

import inspect
import math
from unittest.mock import patch

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowy.replay.replayer import replay
from flowy_cli.replaying import story
from flowy_cli.replaying.story import Step
from flowy_cli.run import Run, assemble
from flowy_cli.specs import spec_of
from tests.runtime.local.test_properties import PARALLELISM, WORKERS, plan_of, run_locally
from tests.runtime.programs import TASKS, programs, weigh
from tests.runtime.test_properties import SEEDS

bounded = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


PRELUDE = f"""
from typing import Any
from flowy import *

def call(task, *args, **kwargs):
    return task(*args, **kwargs)

def finished(value):
    return value

{inspect.getsource(weigh)}
"""
"""What random programs find beside them."""


@bounded
@given(programs(), st.booleans(), SEEDS, WORKERS, PARALLELISM, st.floats(0, 2))
def test_it_is_told_as_by_a_replay_of_each_decision(
    source: str, fails: bool, seed: int, workers: int, parallelism: int, share: float
) -> None:
    """Half of the runs are open: a part of their history is there."""
    finished = run_locally(plan_of(source, seed, fails=fails, parallelism=parallelism), workers)
    events = finished.root.history.events
    there = events[: math.ceil(len(events) * share)]
    tasks = [{"name": name, "activity": {"image": "none"}} for name in TASKS]
    run = assemble(
        {
            "metadata": {"name": "program", "namespace": "ns", "uid": "u"},
            "spec": {"code": {"source": PRELUDE + source, "entrypoint": "factory"}, "tasks": tasks},
            "status": {"startTime": "2026-01-01T00:00:00Z", "history": there},
        }
    )
    each, once = _steps(run, 1 << 60), _steps(run, 0)
    assert len(each) == len(once)
    assert each[-1].divergence is None
    assert each[-1].answer == once[-1].answer
    for whole, short in zip(each, once, strict=True):
        assert (whole.point, whole.divergence) == (short.point, short.divergence)
        dropped = set(once[-1].answer.dropped)
        kept = [call for call in whole.calls if call.key not in dropped]
        assert kept == list(short.calls)
        waits = {wait.key for wait in short.answer.waiting_on}
        assert waits <= {wait.key for wait in whole.answer.waiting_on}
        assert bool(waits) is bool(whole.answer.waiting_on)


def _steps(run: Run, long: int) -> list[Step]:
    with patch.object(story, "LONG", long):
        return list(story.story(run, run.events, spec_of(run), replay))
