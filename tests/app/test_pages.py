"""Long histories and restarts: sealed, read again, cut short anywhere, and bounded for ever."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from flowy_operator.app import reconciler
from flowy_operator.app.settings import Settings
from flowy_operator.core import pages
from flowy_operator.core.history import Restarted
from flowy_operator.core.naming import page_name
from tests.app.kubelet import NEVER_ENDS, Act, Call, value
from tests.app.sources import CHAIN
from tests.app.world import NAMESPACE, World, simulated, world
from tests.fakes.clock import run_virtual
from tests.fakes.faults import LoseAnswer, Refuse
from tests.fakes.store import HISTORY_PAGES, Json

TINY = Settings(history_tail_bytes=600)

WIDE = """
    def wide(step):
        def workflow(n):
            return [step(i) for i in range(n)]
        return workflow
"""

LOOP = """
    from flowy import restart

    def loop(step):
        def workflow(left):
            left = int(step(left))
            return restart(left) if left else "over"
        return workflow
"""


def step(call: Call) -> Act:
    return value(call.args[0] + 1, lasts_s=0.1)


def down(call: Call) -> Act:
    return value(call.args[0] - 1, lasts_s=0.1)


def hangs_at(number: int) -> Callable[[Call], Act]:
    return lambda call: NEVER_ENDS if call.args[0] == number else step(call)


def args(*values: object) -> dict[str, Any]:
    return {"input": {"args": list(values)}}


def whole(w: World) -> None:
    """What is readable now is the history, each event once, and was never anything else."""
    assert w.torn == []
    there = w.readable()
    assert there == w.history()[-len(there) :]


# -- sealing ----------------------------------------------------------------------------------------------------------


@simulated
async def test_the_status_stays_short_and_nothing_is_lost() -> None:
    longest = 0
    async with world(step, settings=TINY) as w:

        def look() -> None:
            nonlocal longest
            longest = max(longest, len(json.dumps(w.status().get("history", []))))

        w.store.news.append(look)
        w.submit(CHAIN, "step")
        await w.ended()
        assert w.result() == 20
        whole(w)
        assert [event.id for event in w.readable()] == list(range(1, 41))
        assert longest < 2 * 600, "the tail, and what one pass adds to it"
        assert len(w.pages()) > 5
        assert w.status()["historyStart"] == w.pages()[-1]["spec"]["last"] + 1
        # A page is one more write; the cut goes along with what the pass appends.
        writes = w.operators[0].line.writes
        assert writes["patch", "workflows/status"] == 21
        assert writes["create", "historypages"] == len(w.pages())


@pytest.mark.parametrize("dies_after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("write", range(16))
def test_an_operator_may_die_at_every_write(write: int, *, dies_after: bool) -> None:
    async def scenario() -> None:
        async with world(step, settings=Settings(history_tail_bytes=400)) as w:
            line = w.operators[0].line
            line.writes_left, line.dies_after = write, dies_after
            w.submit(CHAIN, "step", **args(8))
            await line.dead.wait()
            await w.restart()
            await w.ended()
            assert w.result() == 8
            whole(w)
            assert len(w.kubelet.created) == 8
            assert len(w.pages()) >= 3

    run_virtual(scenario())


@pytest.mark.parametrize("dies_after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("write", range(16))
def test_an_operator_may_die_at_every_write_of_a_restart(write: int, *, dies_after: bool) -> None:
    async def scenario() -> None:
        async with world(down, settings=Settings(history_tail_bytes=400)) as w:
            line = w.operators[0].line
            line.writes_left, line.dies_after = write, dies_after
            w.submit(LOOP, "step", **args(4))
            await line.dead.wait()
            await w.restart()
            await w.ended()
            assert w.result() == "over"
            whole(w)
            assert w.status()["run"] == 4
            assert len(w.kubelet.created) == 4
            assert {page["spec"]["run"] for page in w.pages()} <= {3, 4}

    run_virtual(scenario())


@simulated
async def test_two_operators_seal_the_same() -> None:
    async with world(step, settings=TINY) as w:
        w.settings = Settings(history_tail_bytes=900)  # other limits: the pages of one end where the other's don't
        w.start()
        w.submit(CHAIN, "step", **args(40))
        await w.ended()
        assert w.result() == 40
        whole(w)
        assert len(w.kubelet.created) == 40


@simulated
async def test_an_answer_that_is_lost_with_the_cut_needs_no_reading() -> None:
    async with world(step, settings=TINY) as w:
        w.submit(CHAIN, "step", **args(40))
        await w.until(lambda: len(w.pages()) == 2)
        w.api.faults.add(LoseAnswer(), verb="patch", times=3)
        await w.ended()
        whole(w)
        assert w.api.calls["list", "historypages"] == 0


@simulated
async def test_outcomes_that_are_too_many_for_one_write_take_several() -> None:
    with pytest.MonkeyPatch.context() as small:
        small.setattr(pages, "WRITE_BYTES", 2000)
        async with world(lambda call: value("x" * 300, lasts_s=1), settings=TINY) as w:
            w.submit(WIDE, "step", **args(50))
            await w.until(lambda: len(w.kubelet.calls) == 50)
            await w.kill()
            await w.settle(10)
            w.start()
            await w.ended()
            assert w.result() == ["x" * 300] * 50
            whole(w)
            writes = w.operators[0].line.writes
            assert 8 <= writes["patch", "workflows/status"] <= 20


# -- reading ----------------------------------------------------------------------------------------------------------


@simulated
async def test_a_new_operator_reads_the_pages_once() -> None:
    async with world(step, settings=TINY) as w:
        w.submit(CHAIN, "step")
        await w.until(lambda: len(w.pages()) == 3)
        await w.restart()
        await w.ended()
        assert w.result() == 20
        whole(w)
        assert w.api.calls["list", "historypages"] == 1
        assert len(w.kubelet.created) == 20


@simulated
async def test_a_change_of_the_spec_needs_no_reading() -> None:
    async with world(hangs_at(9), settings=TINY) as w:
        w.submit(CHAIN, "step")
        await w.until(lambda: w.jobs().count("step-9") == 1)
        w.edit(lambda body: body["spec"].update(suspend=True))
        await w.until(lambda: w.reason() == "Suspended")
        assert w.api.calls["list", "historypages"] == 0


@simulated
async def test_an_ended_workflow_is_tidied_without_its_pages() -> None:
    async with world(step, settings=TINY) as w:
        w.submit(CHAIN, "step", jobs={"keepSucceededSeconds": 100}, ttlSecondsAfterFinished=1000)
        await w.ended()
        await w.kill()
        for page in w.pages():
            w.delete("historypages", page["metadata"]["name"])
        w.start()
        await w.settle(50)
        assert len(w.jobs()) == 20
        await w.settle(60)
        assert w.jobs() == []
        assert w.api.calls["list", "historypages"] == 0
        await w.settle(1000)
        assert w.objects("workflows") == []


def _gone(w: World, page: Json) -> None:
    pass


def _changed(w: World, page: Json) -> None:
    changed = {
        **page,
        "spec": {**page["spec"], "events": page["spec"]["events"].replace('"result":"1"', '"result":"7"')},
    }
    assert changed != page
    _put(w, changed)


def _of_somebody_else(w: World, page: Json) -> None:
    owner = {**page["metadata"]["ownerReferences"][0], "uid": w.body("other")["metadata"]["uid"]}
    _put(w, {**page, "metadata": {**page["metadata"], "ownerReferences": [owner]}})


def _put(w: World, page: Json) -> None:
    metadata = {name: page["metadata"][name] for name in ("name", "labels", "ownerReferences")}
    w.store.create(HISTORY_PAGES, NAMESPACE, {"metadata": metadata, "spec": page["spec"]})


@pytest.mark.parametrize("damage", [_gone, _changed, _of_somebody_else])
def test_a_page_that_is_not_what_it_was_stalls_until_it_is_back(damage: Callable[[World, Json], None]) -> None:
    async def scenario() -> None:
        async with world(step, settings=TINY) as w:
            w.submit("def f(): return lambda: 1", name="other")
            w.submit(CHAIN, "step")
            await w.until(lambda: len(w.pages()) == 3)
            await w.kill()
            page = w.pages()[0]
            w.delete("historypages", page["metadata"]["name"])
            damage(w, page)
            w.start()
            await w.until(lambda: w.stalled() == "HistoryInvalid")
            message = w.condition(kind="Stalled")["message"]
            assert f"HistoryPage {page['metadata']['name']}" in message
            assert "put the page back" in message
            await w.settle(5)
            before, passes = w.history(), w.operators[0].operator._queue.taken
            await w.settle(100)
            assert w.history() == before
            assert w.operators[0].operator._queue.taken - passes < 100 / reconciler.PAGES_AGAIN.total_seconds() + 2
            if damage is not _gone:
                w.delete("historypages", page["metadata"]["name"])
            _put(w, page)
            await w.ended(within_s=60)
            assert w.result() == 20
            whole(w)

    run_virtual(scenario())


@simulated
async def test_pages_that_only_claim_to_be_ours_are_ignored() -> None:
    async with world(step, settings=TINY) as w:
        w.submit(CHAIN, "step")
        await w.until(lambda: len(w.pages()) == 3)
        await w.kill()
        for number, page in enumerate(w.pages()):
            metadata = {"name": f"forged-{number}", "labels": page["metadata"]["labels"]}
            w.store.create(HISTORY_PAGES, NAMESPACE, {"metadata": metadata, "spec": {"events": "hello"}})
        w.start()
        await w.ended()
        assert w.result() == 20


@simulated
async def test_a_page_that_is_in_the_way_stops_nothing() -> None:
    async with world(step, settings=TINY) as w:
        uid = w.submit(CHAIN, "step")["metadata"]["uid"]
        name = page_name(workflow="w", uid=uid, run=1, first=1)
        w.store.create(HISTORY_PAGES, NAMESPACE, {"metadata": {"name": name}, "spec": {"events": "hello"}})
        await w.until(lambda: len(w.history()) > 20)
        assert w.status()["historyStart"] == 1
        w.delete("historypages", name)
        await w.ended()
        assert w.result() == 20
        whole(w)
        assert w.status()["historyStart"] > 1


@simulated
async def test_without_the_right_or_the_kind_the_history_stays_in_the_status() -> None:
    for refusal in (Refuse(403, "Forbidden"), Refuse(404, "NotFound")):
        async with world(step, settings=TINY) as w:
            w.api.faults.add(refusal, verb="create", resource="historypages", times=1000)
            w.submit(CHAIN, "step")
            await w.ended()
            assert w.result() == 20
            assert (w.status()["historyStart"], len(w.status()["history"])) == (1, 40)


@simulated
async def test_where_no_page_can_be_made_the_status_is_the_limit() -> None:
    with pytest.MonkeyPatch.context() as small:
        small.setattr("flowy_operator.app.pages.TAIL_BYTES", 2000)
        async with world(step, settings=TINY) as w:
            w.api.faults.add(Refuse(403, "Forbidden"), verb="create", resource="historypages", times=100)
            w.submit(CHAIN, "step")
            await w.until(lambda: w.stalled() == "HistoryFull")
            assert "HistoryPages can't be made" in w.condition(kind="Stalled")["message"]
            w.api.faults.rules.clear()
            w.edit(lambda body: body["spec"].update(parallelism=7))  # something to look at it for
            await w.ended()
            assert w.result() == 20
            whole(w)


# -- edits by hand ----------------------------------------------------------------------------------------------------


def _result(status: Json) -> None:
    event = next(event for event in status["history"] if "result" in event)
    event["result"] = "77"


def _shorter(status: Json) -> None:
    status["history"].pop()


def _start(status: Json) -> None:
    status["historyStart"] = 1


def _cut(status: Json) -> None:
    status["historyStart"] += 1
    del status["history"][0]


def _run(status: Json) -> None:
    status["run"] = 2


EDITS = {"a result": _result, "shorter": _shorter, "another start": _start, "cut": _cut}


@pytest.mark.parametrize("restarted", [False, True], ids=["known", "unknown"])
@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_an_edit_after_a_cut_is_noticed(edit: Callable[[Json], None], *, restarted: bool) -> None:
    async def scenario() -> None:
        async with world(hangs_at(9), settings=TINY) as w:
            w.submit(CHAIN, "step")
            await w.until(lambda: "step-9" in w.jobs() and w.status()["historyStart"] > 1)
            await w.settle()
            if restarted:
                await w.kill()
            status = w.status()
            w.edit(lambda body: edit(body["status"]))
            if restarted:
                w.start()
            if edit is _cut and not restarted:
                # The same events, later cut than needed: what is in no page is missed when it is read again.
                await w.restart()
            await w.until(lambda: w.stalled() == "HistoryInvalid")
            w.edit(lambda body: body.update(status=status))
            await w.until(lambda: w.stalled() is None)
            assert w.reason() == "Running"

    run_virtual(scenario())


@simulated
async def test_another_run_number_is_not_believed_by_a_new_operator() -> None:
    async with world(hangs_at(9), settings=TINY) as w:
        w.submit(CHAIN, "step")
        await w.until(lambda: "step-9" in w.jobs() and w.status()["historyStart"] > 1)
        await w.kill()
        w.edit(lambda body: _run(body["status"]))
        w.start()
        await w.until(lambda: w.stalled() == "HistoryInvalid")
        assert "beginning of run 2 is missing" in w.condition(kind="Stalled")["message"]


# -- limits -----------------------------------------------------------------------------------------------------------


@simulated
async def test_a_full_run_goes_on_when_the_limit_is_raised() -> None:
    async with world(step, settings=Settings(history_tail_bytes=600, history_run_bytes=2000)) as w:
        w.submit(CHAIN, "step")
        await w.until(lambda: w.stalled() == "HistoryFull")
        assert "raise the operator's --history-run-bytes" in w.condition(kind="Stalled")["message"]
        await w.settle(100)
        w.settings = TINY
        await w.restart()
        await w.ended()
        assert w.result() == 20
        assert len(w.kubelet.created) == 20
        whole(w)


# -- restart ----------------------------------------------------------------------------------------------------------


@simulated
async def test_a_workflow_that_restarts_a_thousand_times_is_no_larger_than_one_that_did_so_once() -> None:
    sizes: list[int] = []
    async with world(down) as w:

        def look() -> None:
            sizes.append(len(json.dumps(w.body())) if w.objects("workflows") else 0)

        w.submit(LOOP, "step", jobs={"keepSucceededSeconds": 1}, **args(1000))
        await w.until(lambda: w.status().get("run") == 10, within_s=10_000)
        w.store.news.append(look)
        await w.until(lambda: w.status().get("run") == 60, within_s=10_000)
        w.store.news.remove(look)
        early = max(sizes)
        sizes.clear()
        await w.until(lambda: w.status().get("run") == 950, within_s=10_000)
        w.store.news.append(look)
        await w.ended(within_s=10_000)
        w.store.news.remove(look)
        assert w.result() == "over"
        assert max(sizes) <= early + 100, "but for longer numbers"
        assert {page["spec"]["run"] for page in w.pages()} <= {999, 1000}
        await w.settle(10)
        assert w.jobs() == []
        operator = w.operators[0].operator
        [workflow] = operator._workflows
        assert len(workflow.calls) + len(workflow.created) + len(workflow.gone) == 0
        assert len(w.kubelet.created) == 1000


@simulated
async def test_the_run_before_is_readable_and_those_before_it_are_gone() -> None:
    async with world(down) as w:
        w.submit(LOOP, "step", **args(5))
        await w.until(lambda: w.status().get("run") == 4)
        await w.until(lambda: w.status()["run"] == 4 and len(w.status()["history"]) >= 2)
        await w.settle(0.05)
        assert {page["spec"]["run"] for page in w.pages()} == {3}
        assert [event.fact.run for event in w.readable() if isinstance(event.fact, Restarted)] == [3, 4]
        await w.ended()
        whole(w)


@simulated
async def test_a_long_run_is_dropped_at_the_restart() -> None:
    with pytest.MonkeyPatch.context() as small:
        small.setattr("flowy_operator.app.pages.KEPT_RUN_BYTES", 10)
        async with world(down) as w:
            w.submit(LOOP, "step", **args(3))
            await w.ended()
            await w.settle()
            assert w.pages() == [] or {page["spec"]["run"] for page in w.pages()} == {2}
            whole(w)


@simulated
async def test_jobs_of_an_older_run_stay_for_their_time() -> None:
    async with world(lambda call: hangs_at(1)(call) if call.args[0] == 1 else down(call)) as w:
        w.submit(LOOP, "step", jobs={"keepSucceededSeconds": 100}, **args(2))
        await w.until(lambda: w.status().get("run") == 2)
        await w.settle(50)
        assert w.jobs() == ["step-0", "step-0"]
        await w.restart()
        await w.settle(40)
        assert w.jobs() == ["step-0", "step-0"]
        await w.settle(20)
        assert w.jobs() == ["step-0"]


LEAVES_ONE_BEHIND = """
    from flowy import first, restart

    def leaves(step, slow):
        def workflow(left=1):
            if left:
                return restart(int(first([step(1), slow(100)])) - 1)
            return step(step(0))
        return workflow
