"""What pods say through the gateway, brought to the attempt that they are: pod -> Job -> Workflow -> current launch.

The caches answer, and nothing is written but results, under the Job's name, where `results.py` finds them. Where they lack something, it either hasn't arrived yet or is gone for good. Of
a Workflow the API server is asked which; of pods and Jobs the caller is told to try again, since those it must be itself.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from flowy_operator.adapters.kube import paths
from flowy_operator.adapters.kube.client import KubeClient
from flowy_operator.adapters.kube.errors import ApiError, NotFound
from flowy_operator.app.tracked import Workflow
from flowy_operator.app.values import ValueInTheWay, Values
from flowy_operator.app.workflows import Workflows
from flowy_operator.core.attempts import Abandoned, Beat, Caller, Counts, Differs, Over, Standing, Unknown, standing
from flowy_operator.core.collected import reads_log
from flowy_operator.core.history import in_milliseconds
from flowy_operator.core.key import Key
from flowy_operator.core.records import JobRecord, PodRecord
from flowy_operator.core.refusals import UPLOADED_ANOTHER
from flowy_operator.core.share import Share, shard_of
from flowy_operator.core.spec import WorkflowSpec
from flowy_operator.core.state import Task

ASKED_AGAIN = timedelta(seconds=2)
"""For so long one pod gets the answer that the API server gave, so that its questions don't become as many calls. What is
over stays over: a pod may outlive its Workflow for as long as it likes."""

ASKED_AT_ONCE = 16
ASKED_PODS = 20_000

Pods = Mapping[tuple[str, str], PodRecord]
Jobs = Mapping[tuple[str, str], JobRecord]


@dataclass(frozen=True, slots=True)
class _Stale:
    """What is cached of the Workflow doesn't fit the pod; `why` is a sentence."""

    why: str


