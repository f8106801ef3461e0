"""A scrape of the whole operator tells what it has done."""

from flowy_operator.core.errors import StallReason
from tests.adapters.scrape import scraped
from tests.app.kubelet import NEVER_ENDS, Act, Call, failure, value
from tests.app.test_flow import CHAIN
from tests.app.world import NAMESPACE, World, simulated, world
from tests.fakes.faults import Refuse

CAUGHT = """
    from flowy import TaskError, wait

    def w(good, bad, slow):
        def run():
            total = good(1)
            for call in (bad(), slow()):
                try:
                    wait(call)
                except TaskError:
                    total = good(total)
            return total
        return run
"""


async def figures(w: World) -> dict[str, float]:
    """What a scrape finds once the last answer has arrived."""
    await w.settle(0.1)
    return scraped(w.operators[0].metrics)


@simulated
async def test_tasks_by_their_ends() -> None:
    def act(call: Call) -> Act:
        if call.name == "bad":
            return failure()
        if call.name == "slow":
            return NEVER_ENDS
        return Act(lasts_s=1, exit_code=137, disruption="Evicted") if call.launch == 0 else value(1)

    async with world(act) as w:
        w.submit(
            CAUGHT,
            "good",
            {"name": "bad", "retry": {"maxAttempts": 3, "when": ["Error"], "delaysSeconds": [0]}},
            {"name": "slow", "timeouts": {"startToCloseSeconds": 30}, "retry": {"maxAttempts": 1}},
        )
        await w.ended()
        found = await figures(w)
        assert found['flowy_tasks_total{outcome="completed"}'] == 3
        assert found['flowy_tasks_total{outcome="failed"}'] == 1
        assert found['flowy_tasks_total{outcome="timed_out"}'] == 1
        assert found['flowy_tasks_total{outcome="cancelled"}'] == 0
        assert found["flowy_retries_total"] == 2
        assert found["flowy_disruptions_total"] == 3
        assert found['flowy_workflows_total{reason="Completed"}'] == 1
        assert found['flowy_reconcile_seconds_count{outcome="failed"}'] == 0
        assert found['flowy_api_calls_total{code="201",resource="jobs",verb="create"}'] == len(w.kubelet.created)
        assert found["flowy_open_workflows"] == found["flowy_open_tasks"] == found["flowy_queue_depth"] == 0
        passes = sum(found[f'flowy_reconcile_seconds_count{{outcome="{outcome}"}}'] for outcome in ("done", "again"))
        assert found["flowy_queue_wait_seconds_count"] == passes > 0


@simulated
async def test_what_is_open_and_what_stalls() -> None:
    async with world(lambda call: NEVER_ENDS) as w:
        w.submit(CHAIN, "step")
        await w.until(lambda: len(w.objects("pods")) == 1)
        await w.settle(1)
        w.decider.stall(1, StallReason.MEMORY)
        w.submit(CHAIN, "step", name="stalls")
        await w.until(lambda: w.stalled("stalls") is not None)
        found = await figures(w)
        assert found['flowy_leader{shard="0"}'] == 1
        assert found["flowy_open_workflows"] == 2
        assert found["flowy_open_tasks"] == 1
        assert found['flowy_stalled_workflows{reason="DecisionMemory"}'] == 1
        assert found['flowy_stalls_total{reason="DecisionMemory"}'] == 1
        await w.until(lambda: w.stalled("stalls") is None)
        await w.settle(1)
        found = await figures(w)
        assert 'flowy_stalled_workflows{reason="DecisionMemory"}' not in found
        assert found['flowy_stalls_total{reason="DecisionMemory"}'] == 1


@simulated
async def test_a_failed_workflow_has_ended_and_does_not_stall() -> None:
    async with world(lambda call: failure()) as w:
        w.submit(CHAIN, {"name": "step", "retry": {"maxAttempts": 1}})
        await w.ended()
        found = await figures(w)
        assert found['flowy_workflows_total{reason="Failed"}'] == 1
        assert not [
            name for name, value in found.items() if name.startswith(("flowy_stalls_total", "flowy_stalled")) and value
        ]


@simulated
async def test_jobs_with_our_labels_that_are_not_ours_are_counted() -> None:
    async with world(lambda call: NEVER_ENDS) as w:
        w.submit(CHAIN, "step")
        await w.until(lambda: len(w.objects("pods")) == 1)
        await w.settle(1)
        assert (
            (await figures(w))['flowy_foreign_objects{kind="Job"}']
            == (await figures(w))['flowy_foreign_objects{kind="Pod"}']
            == 0
        )
        (ours,) = w.objects("jobs")
        labels = ours["metadata"]["labels"]
        stranger = {"metadata": {"name": "stranger", "labels": labels}}
        w.store.create(w.store.kind("jobs"), NAMESPACE, stranger)
        w.store.create(w.store.kind("pods"), NAMESPACE, stranger | {"status": {"phase": "Running"}})
        await w.settle(1)
        found = await figures(w)
        assert found['flowy_foreign_objects{kind="Job"}'] == found['flowy_foreign_objects{kind="Pod"}'] == 1


@simulated
async def test_watches_that_begin_anew_are_counted() -> None:
    async with world(lambda call: value(1)) as w:
        await w.settle(5)
        assert not [name for name in await figures(w) if name.startswith("flowy_watch_restarts")]
        w.api.faults.add(Refuse(410, "Expired"), verb="watch", resource="jobs")
        w.api.cut_watches()
        await w.settle(5)
        found = await figures(w)
        assert found['flowy_watch_restarts_total{cause="error",resource="jobs"}'] == 1
        assert found['flowy_watch_restarts_total{cause="expired",resource="jobs"}'] == 1
        assert found['flowy_watch_restarts_total{cause="error",resource="pods"}'] == 1


@simulated
async def test_a_pass_that_the_cluster_puts_off_is_told_apart() -> None:
    async with world(lambda call: value(call.args[0] + 1)) as w:
        w.api.faults.add(Refuse(409, "Conflict"), verb="patch", times=2)
        w.submit(CHAIN, "step")
        await w.ended()
        assert (await figures(w))['flowy_reconcile_seconds_count{outcome="again"}'] == 2
        assert (await figures(w))['flowy_api_calls_total{code="409",resource="workflows/status",verb="patch"}'] == 2


@simulated
async def test_dead_time_is_from_a_containers_end_to_the_jobs_that_follow() -> None:
    async with world(lambda call: value(call.args[0] + 1, lasts_s=2)) as w:
        w.submit(CHAIN, "step")
        await w.ended()
        found = await figures(w)
        assert found["flowy_dead_time_seconds_count"] == 2, "the first of three steps follows none"
        # Ends are told in whole seconds.
        assert found['flowy_dead_time_seconds_bucket{le="1.25"}'] == 2


@simulated
async def test_what_waits_for_its_time_is_not_dead_time() -> None:
    async with world(lambda call: failure() if call.attempt == 1 else value(1)) as w:
        retry = {"maxAttempts": 2, "when": ["Error"], "delaysSeconds": [60]}
        w.submit("def w(t):\n    return lambda: t()\n", {"name": "t", "retry": retry})
        await w.ended()
        found = await figures(w)
        assert found["flowy_retries_total"] == 1
        assert found["flowy_dead_time_seconds_count"] == 0
