"""The custom resource as pydantic models: the single source of the CRD, of its reference, and of what is read.

Bounds stand on every string, list, map and integer, since the API server counts the cost of CEL rules by them. No field
has a default of the API server's: what is absent stays absent, so that defaults can be laid under it (`spec.py`), and
`absent` in the schema says in words what that means. Unknown fields are ignored when read: after a rollback of the
operator the CRD may know more than it does. Shapes of core/v1 are in `pod.py`, the status in `status.py`.
"""

from typing import Annotated, Any

from pydantic import ConfigDict, Field

from flowy.policy import retry as policy
from flowy.policy.retry import RetrySpec, RetryWhen
from flowy_operator.adapters.crd import rules
from flowy_operator.adapters.crd.pod import EnvVar, PodTemplate, Resources
from flowy_operator.adapters.crd.shape import MAX_JSON, MAX_SECONDS, Object, Seconds, Shape, absent, list_map
from flowy_operator.adapters.crd.status import Status
from flowy_operator.core.history import StopMode
from flowy_operator.core.key import OBJECT_NAME
from flowy_operator.core.spec import OnEnd, OnParentEnd, ResultFrom, WorkflowSpec

MAX_TASKS = 256  # parameters of one factory; calls are not counted here
MAX_SOURCE = 256 * 1024  # what a decision accepts

IDENTIFIER = r"^[A-Za-z_][A-Za-z0-9_]*$"

Parallelism = Annotated[int, Field(ge=1, le=10_000)]

DEFAULTS = WorkflowSpec(source="")
RETRY_DEFAULTS = RetrySpec()
BACKOFF_DEFAULTS = policy.Backoff(initial_s=1)


class Code(Shape):
    """The workflow's code: Python that calls the tasks."""

    entrypoint: Annotated[str, Field(max_length=128, pattern=IDENTIFIER)] | None = Field(
        None,
        description="Name of the factory in source: the function or class whose parameters are the tasks.",
        json_schema_extra=absent("the only public function or class that source defines"),
    )
    source: str = Field(
        min_length=1,
        max_length=MAX_SOURCE,
        description="Python source. It runs again at each decision, without files, network, clock or randomness.",
    )


class Input(Shape):
    """What the code is called with. Either args and kwargs, or json."""

    model_config = ConfigDict(json_schema_extra=rules.INPUT)

    args: Annotated[list[Any], Field(max_length=1024)] | None = Field(
        None,
        description="Positional arguments, any JSON values. The API server re-encodes numbers (1.0 becomes 1, integers"
        " beyond 64 bits become floats); json keeps them exact.",
        json_schema_extra=absent("none"),
    )
    keywords: Annotated[Object, Field(max_length=1024)] | None = Field(
        None,
        description="Keyword arguments, any JSON values. YAML reads bare names such as y, n, on and off as booleans:"
        " put them in quotes. A plain kubectl apply drops nulls in objects: use create, apply --server-side, or json.",
        json_schema_extra=absent("none"),
    )
    json_text: Annotated[str, Field(min_length=2, max_length=MAX_JSON)] | None = Field(
        None,
        description='The arguments as JSON text, kept exactly: {"args": [...], "kwargs": {...}}, both optional.',
    )


class Result(Shape):
    """Where an activity leaves its result."""

    read_from: Annotated[ResultFrom, Field(strict=False)] | None = Field(
        None,
        description="File: the file that FLOWY_RESULT_FILE names, up to 4,095 bytes. Log: what the container main prints,"
        " up to 1 MiB; the whole of it if that is one JSON value, else its last line that isn't empty.",
        json_schema_extra=absent(str(ResultFrom.FILE)),
    )


class Activity(Shape):
    """What one attempt of a task runs: a container, in a Job of its own."""

    image: Annotated[str, Field(min_length=1, max_length=1024)] | None = Field(
        None,
        description="Image of the container.",
        json_schema_extra=absent("the image that template, else spec.defaults.template, gives the container main"),
    )
    command: Annotated[list[Annotated[str, Field(max_length=131_072)]], Field(max_length=256)] | None = Field(
        None,
        description="Program to run instead of the image's entrypoint; no shell is involved. $(FLOWY_ARG_0),"
        " $(FLOWY_KWARG_name) stand for the task's arguments.",
        json_schema_extra=absent("that of the template, else of the image"),
    )
    args: Annotated[list[Annotated[str, Field(max_length=131_072)]], Field(max_length=1024)] | None = Field(
        None,
        description="Arguments of the program. $(FLOWY_ARG_0), $(FLOWY_KWARG_name) stand for the task's arguments.",
        json_schema_extra=absent("those of the template, else of the image"),
    )
    # Atomic, unlike in a Pod: in a list map a new order counts as no change, and $(NAME) depends on the order.
    env: Annotated[list[EnvVar], Field(max_length=256)] | None = Field(
        None, description="Environment variables, as in a Pod, beside those of the template."
    )
    resources: Resources | None = Field(None, json_schema_extra=absent("those of the template"))
    gateway: bool | None = Field(
        None,
        description="Whether the container can call the operator (FLOWY_URL, with the token in FLOWY_TOKEN_FILE) to upload a"
        " result of up to 1 MiB and to send heartbeats. Where a heartbeat timeout is set it can in any case.",
        json_schema_extra=absent("only where heartbeatSeconds is set"),
    )
    template: PodTemplate | None = Field(
        None,
        description="A PodTemplateSpec for all the rest (volumes, node selection, security, sidecars). It is laid over"
        " spec.defaults.template and under the fields above.",
        json_schema_extra=absent("spec.defaults.template alone"),
    )
    result: Result | None = Field(None, json_schema_extra=absent("from: File"))


