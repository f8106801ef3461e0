"""Launches that the history tells of and the cluster lacks: what they are made of, and what became of making them."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import partial
from typing import Any

from flowy.policy.timeout import schedule_to_close
from flowy_operator.adapters.kube.client import KubeClient
from flowy_operator.adapters.metrics import Metrics
from flowy_operator.app.launcher import Launcher, Store
from flowy_operator.app.tracked import CreatedJob, Workflow
from flowy_operator.app.values import Values
from flowy_operator.app.version import Version
from flowy_operator.core.child import child_manifest
from flowy_operator.core.ending import workflow_deadline
from flowy_operator.core.errors import RetryLater
from flowy_operator.core.history import Fact, TaskCompleted, TaskFailed
from flowy_operator.core.job import InvalidActivity, is_long, job_manifest
from flowy_operator.core.merge import lay_over
from flowy_operator.core.observe import View
from flowy_operator.core.spec import WorkflowSpec
from flowy_operator.core.state import Launch, State, Task
from flowy_operator.core.values import input_name

_log = logging.getLogger(__name__)

LAUNCHED_AT_ONCE = 300
"""By one pass: a thousand take half a minute where the API server is busy, and for so long nobody would see what has ended,
or that the workflow is to stop. By a hundred, fan-outs took a tenth longer: each portion is a pass and a write more."""


class Launches:
    """`gateway_url` is what pods are told; `clock` gives aware UTC. `pod_template` lies under those of all Workflows."""

    def __init__(
        self,
        client: KubeClient,
        values: Values,
        metrics: Metrics,
        clock: Callable[[], datetime],
        gateway_url: str,
        pod_template: Mapping[str, Any],
    ) -> None:
        self._launcher = Launcher(client)
        self._metrics = metrics
        self._values = values
        self._clock = clock
        self._gateway_url = gateway_url
        self._pod_template = pod_template

    async def create_missing(
        self, workflow: Workflow, version: Version, spec: WorkflowSpec, state: State, view: View, now: datetime
    ) -> RetryLater | None:
        """Create what is missing. Gives why another pass is needed for it: to record a refusal, or to try again."""
        manifests, first, refused = list[dict[str, Any]](), dict[str, Store](), {}
        template = lay_over(self._pod_template, spec.default_template)
        unknown, are_all = 0, True
        for task in launchable(workflow, spec, state, view, now):
            if len(manifests) == LAUNCHED_AT_ONCE:
                are_all = False
                break
            arguments = workflow.arguments_of(task)
            if arguments is None or task.launch is None:
                unknown += 1  # the decider stalls, or said so many that not all had room; nobody else knows them
                continue
            try:
                manifests.append(self._manifest(workflow, version, spec, state, task, task.launch, arguments, template))
            except InvalidActivity as error:
                refused[task.launch.job] = str(error)
            else:
                if spec.tasks[task.name].workflow is None and is_long(arguments):
                    name = input_name(task.launch.job)
                    first[task.launch.job] = partial(
                        self._values.store_input, workflow.owner, name, arguments, run=state.run
                    )
        launched = await self._launcher.launch(manifests, first)
        if launched.unheard:
            workflow.unheard_at = asyncio.get_running_loop().time()
        workflow.forget_long_arguments(state, launched.created)
        made_at = self._clock()
        for name, made in launched.created.items():
            workflow.created[name] = CreatedJob(made.uid, made_at, made.path)
        if launched.created and workflow.follows_end_at is not None:
            self._metrics.launched((made_at - workflow.follows_end_at).total_seconds())
            workflow.follows_end_at = None
        refused |= launched.refused
        workflow.refused |= refused
        noted, workflow.notes = workflow.notes, launched.later
        if refused:
            return RetryLater("launches were refused; to be recorded", after_s=0.0)
        if not launched.later:
            is_partial = unknown and workflow.answer is not None and workflow.answer.repeated
            if is_partial or not are_all:
                return RetryLater("further launches are due, or their arguments to be asked for", after_s=0.0)
            return None
        if noted != launched.later:
            _log.warning("jobs can't be created now", extra=workflow.log_fields | {"jobs": dict(launched.later)})
        return RetryLater("; ".join(sorted(set(launched.later.values()))), launched.after_s)

    def _manifest(
        self,
        workflow: Workflow,
        version: Version,
        spec: WorkflowSpec,
        state: State,
        task: Task,
        launch: Launch,
        arguments: str,
        template: Mapping[str, Any],
    ) -> dict[str, Any]:
        """The Job or the child Workflow of a launch. Raises InvalidActivity."""
        task_spec = spec.tasks[task.name]
        if task_spec.workflow is not None:
            return child_manifest(workflow.owner, spec, task_spec, launch, arguments, depth=version.depth)
        ends = schedule_to_close(task_spec.timeouts, task.first_scheduled_at)
        ends_at = None if ends is None else ends.at
        times = [at for at in (ends_at, workflow_deadline(spec, version.timed_from(state))) if at is not None]
        return job_manifest(
            workflow.owner,
            task_spec,
            launch,
            arguments,
            template,
            deadline=min(times, default=None),
            gateway_url=self._gateway_url,
        )


def last_end(before: State, facts: Iterable[Fact], view: View) -> datetime | None:
    """When the last of those containers ended whose outcomes are among these facts, which follow the state."""
    ended = [fact.task for fact in facts if isinstance(fact, TaskCompleted | TaskFailed)]
    launches = [launch for key in ended if (launch := before.tasks[key].launch) is not None]
    pods = [pod for launch in launches if (pod := view.pods.get(launch.job)) is not None]
    return max((pod.finished_at for pod in pods if pod.finished_at is not None), default=None)


def launchable(workflow: Workflow, spec: WorkflowSpec, state: State, view: View, now: datetime) -> list[Task]:
    """Open tasks whose current launch is due and has no Job yet, as far as we know."""
    return [
        task
        for task in state.open()
        if task.launch is not None
        and (task.launch.held_until is None or task.launch.held_until <= now)
        and task.launch.job not in view.jobs
        and view.child(spec.tasks[task.name], task.launch.job) is None
        and task.launch.job not in workflow.created
        and task.launch.job not in workflow.gone
        and task.launch.job not in workflow.refused
    ]
