"""A Workflow's spec as decisions see it: bounds checked, defaults filled in, times in seconds.

`adapters/crd` makes it out of the custom resource. Core/v1 shapes (env, resources, template) stay raw: the operator
passes them on and looks inside only to merge.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flowy.policy.retry import RetrySpec
from flowy.policy.timeout import TimeoutSpec

Raw = Mapping[str, Any]
"""A piece of a core/v1 object, as JSON."""

DEFAULT_PARALLELISM = 1000
"""Open tasks of one workflow at once when the spec says nothing: a bound for the API server, not for the author."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """What one attempt runs: short fields, and `template` (a PodTemplateSpec) for everything else."""

    image: str | None = None
    command: Sequence[str] | None = None
    args: Sequence[str] | None = None
    env: Sequence[Raw] = ()
    resources: Raw | None = None
    template: Raw = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSpec:
    """One injected task, `defaults` already laid under its timeouts and retry."""

    name: str
    activity: Activity
    timeouts: TimeoutSpec = TimeoutSpec()
    retry: RetrySpec = RetrySpec()


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowSpec:
    """One execution. `input` is JSON text of `{"args": [...], "kwargs": {...}}`; `tasks` in the order of the spec."""

    source: str
    entrypoint: str | None = None
    input: str = '{"args":[],"kwargs":{}}'
    tasks: Mapping[str, TaskSpec] = field(default_factory=dict)
    default_template: Raw = field(default_factory=dict)
    parallelism: int = DEFAULT_PARALLELISM
    workflow_timeout_s: int | None = None
    decision_timeout_s: int = 10
    keep_succeeded_s: int = 300
    keep_failed_s: int = 86_400
    ttl_s: int | None = None
    suspend: bool = False
    source_digest: str = field(
        init=False
    )  # here, since a source may be long and a spec is read once, but passes are many

    def __post_init__(self) -> None:
        digest = hashlib.sha256(self.source.encode()).hexdigest()
        object.__setattr__(self, "source_digest", f"sha256:{digest}")
