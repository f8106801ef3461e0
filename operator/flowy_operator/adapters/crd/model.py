"""The custom resource as pydantic models: the single source of the CRD, of its reference, and of what is read.

Bounds stand on every string, list, map and integer, since the API server counts the cost of CEL rules by them. No field
has a default of the API server's: what is absent stays absent, so that defaults can be laid under it (`spec.py`), and
`absent` in the schema says in words what that means. Unknown fields are ignored when read: after a rollback of the
operator the CRD may know more than it does. Core/v1 shapes are drawn as far as mistakes can be seen early; the raw
object is what is passed on.

Nothing here writes a status. Its models give the schema, and names to whoever reads one.
"""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from flowy.policy.retry import RetryOn, RetrySpec
from flowy_operator.adapters.crd import rules
from flowy_operator.core.spec import WorkflowSpec

MAX_SECONDS = 10 * 366 * 86_400  # ten years: far from any wait that is meant, near enough for sums of instants
MAX_TASKS = 256  # parameters of one factory; calls are not counted here
MAX_SOURCE = 256 * 1024  # what a decision accepts
MAX_JSON = 1024 * 1024  # an object is at most 1.5 MiB in etcd
MAX_COUNT = 2**31 - 1

DEFAULTS = WorkflowSpec(source="")
RETRY_DEFAULTS = RetrySpec()

IDENTIFIER = r"^[A-Za-z_][A-Za-z0-9_]*$"
RENAMED = {"bare_on": "true", "json_text": "json", "keywords": "kwargs"}  # names that pydantic, mypy and Python take

PRESERVED: dict[str, Any] = {"x-kubernetes-preserve-unknown-fields": True}


def outside(name: str) -> str:
    """Give the name in the manifest of a field's name here."""
    return RENAMED.get(name) or to_camel(name)


def absent(meaning: str) -> dict[str, Any]:
    """Attach what it means to leave a field out; `schema.py` and `reference.py` show it."""
    return {"absent": meaning}


def list_map(key: str) -> dict[str, Any]:
    """Attach the list type whose items are told apart by one field; two with the same are refused."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}


Seconds = Annotated[int, Field(ge=1, le=MAX_SECONDS)]
Count = Annotated[int, Field(ge=0, le=MAX_COUNT)]
Object = dict[str, Any]
"""A JSON object that the API server keeps as it is."""


class Shape(BaseModel):
    """Every object of the resource: camelCase outside, nothing converted, unknown fields ignored."""

    model_config = ConfigDict(alias_generator=outside, extra="ignore", frozen=True, strict=True)


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


class EnvVar(Shape):
    """An environment variable, as in a Pod."""

    name: str = Field(min_length=1, max_length=1024, description="Name of the variable. FLOWY_... is the operator's.")
    value: Annotated[str, Field(max_length=131_072)] | None = Field(
        None, description="Value, a string: put numbers and booleans in quotes. $(NAME) is expanded as in a Pod."
    )
    value_from: Annotated[Object, Field(max_length=8)] | None = Field(
        None, description="Source of the value, as in a Pod: secretKeyRef, configMapKeyRef, fieldRef, resourceFieldRef."
    )


class Resources(Shape):
    """Compute resources, as in a Pod."""

    requests: Annotated[Object, Field(max_length=64)] | None = Field(
        None, description="What the scheduler sets aside, for example {cpu: 500m, memory: 1Gi}."
    )
    limits: Annotated[Object, Field(max_length=64)] | None = Field(
        None, description="What the container may not pass, for example {memory: 2Gi}."
    )
    claims: Annotated[list[Object], Field(max_length=64)] | None = Field(
        None, description="Resource claims that the container uses, as in a Pod."
    )


class Container(Shape):
    """A container, as in a Pod. All its fields are passed on."""

    model_config = ConfigDict(json_schema_extra=PRESERVED)

    name: str = Field(
        min_length=1,
        max_length=63,
        description="Name of the container. The activity itself runs in the one named main.",
    )
    image: Annotated[str, Field(min_length=1, max_length=1024)] | None = Field(
        None, description="Image of the container."
    )


class PodSpec(Shape):
    """The pod's spec, as in a Pod. All its fields are passed on."""

    model_config = ConfigDict(json_schema_extra=PRESERVED)

    containers: Annotated[list[Container], Field(max_length=32, json_schema_extra=list_map("name"))] | None = Field(
        None,
        description="Containers. One named main is laid under the activity's short fields, others run beside it.",
    )


class PodTemplate(Shape):
    """A PodTemplateSpec."""

    metadata: Annotated[Object, Field(max_length=32)] | None = Field(
        None, description="Labels and annotations of the pods, as in a Pod."
    )
    spec: PodSpec | None = None


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
    template: PodTemplate | None = Field(
        None,
        description="A PodTemplateSpec for all the rest (volumes, node selection, security, sidecars). It is laid over"
        " spec.defaults.template and under the fields above.",
        json_schema_extra=absent("spec.defaults.template alone"),
    )


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


