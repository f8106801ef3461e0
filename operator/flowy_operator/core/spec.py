"""A Workflow's spec as decisions see it: bounds checked, defaults filled in, times in seconds.

`adapters/crd` makes it out of the custom resource. Core/v1 shapes (env, resources, template) stay raw: the operator
passes them on and looks inside only to merge.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Self

from flowy.policy.retry import RetrySpec
from flowy.policy.timeout import TimeoutSpec
from flowy.wire import values
from flowy_operator.core.history import StopMode

Raw = Mapping[str, Any]
"""A piece of a core/v1 object, as JSON."""

DEFAULT_PARALLELISM = 1000
"""Open tasks of one workflow at once when the spec says nothing: a bound for the API server, not for the author."""


def arguments_text(args: Sequence[Any] | None, kwargs: Raw | None) -> str:
    """The arguments of a workflow as the JSON text that its code is called with. Raises ValueRefused, naming `spec.input`."""
    return values.encode({"args": args or [], "kwargs": kwargs or {}}, "spec.input")


class OnEnd(StrEnum):
    """What becomes of tasks that still run when the code has ended (`spec.onEnd`). The values are API."""

    CANCEL = "Cancel"  # their Jobs are deleted
    WAIT = "Wait"  # the end is held until each has its outcome
    ABANDON = "Abandon"  # their Jobs run on, and nobody waits for them


class ResultFrom(StrEnum):
    """Where the result of an activity is read. The values are API, hence never renamed."""

    FILE = "File"  # the termination message
    LOG = "Log"


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """What one attempt runs: short fields, and `template` (a PodTemplateSpec) for everything else.

    `gateway` asks for the way to the operator's gateway; a heartbeat timeout gives it too (`TaskSpec.calls_gateway`).
    """

    image: str | None = None
    command: Sequence[str] | None = None
    args: Sequence[str] | None = None
    env: Sequence[Raw] = ()
    resources: Raw | None = None
    gateway: bool = False
    template: Raw = field(default_factory=dict)
    result_from: ResultFrom = ResultFrom.FILE


class OnParentEnd(StrEnum):
    """What becomes of a child that its parent doesn't want any more. The values are part of the API."""

    TERMINATE = "Terminate"  # it ends, none of its code runs again
    CANCEL = "Cancel"  # its code may clean up
    ABANDON = "Abandon"  # it goes on, whatever becomes of the parent


@dataclass(frozen=True, slots=True, kw_only=True)
class SubWorkflow:
    """What one attempt runs, as a Workflow of its own: another factory of the same source, or a WorkflowDefinition by name."""

    entrypoint: str | None = None
    definition: str | None = None
    on_parent_end: OnParentEnd = OnParentEnd.TERMINATE


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSpec:
    """One injected task: exactly one of `activity` and `workflow`.

    `defaults` are laid under the timeouts and the retry of an activity already. They aren't laid under a sub-workflow's:
    a limit that is meant for one container would end a whole tree, and retries would multiply at each level.
    """

    name: str
    activity: Activity | None = None
    workflow: SubWorkflow | None = None
    timeouts: TimeoutSpec = TimeoutSpec()
    retry: RetrySpec = RetrySpec()

    @property
    def calls_gateway(self) -> bool:
        """Whether the container is told where the gateway is, and gets a token for it."""
        return self.activity is not None and (self.activity.gateway or self.timeouts.heartbeat_s is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowSpec:
    """One execution. `input` is JSON text of `{"args": [...], "kwargs": {...}}`; `tasks` in the order of the spec.

    `inherited` is what stands in the spec of a child as it stands in this one's, as JSON; empty if no task is a workflow.
    """

    source: str
    entrypoint: str | None = None
    input: str = '{"args":[],"kwargs":{}}'
    tasks: Mapping[str, TaskSpec] = field(default_factory=dict)
    default_template: Raw = field(default_factory=dict)
    parallelism: int = DEFAULT_PARALLELISM
    workflow_timeout_s: int | None = None
    decision_timeout_s: int = 10
    cancel_timeout_s: int = 300
    on_end: OnEnd = OnEnd.CANCEL
    keep_succeeded_s: int = 300
    keep_failed_s: int = 86_400
    ttl_s: int | None = None
    suspend: bool = False
    stop: StopMode | None = None
    inherited: Raw = field(default_factory=dict)
    definition: str | None = None  # the WorkflowDefinition's name, if it comes from one
    definition_digest: str | None = None  # of its content
    # Here, since a source may be long and a spec is read once, but passes are many.
    source_digest: str = field(init=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha256(self.source.encode()).hexdigest()
        object.__setattr__(self, "source_digest", f"sha256:{digest}")

    def closed(self) -> Self:
        """What of it still counts after the end: how long things stay, and what becomes of children."""
        children = {name: task for name, task in self.tasks.items() if task.workflow is not None}
        return replace(self, source="", input="", tasks=children, default_template={}, inherited={})