class Timeouts(Shape):
    """How long a task may take. Each is off unless it or its counterpart in spec.defaults.timeouts is set."""

    model_config = ConfigDict(json_schema_extra=rules.TIMEOUTS)

    schedule_to_start_seconds: Seconds | None = Field(
        None,
        description="From an attempt's scheduling to the start of its container: time for queueing and pulling.",
        json_schema_extra=absent("that of spec.defaults.timeouts, else no limit"),
    )
    start_to_close_seconds: Seconds | None = Field(
        None,
        description="From the start of an attempt's container to its end.",
        json_schema_extra=absent("that of spec.defaults.timeouts, else no limit"),
    )
    schedule_to_close_seconds: Seconds | None = Field(
        None,
        description="From the first scheduling of the task to its outcome, all attempts and delays together.",
        json_schema_extra=absent("that of spec.defaults.timeouts, else no limit"),
    )
    heartbeat_seconds: Seconds | None = Field(
        None,
        description="Longest time between two heartbeats of a running container, and from its start to the first one. The"
        " container sends them to the operator: POST $FLOWY_URL/heartbeat.",
        json_schema_extra=absent("that of spec.defaults.timeouts, else no limit"),
    )


class Backoff(Shape):
    """Waits that grow from attempt to attempt. The first attempt starts at once."""

    model_config = ConfigDict(json_schema_extra=rules.BACKOFF)

    initial_seconds: Seconds = Field(description="Wait before the second attempt.")
    multiplier: Annotated[int, Field(ge=1, le=10)] | None = Field(
        None,
        description="How many times as long as the one before each further wait is; 1 keeps them equal.",
        json_schema_extra=absent(f"{BACKOFF_DEFAULTS.multiplier}"),
    )
    max_seconds: Seconds | None = Field(
        None,
        description="Longest wait.",
        json_schema_extra=absent(f"{BACKOFF_DEFAULTS.max_s}, or initialSeconds if that is more"),
    )
    jitter_percent: Annotated[int, Field(ge=0, le=100)] | None = Field(
        None,
        description="By how much each wait may be shortened, so that tasks that failed together don't come back together."
        " By how much it is, depends on workflow, task and attempt alone.",
        json_schema_extra=absent(f"{BACKOFF_DEFAULTS.jitter_percent}"),
    )


class Retry(Shape):
    """Which failed attempts are repeated. A disruption (eviction, node loss) is no failure and costs no attempt."""

    model_config = ConfigDict(json_schema_extra=rules.RETRY)

    max_attempts: Annotated[int, Field(ge=1, le=100)] | None = Field(
        None,
        description="Attempts in all, the first one counts.",
        json_schema_extra=absent(f"that of spec.defaults.retry, else {RETRY_DEFAULTS.max_attempts}"),
    )
    when: (
        Annotated[
            list[Annotated[RetryWhen, Field(strict=False)]],
            Field(max_length=len(RetryWhen), json_schema_extra={"x-kubernetes-list-type": "set"}),
        ]
        | None
    ) = Field(
        None,
        description="After what an attempt is repeated: Timeout (startToCloseSeconds or heartbeatSeconds passed), ScheduleToStart"
        " (scheduleToStartSeconds passed), Error (the program failed). Empty: after nothing.",
        json_schema_extra=absent(f"that of spec.defaults.retry, else [{', '.join(RETRY_DEFAULTS.when)}]"),
    )
    delays_seconds: (
        Annotated[list[Annotated[int, Field(ge=0, le=MAX_SECONDS)]], Field(min_length=1, max_length=100)] | None
    ) = Field(
        None,
        description="Waits before the first, second, third ... attempt; the last value repeats. Either this or backoff.",
        json_schema_extra=absent(
            f"backoff if that is set, else that of spec.defaults.retry, else {list(RETRY_DEFAULTS.delays_s)}"
        ),
    )
    backoff: Backoff | None = Field(
        None,
        description="Waits that grow, instead of delaysSeconds. It replaces that of spec.defaults.retry whole.",
        json_schema_extra=absent("delaysSeconds if that is set, else that of spec.defaults.retry"),
    )
    non_retryable_exit_codes: (
        Annotated[
            list[Annotated[int, Field(ge=1, le=255)]],
            Field(max_length=255, json_schema_extra={"x-kubernetes-list-type": "set"}),
        ]
        | None
    ) = Field(
        None,
        description="Exit codes of the container after which an Error is final, whatever when says.",
        json_schema_extra=absent("that of spec.defaults.retry, else none"),
    )
    non_retryable_errors: (
        Annotated[
            list[Annotated[str, Field(min_length=1, max_length=1024)]],
            Field(max_length=100, json_schema_extra={"x-kubernetes-list-type": "set"}),
        ]
        | None
    ) = Field(
        None,
        description="Types of error after which an Error is final, whatever when says: those that the activity reports, and"
        " OOMKilled, ResultInvalid and the like. Whole names, as status.error.type shows them.",
        json_schema_extra=absent("that of spec.defaults.retry, else none"),
    )