class Retry(Shape):
    """Which failed attempts are repeated. A disruption (eviction, node loss) is no failure and costs no attempt."""

    model_config = ConfigDict(json_schema_extra=rules.RETRY)

    max_attempts: Annotated[int, Field(ge=1, le=100)] | None = Field(
        None,
        description="Attempts in all, the first one counts.",
        json_schema_extra=absent(f"that of spec.defaults.retry, else {RETRY_DEFAULTS.max_attempts}"),
    )
    on: (
        Annotated[
            list[Annotated[RetryOn, Field(strict=False)]],
            Field(max_length=len(RetryOn), json_schema_extra={"x-kubernetes-list-type": "set"}),
        ]
        | None
    ) = Field(
        None,
        description="After what an attempt is repeated: Timeout (startToCloseSeconds passed), ScheduleToStart"
        " (scheduleToStartSeconds passed), Error (the program failed). Empty: after nothing. Write the name in quotes,"
        " since YAML reads a bare on as true.",
        json_schema_extra=absent(f"that of spec.defaults.retry, else [{', '.join(RETRY_DEFAULTS.on)}]"),
    )
    bare_on: Annotated[list[Annotated[str, Field(max_length=64)]], Field(max_length=16)] | None = Field(
        None,
        description="Always refused: it is what YAML makes of a bare on. Write the name in quotes.",
    )
    delays_seconds: (
        Annotated[list[Annotated[int, Field(ge=0, le=MAX_SECONDS)]], Field(min_length=1, max_length=100)] | None
    ) = Field(
        None,
        description="Waits before the first, second, third ... attempt; the last value repeats.",
        json_schema_extra=absent(f"that of spec.defaults.retry, else {list(RETRY_DEFAULTS.delays_s)}"),
    )


class Task(Shape):
    """One task that the code may call, as often as it likes."""

    name: str = Field(
        min_length=1,
        max_length=40,
        pattern=IDENTIFIER,
        description="Name of the task: a parameter of the factory.",
        json_schema_extra=rules.TASK_NAME,
    )
    activity: Activity
    timeouts: Timeouts | None = Field(
        None,
        description="How long the task may take, field by field over spec.defaults.timeouts.",
        json_schema_extra=absent("spec.defaults.timeouts"),
    )
    retry: Retry | None = Field(
        None,
        description="Which failed attempts are repeated, field by field over spec.defaults.retry.",
        json_schema_extra=absent("spec.defaults.retry"),
    )


class Defaults(Shape):
    """What is laid under every task."""

    template: PodTemplate | None = Field(
        None, description="A PodTemplateSpec, laid under every activity's own template."
    )
    timeouts: Timeouts | None = Field(None, description="Timeouts for tasks that don't set them, field by field.")
    retry: Retry | None = Field(None, description="Retry rules for tasks that don't set them, field by field.")


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


class Spec(Shape):
    """What to run. Only suspend, parallelism and ttlSecondsAfterFinished may be changed later."""

    model_config = ConfigDict(json_schema_extra=rules.SPEC)

    code: Code
    input: Input | None = Field(None, json_schema_extra=absent("no arguments"))
    tasks: Annotated[list[Task], Field(max_length=MAX_TASKS, json_schema_extra=list_map("name"))] = Field(
        default_factory=list,
        description="The tasks, by the names of the factory's parameters.",
        json_schema_extra=absent("none: code that calls nothing"),
    )
    defaults: Defaults | None = None
    parallelism: Annotated[int, Field(ge=1, le=10_000)] | None = Field(
        None,
        description="How many tasks may be open at once; further ones wait. May be changed at any time.",
        json_schema_extra=absent(f"{DEFAULTS.parallelism}"),
    )
    timeouts: WorkflowTimeouts | None = None
    jobs: Jobs | None = None
    ttl_seconds_after_finished: Seconds | None = Field(
        None,
        description="How long the Workflow stays after its end; then it goes, with all it owns. May be changed at any time.",
        json_schema_extra=absent("for ever"),
    )
    suspend: bool | None = Field(
        None,
        description="While true no task is launched; what runs goes on. May be changed at any time.",
        json_schema_extra=absent("false"),
    )


class Condition(Shape):
    """A condition of Kubernetes' standard shape."""

    type: str = Field(
        min_length=1,
        max_length=316,
        description="Succeeded (Unknown while open, then True or False), Reconciling (True while open), Stalled (True"
        " when only a person can help).",
    )
    status: str = Field(pattern="^(True|False|Unknown)$", max_length=7, description="True, False or Unknown.")
    observed_generation: Annotated[int, Field(ge=0, le=2**63 - 1)] | None = Field(
        None, description="The metadata.generation that this was said of."
    )
    last_transition_time: datetime = Field(strict=False, description="When status changed last.")
    reason: str = Field(
        min_length=1,
        max_length=1024,
        pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
        description="Why, in one word.",
    )
    message: str = Field(max_length=32_768, description="Why, in a sentence.")


