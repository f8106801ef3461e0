"""Every setting of the operator: type, unit, default, reason.

Read once, from the command line and from variables `FLOWY_…` (the flag wins). An unknown variable of this prefix ends the
start: a misspelt limit must not go unnoticed.
"""

import json
import os
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BeforeValidator, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "FLOWY_"

NAMESPACE = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"  # of Kubernetes: another one could never be there


def _json(text: object) -> object:
    """The value of a flag, which is text; variables come read."""
    return json.loads(text) if isinstance(text, str) else text


class Settings(BaseSettings):
    """How this operator runs. Frozen: parts get values, not this object."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    kubeconfig: str | None = Field(
        default=None,
        description="Kubeconfig file. Without it: the service account of the pod that the operator runs in.",
    )
    context: str | None = Field(default=None, description="Context in the kubeconfig. Without it: its current one.")
    namespaces: tuple[Annotated[str, Field(pattern=NAMESPACE)], ...] = Field(
        default=(), description="Namespaces to watch. None given: the whole cluster, which needs cluster-wide rights."
    )
    workers: int = Field(
        default=16,
        ge=1,
        le=256,
        description="Workflows worked on at once. Each waits for the API server most of the time; 1 would let one slow "
        "write hold up all, hundreds would crowd the API server.",
    )
    decision_cpu_ms: int = Field(
        default=1000,
        ge=50,
        le=60_000,
        description="CPU time of one decision in milliseconds, 5 ms per 100 tasks and 100 ms per MiB of results on top. A "
        "usual one takes 2 ms; too little stalls long histories, too much lets an endless loop burn a core for as long.",
    )
    decision_memory_mib: int = Field(
        default=128,
        ge=16,
        le=4096,
        description="Memory of one decision in MiB, above what an idle decider takes. A single list or text that grows can have half "
        "of it, since it is copied.",
    )
    staying_children: int = Field(
        default=16,
        ge=0,
        le=1000,
        description="Decisions that stay in memory for the next one of their run, which then takes a tenth of the time. For "
        "chains of many tasks. Each takes 3 MiB, and 60 MiB at most. 0: none.",
    )
    decider_socket: str | None = Field(
        default=None,
        description="Socket of a decider in a container of its own (`flowy-operator decider`). Without it the operator starts a "
        "process beside itself: for development, and where nobody runs workflows but you.",
    )
    decider_memory_mib: int | None = Field(
        default=None,
        ge=0,  # what the downward API tells of a sidecar without a limit
        le=64 * 1024 * 1024,
        description="Memory of the decider's container in MiB. No more decisions are made at once, nor stay, than fit into it if all "
        "of them are out to harm. Without it, or 0: as many as the CPUs are for.",
    )
    shadow_share: float = Field(
        default=0.01,
        ge=0,
        le=1,
        description="Share of decisions made twice, the second time in a process that lies elsewhere in memory. Workflows "
        "whose code depends on that stall instead of failing later. At 1 every decision costs double; at 0 such code is found "
        "only when the operator restarts in the middle of a run.",
    )
    definitions_only: bool = Field(
        default=False,
        description="Run only Workflows that name a WorkflowDefinition. Who may create Workflows, but no definitions, then "
        "chooses neither code nor images. Workflows with code of their own stall.",
    )
    pod_template: Annotated[dict[Literal["metadata", "spec"], dict[str, Any]], BeforeValidator(_json)] = Field(
        default={},
        description="What the pods of all activities get unless the Workflow says otherwise, a PodTemplateSpec as JSON: service "
        "account, security, nodes. It is laid under spec.defaults.template, from the next launch on; a policy it is not.",
    )
    gateway_port: int = Field(
        default=8082,
        ge=0,
        le=65_535,
        description="Port on which containers of activities reach the operator: heartbeats, large results. 0: any free one.",
    )
    gateway_url: str | None = Field(
        default=None,
        pattern=r"^https?://[^\s/$]+(/[^\s$]*)?$",
        description="Where pods find that port, such as http://flowy.flowy-system:8082. Without it: the address from which"
        " this host calls the API server.",
    )
    health_port: int = Field(
        default=8080,
        ge=0,
        le=65_535,
        description="Port of /healthz, /readyz and /metrics. 0: any free one.",
    )
    leader_election: bool = Field(
        default=False,
        description="Work only while holding a Lease, so that several replicas may run, of which one works. Without it there "
        "must be no other operator for the same namespaces.",
    )
    lease_namespace: str | None = Field(
        default=None, description="Namespace of the Lease. Without it: that of the operator's pod, from POD_NAMESPACE."
    )
    lease_name: str = Field(
        default="flowy-operator",
        description="Name of the Lease. Replicas of one operator share it, other operators need another.",
    )
    lease_seconds: int = Field(
        default=15,
        ge=5,
        le=300,
        description="How long the Lease of a replica that says nothing lasts. The shorter, the sooner another takes over, and "
        "the sooner a slow API server costs a restart: it happens when nothing could be renewed for two thirds of it.",
    )
    shards: int = Field(
        default=1,
        ge=1,
        le=16,
        description="How many replicas share the Workflows, by a hash of their uids, each shard with a Lease of its own. As many "
        "as there are replicas, at most; each watches all Jobs and Pods, so two do less than twice as much. All replicas need the "
        "same number.",
    )
    history_tail_bytes: int = Field(
        default=32 * 1024,
        ge=256,
        le=512 * 1024,
        description="Events in the status of a Workflow; older ones are sealed into HistoryPages. A status write costs the "
        "API server 10 ms at 32 KiB and 280 ms at 1.1 MiB; less than 32 KiB makes more pages than it saves.",
    )
    history_run_bytes: int = Field(
        default=8 * 1024 * 1024,
        ge=1024,
        le=64 * 1024 * 1024,
        description="Events of one run of a Workflow, pages and status together. Each decision replays them and etcd stores "
        "them; a run that reaches it stalls, and goes on when it is raised.",
    )
    insecure_decider: bool = Field(
        default=False,
        description="Run workflow code also where the kernel can't filter its system calls. Such code can do whatever the "
        "operator can. Without this the operator does not start there.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severe level shown."
    )
    log_format: Literal["json", "text"] = Field(
        default="json", description="JSON lines for machines, or text for a person at a terminal."
    )


class Pod(NamedTuple):
    """The pod that this process runs in."""

    namespace: str
    name: str


def own_pod(environment: Mapping[str, str] = os.environ) -> Pod | None:
    """What the downward API tells by POD_NAMESPACE and POD_NAME; None if it doesn't tell both."""
    namespace, name = environment.get("POD_NAMESPACE"), environment.get("POD_NAME")
    return Pod(namespace, name) if namespace and name else None