class DefinitionRef(Shape):
    """The WorkflowDefinition to run, in the same namespace."""

    name: str = Field(
        min_length=1,
        max_length=253,
        pattern=OBJECT_NAME,
        description="Name of the WorkflowDefinition. It need not be there yet: the run waits for it.",
    )
    entrypoint: Annotated[str, Field(max_length=128, pattern=IDENTIFIER)] | None = Field(
        None,
        description="Name of another factory in the definition's source to run.",
        json_schema_extra=absent("the factory that the definition's own code.entrypoint says"),
    )


class SubWorkflow(Shape):
    """What one attempt of a task runs: a Workflow of its own, with its own history and its own tasks."""

    model_config = ConfigDict(json_schema_extra=rules.SUB_WORKFLOW)

    entrypoint: Annotated[str, Field(min_length=1, max_length=128, pattern=IDENTIFIER)] | None = Field(
        None,
        description="Name of a factory in the same source: a function or class whose parameters are tasks of spec.tasks.",
        json_schema_extra=absent("definitionRef says what to run"),
    )
    definition_ref: DefinitionRef | None = Field(
        None,
        description="The WorkflowDefinition to run, in the same namespace.",
        json_schema_extra=absent("entrypoint says what to run"),
    )


class Task(Shape):
    """One task that the code may call, as often as it likes: an activity or a workflow."""

    model_config = ConfigDict(json_schema_extra=rules.TASK)

    name: str = Field(
        min_length=1,
        max_length=40,
        pattern=IDENTIFIER,
        description="Name of the task: a parameter of the factory.",
        json_schema_extra=rules.TASK_NAME,
    )
    activity: Activity | None = None
    workflow: SubWorkflow | None = None
    on_parent_end: Annotated[OnParentEnd, Field(strict=False)] | None = Field(
        None,
        description="What becomes of the child of a workflow task when this Workflow ends, or its attempt is cancelled or out of"
        " time: Terminate (it ends, no code of it runs again), Cancel (its code may clean up), Abandon (it goes on, even"
        " if this Workflow is deleted).",
        json_schema_extra=absent(OnParentEnd.TERMINATE),
    )
    timeouts: Timeouts | None = Field(
        None,
        description="How long the task may take. For an activity laid field by field over spec.defaults.timeouts. For a"
        " workflow startToCloseSeconds is the workflowSeconds of each child, and scheduleToStartSeconds has no meaning.",
        json_schema_extra=absent("spec.defaults.timeouts for an activity, no limit for a workflow"),
    )
    retry: Retry | None = Field(
        None,
        description="Which failed attempts are repeated. For an activity laid field by field over spec.defaults.retry.",
        json_schema_extra=absent("spec.defaults.retry for an activity, its own defaults for a workflow"),
    )


class Defaults(Shape):
    """What is laid under every activity; tasks that are workflows have their own timeouts and retry only."""

    template: PodTemplate | None = Field(
        None, description="A PodTemplateSpec, laid under every activity's own template."
    )
    timeouts: Timeouts | None = Field(None, description="Timeouts for activities that don't set them, field by field.")
    retry: Retry | None = Field(None, description="Retry rules for activities that don't set them, field by field.")