class Progress(Shape):
    """Tasks by state, as counts."""

    scheduled: Count | None = Field(None, description="Tasks that the code has called so far.")
    running: Count | None = Field(None, description="Those without a final outcome.")
    succeeded: Count | None = Field(None, description="Those that succeeded.")
    failed: Count | None = Field(None, description="Those that failed, timed out or were cancelled for good.")
    summary: Annotated[str, Field(max_length=32)] | None = Field(
        None, description="Those with a final outcome / those called, such as 6/9: kubectl get can't join two fields."
    )


class Waiting(Shape):
    """A task that the code waits for."""

    task: str = Field(
        max_length=64, description="Key of the task: its name and the number of the call, such as encode-1."
    )
    line: Count | None = Field(None, description="Line of the source that waits.")
    since: datetime | None = Field(None, strict=False, description="Since when.")
    reason: Annotated[str, Field(max_length=32_768)] | None = Field(None, description="Why the task isn't done yet.")


class Error(Shape):
    """Why a task or the workflow failed."""

    type: str = Field(max_length=1024, description="Class of the exception, or the type that the activity reported.")
    message: str = Field(max_length=131_072, description="What happened.")
    task: Annotated[str, Field(max_length=64)] | None = Field(None, description="Key of the task that failed first.")
    attempt: Count | None = Field(None, description="Attempts made of it.")
    timer: Annotated[str, Field(max_length=64)] | None = Field(
        None, description="The timer that fired: ScheduleToStart, StartToClose, ScheduleToClose."
    )
    exit_code: Annotated[int, Field(ge=-(2**31), le=MAX_COUNT)] | None = Field(
        None, description="Exit code of the container."
    )
    details: Annotated[str, Field(max_length=MAX_JSON)] | None = Field(
        None, description="What the activity reported beside it, as JSON text."
    )
    line: Count | None = Field(None, description="Line of the workflow's source where it arose.")
    traceback: Annotated[str, Field(max_length=131_072)] | None = Field(
        None, description="Lines of the workflow's source that led there."
    )


class RecordedCode(Shape):
    """What the decisions were made with."""

    digest: Annotated[str, Field(max_length=128)] | None = Field(None, description="Digest of the source.")
    python: Annotated[str, Field(max_length=32)] | None = Field(None, description="Version of Python.")
    flowy: Annotated[str, Field(max_length=64)] | None = Field(None, description="Version of Flowy.")


class Event(Shape):
    """One event of the history: id, time, type and the fields of its type."""

    # A schema per type would double what each write costs the API server.
    model_config = ConfigDict(json_schema_extra=PRESERVED)


class Status(Shape):
    """What has happened. The operator alone writes it."""

    conditions: Annotated[list[Condition], Field(max_length=16, json_schema_extra=list_map("type"))] = Field(
        default_factory=list, description="Succeeded, Reconciling and Stalled, with reasons."
    )
    observed_generation: Annotated[int, Field(ge=0, le=2**63 - 1)] | None = Field(
        None, description="The metadata.generation that the operator has acted upon."
    )
    start_time: datetime | None = Field(None, strict=False, description="When the operator took the workflow up.")
    completion_time: datetime | None = Field(None, strict=False, description="When the workflow ended.")
    progress: Progress | None = None
    waiting_on: Annotated[list[Waiting], Field(max_length=1000)] | None = Field(
        None, description="The tasks that the code waits for, and why they aren't done yet."
    )
    result: Annotated[str, Field(max_length=MAX_JSON)] | None = Field(
        None, description="What the code returned, as JSON text."
    )
    error: Error | None = Field(None, description="Why the workflow failed.")
    ignored_errors: Annotated[list[Error], Field(max_length=1000)] | None = Field(
        None, description="Errors of tasks whose results the code never looked at."
    )
    run: Count | None = Field(None, description="Number of the run, one more at each restart.")
    code: RecordedCode | None = None
    history_start: Count | None = Field(None, description="Id of the first event in history.")
    history_digest: Annotated[str, Field(max_length=16, pattern="^[0-9a-f]{16}$")] | None = Field(
        None, description="Digest of the history: events changed by anyone else are found by it."
    )
    history: Annotated[list[Event], Field(max_length=100_000)] | None = Field(
        None,
        description="What happened, in order: the only clock that the code can see. Nobody but the operator writes it.",
    )


class Workflow(Shape):
    """One execution of a workflow: ordinary Python that calls tasks, each of them a Job."""

    model_config = ConfigDict(json_schema_extra=rules.WORKFLOW)

    spec: Spec
    status: Status | None = None