def read_settings(flags: Mapping[str, Any], environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings of this process. Raises pydantic's ValidationError, or ValueError for an unknown variable."""
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    ours = (name for name in environment if name.startswith(PREFIX) and name not in known | _FOREIGN)
    unknown = sorted(name for name in ours if not _is_service_link(name, environment[name]))
    if unknown:
        raise ValueError(f"unknown setting {unknown[0]}: known are {', '.join(sorted(known))}")
    settings = Settings(**{name: value for name, value in flags.items() if value not in {None, ()}})
    if settings.shards > 1 and not settings.leader_election:
        raise ValueError(
            "--shards needs --leader-election: each shard has a Lease, by which one replica looks after it"
        )
    if not settings.leader_election or settings.lease_namespace is not None:
        return settings
    pod = own_pod(environment)
    if pod is None:
        raise ValueError(
            "--leader-election needs a namespace for the Lease: POD_NAMESPACE and POD_NAME, from the downward API, or "
            "--lease-namespace"
        )
    return settings.model_copy(update={"lease_namespace": pod.namespace})


# What Kubernetes tells a pod of a Service that is named flowy or flowy-…, unless its spec says `enableServiceLinks: false`.
_SERVICE_LINK = re.compile(r"_SERVICE_HOST$|_SERVICE_PORT($|_)|_PORT_[0-9]+_(TCP|UDP|SCTP)($|_)")
_LINKED_PORT = re.compile(r"(tcp|udp|sctp)://")


def _is_service_link(name: str, value: str) -> bool:
    return bool(_SERVICE_LINK.search(name) or (name.endswith("_PORT") and _LINKED_PORT.match(value)))


_FOREIGN = {"FLOWY_CACHE", "FLOWY_CLUSTER_LIMITS"}  # of the test cluster, often set in the same shell