class WorkflowTimeouts(Shape):
    """How long the workflow and each of its decisions may take."""

    workflow_seconds: Seconds | None = Field(
        None,
        description="From the workflow's start to its end; then it fails and its open tasks are cancelled.",
        json_schema_extra=absent("no limit"),
    )
    decision_seconds: Annotated[int, Field(ge=1, le=600)] | None = Field(
        None,
        description="For one run of the code over the history.",
        json_schema_extra=absent(str(DEFAULTS.decision_timeout_s)),
    )
    cancel_seconds: Seconds | None = Field(
        None,
        description="After spec.stop: Cancel, for the code's clean-up; then the workflow is terminated.",
        json_schema_extra=absent(str(DEFAULTS.cancel_timeout_s)),
    )


class Jobs(Shape):
    """How long finished Jobs stay, and with them their pods and logs."""

    keep_succeeded_seconds: Seconds | None = Field(
        None,
        description="How long a Job that succeeded stays after its outcome is recorded.",
        json_schema_extra=absent(str(DEFAULTS.keep_succeeded_s)),
    )
    keep_failed_seconds: Seconds | None = Field(
        None,
        description="How long a Job that failed stays after its outcome is recorded.",
        json_schema_extra=absent(str(DEFAULTS.keep_failed_s)),
    )


class Content(Shape):
    """What a definition and a Workflow of its own have in common: the code, its tasks, and how they are run."""

    code: Code | None = None
    tasks: Annotated[list[Task], Field(max_length=MAX_TASKS, json_schema_extra=list_map("name"))] = Field(
        default_factory=list,
        description="The tasks, by the names of the factory's parameters. With several factories in the source: the tasks of all.",
        json_schema_extra=absent("none: code that calls nothing"),
    )
    defaults: Defaults | None = None
    parallelism: Parallelism | None = Field(
        None,
        description="How many tasks may be open at once; further ones wait.",
        json_schema_extra=absent(f"{DEFAULTS.parallelism}"),
    )
    timeouts: WorkflowTimeouts | None = None
    jobs: Jobs | None = None
    ttl_seconds_after_finished: Seconds | None = Field(
        None,
        description="How long a Workflow stays after its end; then it goes, with all it owns.",
        json_schema_extra=absent("for ever"),
    )
    on_end: Annotated[OnEnd, Field(strict=False)] | None = Field(
        None,
        description="What becomes of tasks that still run when the code has ended, or restarts. Cancel: their Jobs are"
        " deleted. Wait: the end is held until each has its outcome, retries included. Abandon: their Jobs run on, and"
        " nobody waits for them. An end by timeouts.workflowSeconds or by stop always cancels.",
        json_schema_extra=absent(DEFAULTS.on_end),
    )


class Spec(Content):
    """What to run: code, or a definition. Only suspend, stop, parallelism and ttlSecondsAfterFinished may be changed later."""

    model_config = ConfigDict(json_schema_extra=rules.SPEC)

    code: Code | None = Field(None, json_schema_extra=absent("definitionRef says what to run"))
    definition_ref: DefinitionRef | None = Field(
        None,
        description="The WorkflowDefinition to run, in the same namespace. Beside it stand only"
        f" {rules.OWN_FIELDS}: all else is the definition's.",
        json_schema_extra=absent("code says what to run"),
    )
    input: Input | None = Field(None, json_schema_extra=absent("no arguments"))
    parallelism: Parallelism | None = Field(
        None,
        description="How many tasks may be open at once; further ones wait. May be changed at any time.",
        json_schema_extra=absent(f"that of the definition, else {DEFAULTS.parallelism}"),
    )
    ttl_seconds_after_finished: Seconds | None = Field(
        None,
        description="How long the Workflow stays after its end; then it goes, with all it owns. May be changed at any time.",
        json_schema_extra=absent("that of the definition, else for ever"),
    )
    suspend: bool | None = Field(
        None,
        description="While true no task is launched; what runs goes on. May be changed at any time.",
        json_schema_extra=absent("false"),
    )
    stop: Annotated[StopMode, Field(strict=False)] | None = Field(
        None,
        description="How to stop the workflow. Cancel: every open task and every call that is held back is cancelled, so"
        " that the code gets TaskCancelled where it waits; it may clean up with further tasks, also while suspend is"
        " true, for timeouts.cancelSeconds. Terminate: no code runs any more. May be set at any time, not be taken back;"
        " only Cancel may become Terminate. Of no effect once the workflow has ended.",
        json_schema_extra=absent("it runs to its end"),
    )


class Workflow(Shape):
    """One execution of a workflow: ordinary Python that calls tasks, each of them a Job."""

    model_config = ConfigDict(json_schema_extra=rules.WORKFLOW)

    spec: Spec
    status: Status | None = None


class DefinitionSpec(Content):
    """What each Workflow of this definition runs. It can't be changed: other content is another definition."""

    model_config = ConfigDict(json_schema_extra=rules.DEFINITION_SPEC)

    code: Code


class WorkflowDefinition(Shape):
    """A workflow to be run again and again, by Workflows that name it in definitionRef."""

    spec: DefinitionSpec