"""


@pytest.mark.parametrize(("on_end", "stays"), [("Cancel", False), ("Abandon", True)])
def test_what_a_restart_leaves_behind_goes_by_on_end(on_end: str, *, stays: bool) -> None:
    async def scenario() -> None:
        def act(call: Call) -> Act:
            return value(1, lasts_s=call.args[0] if call.name == "slow" else 1)

        async with world(act) as w:
            w.submit(LEAVES_ONE_BEHIND, "step", "slow", onEnd=on_end, ttlSecondsAfterFinished=5)
            await w.until(lambda: w.status().get("run") == 2)
            await w.settle(1)
            await w.restart()
            await w.settle(1)
            assert w.jobs().count("slow-0") == stays
            await w.ended()
            await w.settle(20)
            assert bool(w.objects("workflows")) == stays
            await w.settle(200)
            assert w.objects("workflows") == []

    run_virtual(scenario())


@simulated
async def test_long_values_of_dropped_runs_go_with_them() -> None:
    async with world(down) as w:
        body = w.submit(LOOP, "step", **args(6))
        owner = {
            "apiVersion": "flowy.dev/v1alpha1",
            "kind": "Workflow",
            "name": "w",
            "uid": body["metadata"]["uid"],
            "controller": True,
        }

        def keep(name: str, run: str, uid: str) -> None:
            labels = {"flowy.dev/workflow-uid": uid, "flowy.dev/run": run}
            metadata: Json = {"name": name, "labels": labels, "ownerReferences": [owner]}
            w.store.create(w.store.kind("configmaps"), NAMESPACE, {"metadata": metadata})

        for run in range(1, 7):
            keep(f"value-{run}", str(run), owner["uid"])
        keep("no-run", "latest", owner["uid"])
        keep("not-ours", "1", "another")
        await w.until(lambda: w.status().get("run") == 5)
        await w.until(lambda: w.status()["run"] == 6)
        names = sorted(found["metadata"]["name"] for found in w.objects("configmaps"))
        assert names == ["no-run", "not-ours", "value-4", "value-5", "value-6"]
