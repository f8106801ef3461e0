"""A local run from its beginning to its end, as the command `run` has it: of a manifest, or of a factory in a Python file."""

import signal
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

from flowy.local.around import Watcher
from flowy.local.engine import Engine, Finished
from flowy.local.launch import Executor, Launch
from flowy.local.workers import Workers
from flowy_cli.errors import CliError
from flowy_cli.local.doing import Doing, Way, gateway
from flowy_cli.local.manifest import Manifest, input_of, plan_of
from flowy_cli.replaying.decider import Decide


def run_manifest(
    manifest: Manifest,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    way: Way,
    decide: Decide,
    workers: int,
    watcher: Watcher | None = None,
    told: Callable[[Launch, str], None] = lambda _, __: None,
) -> Finished:
    """Run a manifest's Workflow here, its activities as `way` does them, at most `workers` at once.

    `args` and `kwargs` are its input instead of the manifest's own. `told` gets what each attempt has printed. Returns when
    the workflow has ended and nothing that it has started runs any more. The first Ctrl-C lets its code clean up, the second
    ends it, as SIGTERM and SIGHUP do. Raises CliError.
    """
    arguments = input_of(manifest, args, kwargs or {})
    plan = plan_of(manifest, decide)
    with gateway() as serving:
        executor = Workers(workers, Doing(way, serving, told).perform)
        with stopped_by_signals(executor):
            try:
                finished = Engine(executor, watcher).run(plan, arguments, uuid.uuid4().hex)
            except CliError:
                executor.join()
                raise
            executor.join()
        return finished


@contextmanager
def stopped_by_signals(executor: Executor) -> Iterator[None]:
    """Let Ctrl-C stop the run, twice; the third time it interrupts as ever. SIGTERM and SIGHUP end it, since who sends them won't wait.

    They do no more than that when they come again, as they mostly do: else the process would be gone, and what it has started
    would run on.
    """
    left = 2

    def asked(number: int, frame: FrameType | None) -> None:
        nonlocal left
        if left == 0 and number == signal.SIGINT:
            signal.default_int_handler(number, frame)
        times = min(left, 1) if number == signal.SIGINT else left
        left -= times
        for _ in range(times):
            executor.ask_to_stop()

    before: dict[int, Any] = {}
    try:
        for number in _STOPS:
            # Ignored as `nohup` does it, or handled by what is no Python: that stays.
            if signal.getsignal(number) not in {signal.SIG_IGN, None}:
                before[number] = signal.signal(number, asked)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


_STOPS = (
    signal.SIGINT,
    signal.SIGTERM,
    *((signal.SIGHUP,) if hasattr(signal, "SIGHUP") else ()),
)  # Windows has no SIGHUP
