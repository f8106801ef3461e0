"""Runs the pods of fake nodes: an activity is a function here, and the start of each Job is a line in a file outside of the
cluster.

Unlike KWOK's stages, which end every pod alike, it fails where the scenario says so, and gives the results that the oracle
expects. It knows each pod by its uid, so that one is started once however often the API server tells of it.
"""

import asyncio
import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flowy_operator.adapters.kube import paths
from flowy_operator.adapters.kube.client import Json, KubeClient
from flowy_operator.adapters.kube.errors import ApiError, NotFound
from flowy_operator.core.job import (
    ATTEMPT_LABEL,
    INPUT_ANNOTATION,
    MANAGED_BY,
    RUN_LABEL,
    TASK_ANNOTATION,
    WORKFLOW_LABEL,
)
from tests.app.kubelet import Act, Call
from tests.chaos.following import PAUSE_S, follow
from tests.sim.scenario import Scenario

NODES = "fake-"
AT_ONCE = 1.0
"""A container that takes less than these seconds is only reported when it has ended, as short ones mostly are."""


class FakeKubelet:
    """`started` has each container that ever was, by its Job's name: when, in seconds since 1970. `youngest` is when the
    youngest pod of them was created, by the API server's whole seconds. `doubled` are Jobs that were given a second pod: what
    Kubernetes reserves the right to do, as when the answer to a create is lost. It has no line in the log, unless the first
    one had failed: that would be a retry, which is our business. A Job that is made a second time is another.

    `scenarios` are those of the workflows that nobody called; a child has its parent's.
    """

    def __init__(self, client: KubeClient, namespace: str, scenarios: Mapping[str, Scenario], log: Path) -> None:
        self.started: dict[str, float] = {}
        self.youngest = 0.0
        self.doubled: set[str] = set()
        self._client = client
        self._namespace = namespace
        self._scenarios = dict(scenarios)
        self._log = log
        self._containers: dict[str, asyncio.Task[None]] = {}
        self._begun: set[str] = set()
        self._has_failed: dict[str, bool] = {}  # by the uid of the Job

    def adopt(self, name: str, parent: str) -> None:
        """A child workflow does as its parent does."""
        if parent in self._scenarios:
            self._scenarios.setdefault(name, self._scenarios[parent])

    async def run(self) -> None:
        selector = ",".join(f"{name}={value}" for name, value in MANAGED_BY.items())
        try:
            await follow(self._client, paths.pods(self._namespace), self._see, self._gone, selector)
        finally:
            for task in self._containers.values():
                task.cancel()
            await asyncio.gather(*self._containers.values(), return_exceptions=True)

    def _see(self, pod: Json) -> None:
        uid, metadata = pod["metadata"]["uid"], pod["metadata"]
        if not str(pod["spec"].get("nodeName", "")).startswith(NODES):
            return
        running = self._containers.get(uid)
        if "deletionTimestamp" in metadata:
            if running is not None and running.get_name() != "removal":
                running.cancel()
            if running is None or running.get_name() != "removal":
                self._containers[uid] = asyncio.create_task(self._remove(metadata["name"]), name="removal")
        elif uid not in self._begun:
            self._begun.add(uid)
            self._containers[uid] = asyncio.create_task(self._container(pod), name="container")

    def _gone(self, pod: Json) -> None:
        task = self._containers.pop(pod["metadata"]["uid"], None)
        if task is not None:
            task.cancel()

    async def _container(self, pod: Json) -> None:
        metadata = pod["metadata"]
        labels, job = metadata["labels"], metadata["labels"]["batch.kubernetes.io/job-name"]
        name, task, attempt = labels[WORKFLOW_LABEL], metadata["annotations"][TASK_ANNOTATION], labels[ATTEMPT_LABEL]
        (owner,) = metadata["ownerReferences"]
        if self._has_failed.get(owner["uid"]) is False:
            self.doubled.add(job)
        else:
            self._has_failed[owner["uid"]] = False
            with self._log.open("a") as log:
                log.write(f"{name} {labels[RUN_LABEL]} {task} {attempt} {job}\n")
        self.started.setdefault(job, time.time())
        self.youngest = max(self.youngest, datetime.fromisoformat(metadata["creationTimestamp"]).timestamp())
        began = _now()
        arguments = json.loads(metadata["annotations"][INPUT_ANNOTATION])
        while name not in self._scenarios:  # noqa: ASYNC110  the observer hasn't seen the child yet
            await asyncio.sleep(PAUSE_S)
        act = self._scenarios[name].act(Call(name, task, int(attempt), 0, arguments["args"], arguments["kwargs"]))
        lasts_s = act.lasts_s or 0.0
        if lasts_s > AT_ONCE:
            await self._report(metadata["name"], _running(pod, began))
        await asyncio.sleep(lasts_s)
        self._has_failed[owner["uid"]] |= act.exit_code != 0
        await self._report(metadata["name"], _ended(pod, act, began))

    async def _report(self, pod: str, status: Json) -> None:
        """Until it is taken: a kubelet doesn't forget what has happened."""
        while True:
            try:
                path = f"{paths.pods(self._namespace, pod)}/status"
                await self._client.json_patch(path, [{"op": "add", "path": "/status", "value": status}])
            except NotFound:
                return
            except ApiError:
                await asyncio.sleep(PAUSE_S)
            else:
                return

    async def _remove(self, pod: str) -> None:
        """Its containers have ended: now it may go."""
        while True:
            try:
                await self._client._write(
                    "delete", "DELETE", paths.pods(self._namespace, pod), {"gracePeriodSeconds": 0}
                )
            except NotFound:
                return
            except ApiError:
                await asyncio.sleep(PAUSE_S)
            else:
                return


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _running(pod: Json, began: str) -> Json:
    return _status(pod, "Running", began, {"running": {"startedAt": began}}, "True")


def _ended(pod: Json, act: Act, began: str) -> Json:
    end: Json = {"exitCode": act.exit_code, "startedAt": began, "finishedAt": _now(), "message": act.message}
    end["reason"] = "Completed" if act.exit_code == 0 else "Error"
    return _status(pod, "Succeeded" if act.exit_code == 0 else "Failed", began, {"terminated": end}, "False")


def _status(pod: Json, phase: str, began: str, state: Mapping[str, Any], ready: str) -> Json:
    scheduled = [c for c in pod.get("status", {}).get("conditions", ()) if c["type"] == "PodScheduled"]
    kinds = ("Initialized", "Ready", "ContainersReady")
    conditions = [{"type": kind, "status": ready if "Ready" in kind else "True"} for kind in kinds]
    container = {
        "name": "main",
        "image": "busybox",
        "imageID": "",
        "ready": ready == "True",
        "restartCount": 0,
        "state": state,
    }
    return {
        "phase": phase,
        "startTime": began,
        "conditions": [*scheduled, *conditions],
        "containerStatuses": [container],
    }