class Attempts:
    """The gateway's desk. `pods` and `jobs` are live views by (namespace, name), `clock` gives aware UTC."""

    def __init__(
        self,
        *,
        client: KubeClient,
        workflows: Workflows,
        values: Values,
        pods: Pods,
        jobs: Jobs,
        clock: Callable[[], datetime],
        share: Share,
    ) -> None:
        self._client = client
        self._workflows = workflows
        self._values = values
        self._pods = pods
        self._jobs = jobs
        self._clock = clock
        self._share = share
        self._asked: OrderedDict[str, tuple[datetime, Standing]] = OrderedDict()
        self._asking = 0

    def knows(self, caller: Caller) -> bool:
        """Whether there is such a pod, and it says that it is of a Job."""
        return self._pod(caller) is not None

    def shard(self, caller: Caller, count: int) -> int | None:
        """Whose pod it is, of so many shards, by its own label; None if there is no such pod."""
        found = self._pod(caller)
        return None if found is None else shard_of(found[0].workflow_uid, count)

    def unheard(self, caller: Caller) -> None:
        """Count this pod's silence from now on: somebody who says it is this pod has spoken, and couldn't be judged."""
        found = self._pod(caller)
        if found is not None:
            workflow, standing = self._judge(*found)
            if workflow is not None and isinstance(standing, Counts):
                before = workflow.beats.get(standing.job, Beat(self._now()))
                workflow.beats[standing.job] = replace(before, at=self._now(), heard=True)

    async def heartbeat(self, caller: Caller, details: str | None) -> Standing:
        """Take a heartbeat, with its details as JSON text; without any, those before it stay."""
        workflow, found = await self._find(caller)
        if workflow is not None and isinstance(found, Counts):
            self._beat(workflow, found.job, details)
        return found

    async def progress(self, caller: Caller) -> str | Over | Abandoned | Unknown:
        """The details that an attempt or launch before the caller's left, as JSON text; `null` if there are none."""
        _, found = await self._find(caller)
        return found if not isinstance(found, Counts) else found.task.progress or "null"

    async def may_upload(self, caller: Caller) -> Standing:
        """How the caller's launch stands; for whoever is about to read a long body."""
        _, found = await self._find(caller)
        return found

    async def upload(self, caller: Caller, text: str) -> Standing | Differs:
        """Keep the caller's result, JSON text; `Counts` once it is stored. May be repeated with the same text."""
        workflow, found = await self._find(caller)
        if workflow is None or workflow.version.state is None or not isinstance(found, Counts):
            return found
        if _is_its_log(workflow, found.task):
            return Differs("the result of this activity is what it prints (result.from: Log), and no upload")
        other = Differs(UPLOADED_ANOTHER)
        try:
            kept = await self._values.find(workflow.owner, found.job)
            if kept is None:
                await self._values.store(workflow.owner, found.job, text, run=workflow.version.state.run)
            elif kept != text:
                return other
        except ValueInTheWay as error:
            # Between the two calls above it was another upload of this pod, else it is somebody's doing.
            return Differs(f"{other.why} ({error})")
        except ApiError as error:
            return Unknown(f"the result can't be stored now ({error})")
        # Its timer may have fired meanwhile: then what is stored is nobody's result, and nobody must believe it is.
        return await self.may_upload(caller)

    def _beat(self, workflow: Workflow, job: str, details: str | None) -> None:
        now = self._now()
        before = workflow.beats.get(job, Beat(now))
        kept = before.details if details is None else details
        workflow.beats[job] = Beat(now, kept, first_at=before.first_at or now)

    def _now(self) -> datetime:
        """As fine as a pass's clock, or what is due now would not be due yet."""
        return in_milliseconds(self._clock())

    def _pod(self, caller: Caller) -> tuple[PodRecord, str] | None:
        """The pod, and the name of the Job that it says it is of."""
        pod = self._pods.get((caller.namespace, caller.pod))
        return None if pod is None or pod.uid != caller.uid or pod.job is None else (pod, pod.job)

    async def _find(self, caller: Caller) -> tuple[Workflow | None, Standing]:
        known = self._pod(caller)
        if known is None:
            return None, Unknown(f"the operator doesn't know the pod {caller.pod} yet")
        workflow, found = self._judge(*known)
        if not isinstance(found, _Stale):
            return workflow, found
        now = self._clock()
        asked = self._asked.get(caller.uid)
        if asked is not None and (isinstance(asked[1], Over) or timedelta() <= now - asked[0] < ASKED_AGAIN):
            return None, asked[1]
        if self._asking >= ASKED_AT_ONCE:
            return None, Unknown(found.why)
        # Now, too: its other calls shall not ask beside this one, and whoever asks may go before the answer.
        self._remember(caller, now, Unknown(found.why))
        self._asking += 1
        try:
            workflow, fresh = await self._ask(*known)
        finally:
            self._asking -= 1
        self._remember(caller, now, fresh if not isinstance(fresh, Counts) else Unknown(found.why))
        return workflow, fresh

    def _remember(self, caller: Caller, at: datetime, found: Standing) -> None:
        self._asked[caller.uid] = at, found
        self._asked.move_to_end(caller.uid)
        if len(self._asked) > ASKED_PODS:
            self._asked.popitem(last=False)

    def _judge(self, pod: PodRecord, job: str) -> tuple[Workflow | None, Standing | _Stale]:
        """By the caches alone."""
        workflow = self._workflows.get(Key(pod.namespace, pod.workflow))
        if workflow is None:
            return None, _Stale(f"the operator doesn't know the workflow {pod.workflow}")
        record = self._jobs.get((pod.namespace, job))
        if record is not None and record.uid == pod.job_uid and record.owner_uid != workflow.owner.uid:
            return None, _Stale(f"the workflow {pod.workflow} is not the one that this pod belongs to")
        version = workflow.version
        if version.deleting:
            return workflow, Over(f"the workflow {pod.workflow} is being deleted")
        if version.state is None:
            return workflow, Unknown(f"the history of the workflow {pod.workflow} can't be read")
        found = standing(version.state, job, None if record is None else record.run)
        # Its end leaves no task open, so what counts needs no look at the conditions.
        if not isinstance(found, Counts | Abandoned) and version.ended:
            return workflow, Over(f"the workflow {pod.workflow} has ended")
        if isinstance(found, Unknown):
            return workflow, _Stale(found.why)
        # To end an attempt its Job's name is enough; to speak for one the Job must be ours, and the pod be of it.
        created = workflow.created.get(job)
        uid = record.uid if record is not None else None if created is None else created.uid
        if isinstance(found, Counts) and uid != pod.job_uid:
            return workflow, Unknown(f"the operator doesn't know the Job of the pod {pod.name} yet")
        return workflow, found

    async def _ask(self, pod: PodRecord, job: str) -> tuple[Workflow | None, Standing]:
        """Read the Workflow itself, and judge again."""
        try:
            body = await self._client.get(paths.workflows(pod.namespace, pod.workflow))
        except NotFound:
            return None, Over(f"the workflow {pod.workflow} was deleted")
        except ApiError:
            return None, Unknown("the API server doesn't answer")
        if not self._share.has(body["metadata"]["uid"]):
            # Its own label says otherwise. It is Kubernetes that copies labels from Job to pod, so somebody has changed it.
            return None, Unknown(f"the workflow {pod.workflow} is another operator's")
        self._workflows.accept(Key(pod.namespace, pod.workflow), body, self._clock())
        workflow, found = self._judge(pod, job)
        return workflow, Over(found.why) if isinstance(found, _Stale) else found


def _is_its_log(workflow: Workflow, task: Task) -> bool:
    """Whether the task's result is read elsewhere, so that an upload would be nobody's."""
    known = workflow.version.spec if workflow.resolved is None else workflow.resolved.spec
    if not isinstance(known, WorkflowSpec):
        return False
    activity = known.tasks[task.name].activity if task.name in known.tasks else None
    return activity is not None and reads_log(activity)
