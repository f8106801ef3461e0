"""What the fake nodes write down: a container for each Job, and again for one that was made, or tried, a second time."""

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from tests.app.kubelet import Act, Call, failure, value
from tests.chaos.fake_kubelet import FakeKubelet
from tests.chaos.verdict import each_once, read_started
from tests.fakes.api import Api
from tests.fakes.client import LocalClient
from tests.fakes.clock import run_virtual
from tests.fakes.store import Store
from tests.sim.scenario import Scenario

JOB = "w-a-0-abc"


class Alike:
    """A scenario in which every container does the same."""

    def __init__(self, act: Act) -> None:
        self._act = act

    def act(self, call: Call) -> Act:
        return self._act


def pod(name: str, job_uid: str) -> dict[str, Any]:
    return {
        "metadata": {
            "name": name,
            "labels": {
                "app.kubernetes.io/managed-by": "flowy",
                "batch.kubernetes.io/job-name": JOB,
                "flowy.dev/workflow": "w",
                "flowy.dev/run": "1",
                "flowy.dev/attempt": "1",
            },
            "annotations": {"flowy.dev/task": "a-0", "flowy.dev/input": '{"args": [], "kwargs": {}}'},
            "ownerReferences": [
                {"apiVersion": "batch/v1", "kind": "Job", "name": JOB, "uid": job_uid, "controller": True}
            ],
        },
        "spec": {"nodeName": "fake-0", "containers": [{"name": "main", "image": "busybox"}]},
    }


JOB_BODY = {"metadata": {"name": JOB}, "spec": {"template": {"spec": {}}}}
CASES: dict[str, tuple[str, Act, int, set[str]]] = {
    "a pod": ("Job pod", value(1), 1, set()),
    "two pods of one Job": ("Job pod pod", value(1), 1, {JOB}),
    "three pods of one Job": ("Job pod pod pod", value(1), 1, {JOB}),
    "a Job that was made twice": ("Job pod Job pod", value(1), 2, set()),
    "a Job that tries again": ("Job pod pod", failure(), 2, set()),
}


@pytest.mark.parametrize(("made", "act", "lines", "doubled"), CASES.values(), ids=CASES)
def test_what_is_written_down(made: str, act: Act, lines: int, doubled: set[str], tmp_path: Path) -> None:
    async def scenario() -> None:
        store = Store()
        jobs, pods = store.kind("jobs"), store.kind("pods")
        kubelet = FakeKubelet(LocalClient(Api(store)), "ns", {"w": cast("Scenario", Alike(act))}, tmp_path / "fake")
        running = asyncio.create_task(kubelet.run())
        for n, kind in enumerate(made.split()):
            if kind == "Job":
                for job in store.seen(jobs):
                    store.delete(jobs, "ns", job["metadata"]["name"])
                store.create(jobs, "ns", JOB_BODY)
            else:
                (job,) = store.seen(jobs)
                store.create(pods, "ns", pod(f"pod-{n}", job["metadata"]["uid"]))
            await asyncio.sleep(5)
        assert all("terminated" in pod["status"]["containerStatuses"][0]["state"] for pod in store.seen(pods))
        running.cancel()
        await asyncio.wait([running])
        assert kubelet.doubled == doubled

    run_virtual(scenario())
    started = read_started(tmp_path)
    assert [line.job for line in started] == [JOB] * lines
    assert any("ran 2 times" in wrong for wrong in each_once(started, {}, frozenset())) is (lines > 1)
