"""The status: nothing here writes one. The models give the schema, and names to whoever reads a status.

`core/status.py` writes it as JSON. What it may hold must fit the bounds here, else the API server refuses the write.
"""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from flowy_operator.adapters.crd.shape import MAX_COUNT, MAX_JSON, PRESERVED, Count, Shape, list_map


class Condition(Shape):
    """A condition of Kubernetes' standard shape."""

    type: str = Field(
        min_length=1,
        max_length=316,
        description="Succeeded (Unknown while open, then True or False), Reconciling (True while open), Stalled (True"
        " when only a person can help).",
    )
    status: Literal["True", "False", "Unknown"] = Field(description="True, False or Unknown.")
    observed_generation: Annotated[int, Field(ge=0, le=2**53)] | None = Field(
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

    scheduled: Count | None = Field(None, description="Tasks of this run that were scheduled so far.")
    running: Count | None = Field(None, description="Those with an attempt under way.")
    succeeded: Count | None = Field(None, description="Those that succeeded.")
    failed: Count | None = Field(None, description="Those that failed, timed out or were cancelled for good.")
    summary: Annotated[str, Field(max_length=32)] | None = Field(
        None,
        description="Those with a final outcome / those scheduled, such as 6/9: kubectl get can't join two fields.",
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
        None, description="The timer that fired: ScheduleToStart, StartToClose, ScheduleToClose, Heartbeat."
    )
    reason: Annotated[str, Field(max_length=64)] | None = Field(
        None, description="Why the task was cancelled: StopRequested, Deleted, WorkflowEnded, Abandoned."
    )
    exit_code: Annotated[int, Field(ge=-(2**31), le=MAX_COUNT)] | None = Field(
        None, description="Exit code of the container."
    )
    details: Annotated[str, Field(max_length=MAX_JSON)] | None = Field(
        None, description="What the activity reported beside it, or with its last heartbeat, as JSON text."
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
    model_config = ConfigDict(json_schema_extra={**PRESERVED, "maxProperties": 64})


class Status(Shape):
    """What has happened. The operator alone writes it."""

    # One owner for all of it: with one for each field the API server takes a fifth more CPU for each write, and keeps a list of
    # the fields in the object that is longer than a small history.
    model_config = ConfigDict(json_schema_extra={"x-kubernetes-map-type": "atomic"})

    conditions: Annotated[list[Condition], Field(max_length=16, json_schema_extra=list_map("type"))] = Field(
        default_factory=list, description="Succeeded, Reconciling and Stalled, with reasons."
    )
    observed_generation: Annotated[int, Field(ge=0, le=2**53)] | None = Field(
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
    definition_digest: Annotated[str, Field(max_length=128)] | None = Field(
        None,
        description="Digest of the content that the WorkflowDefinition had at the first decision. While it has another, or"
        " is not there, the run stalls.",
    )
    history_start: Count | None = Field(None, description="Id of the first event in history.")
    launched_through: Count | None = Field(
        None,
        description="Id of an event: the Jobs and Workflows of all events up to it have been made. One of them that isn't"
        " there any more was deleted.",
    )
    decided_through: Count | None = Field(
        None,
        description="Id of an event: the code has been asked about all events up to it, and has nothing to add until a task"
        " ends.",
    )
    history_digest: Annotated[str, Field(max_length=16, pattern="^[0-9a-f]{16}$")] | None = Field(
        None, description="Digest of the history: events changed by anyone else are found by it."
    )
    history: Annotated[list[Event], Field(max_length=100_000)] | None = Field(
        None,
        description="What happened, in order: the only clock that the code can see. Nobody but the operator writes it.",
    )
