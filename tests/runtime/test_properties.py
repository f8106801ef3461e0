"""Properties of the decider over random programs, failures, finish orders, batches and parallelism."""

import random
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import flowy
from flowy.testing import decide
from tests.runtime.programs import World, programs, run_in_order, run_through, sequential

SEEDS = st.integers(0, 2**32)
AT_ONCE = st.sampled_from([1, 2, 3])
PARALLELISM = st.sampled_from([2, 64])

bounded = settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


@bounded
@given(programs(), st.booleans(), SEEDS, AT_ONCE, PARALLELISM)
def test_m1_m5_a_longer_history_extends_the_calls_and_never_stalls(
    source: str, fails: bool, seed: int, at_once: int, parallelism: int
) -> None:
    run_through(World(source, fails), seed, at_once, parallelism)  # asserts at each step


@bounded
@given(programs(), st.booleans(), SEEDS, st.integers(0, 12))
def test_m2_deciding_again_changes_nothing(source: str, fails: bool, seed: int, steps: int) -> None:
    world = World(source, fails)
    chance = random.Random(seed)
    for _ in range(steps):
        world.launch(world.decide(), 64)
        if world.running:
            world.finish(chance.choice(world.running))
    once = world.decide()
    assert world.decide() == once
    world.launch(once, 10_000)
    again = world.decide()
    assert (again.outcome, again.waiting_on, again.scheduled) == (once.outcome, once.waiting_on, [])
    assert (again.result, again.error, again.ignored_errors) == (once.result, once.error, once.ignored_errors)


@bounded
@given(programs(), st.booleans(), SEEDS, st.lists(st.integers(1, 3), min_size=1, max_size=5))
def test_m3_the_result_does_not_depend_on_batches(source: str, fails: bool, seed: int, groups: list[int]) -> None:
    one_by_one = World(source, fails)
    expected = run_through(one_by_one, seed, 1, 10_000)
    got = run_in_order(World(source, fails), one_by_one.order, groups)
    assert (got.outcome, got.result, got.error) == (expected.outcome, expected.result, expected.error)


@bounded
@given(programs(loops=False), st.booleans(), SEEDS, st.integers(0, 6))
def test_m4_nothing_is_scheduled_from_a_line_after_the_barrier(source: str, fails: bool, seed: int, steps: int) -> None:
    world = World(source, fails)
    chance = random.Random(seed)
    for _ in range(steps):
        world.launch(world.decide(), 64)
        if world.running:
            world.finish(chance.choice(world.running))
    decision = world.decide()
    if decision.outcome == "suspended" and not world.is_finished:
        (barrier,) = {line for _, line in decision.waiting_on}
        assert barrier is not None
        assert all(call.line is not None and call.line <= barrier for call in decision.scheduled)


@bounded
@given(programs(), st.booleans(), SEEDS, PARALLELISM)
def test_m6_scheduled_is_in_call_order_and_numbers_have_no_gap(
    source: str, fails: bool, seed: int, parallelism: int
) -> None:
    world = World(source, fails)
    chance = random.Random(seed)
    for _ in range(6):
        decision = world.decide()
        counts = dict.fromkeys(("task", "red", "other"), 0)
        made = []
        for name in world.made:
            task = name.removeprefix("<task ").removesuffix(">")
            made.append(f"{task}-{counts[task]}")
            counts[task] += 1
        places = [made.index(call.key) for call in (*decision.scheduled, *decision.dropped)]
        assert places == sorted(places)
        world.launch(decision, parallelism)
        if world.running:
            world.finish(chance.choice(world.running))


@bounded
@given(programs(races=False), SEEDS, AT_ONCE, PARALLELISM)
def test_m7_a_replayed_run_agrees_with_a_sequential_one(source: str, seed: int, at_once: int, parallelism: int) -> None:
    try:
        expected = sequential(source)
    except RecursionError:  # pragma: no cover - a program may nest a variable in itself without bound
        return
    decision = run_through(World(source), seed, at_once, parallelism)
    assert (decision.outcome, decision.result) == ("completed", expected)


@settings(bounded, max_examples=100)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=9), SEEDS, AT_ONCE, PARALLELISM, st.booleans())
def test_n33_folds_give_the_right_result(
    numbers: list[int], seed: int, at_once: int, parallelism: int, nested: bool
) -> None:
    def factory(step: Any, add: Any) -> Any:
        def run(items: Any) -> Any:
            steps = [step(item) for item in items]
            total = flowy.parallel_reduce(add, steps, 0)
            for one in flowy.finish_order(steps):
                total = add(total, one)
            if nested:
                total = flowy.parallel_reduce(add, [flowy.parallel_reduce(add, [*steps, total]), *steps])
            return total

        return run

    chance = random.Random(seed)
    running: list[str] = []
    results: dict[str, int] = {}
    calls: dict[str, Any] = {}
    while True:
        recorded = {key: calls[key] for key in (*results, *running)}
        decision = decide(factory, args=(numbers,), results=results, running=running, calls=recorded)
        if decision.outcome != "suspended":
            break
        for call in decision.scheduled:
            arguments = (call.args, call.kwargs)
            assert calls.setdefault(call.key, arguments) == arguments
        running += [call.key for call in decision.scheduled][: max(0, parallelism - len(running))]
        for _ in range(chance.randint(1, at_once)):
            if running:
                key = running.pop(chance.randrange(len(running)))
                args = calls[key][0]
                results[key] = args[0] + 1 if key.startswith("step") else args[0] + args[1]
    total = sum(numbers) + len(numbers)
    assert (decision.outcome, decision.result) == ("completed", total * (4 if nested else 2))
