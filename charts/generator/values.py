"""Every value of the chart: name, type, default, meaning. The one source of values.yaml, its schema and its table.

The operator's own settings are not written down a second time: `settings` has a field for each of them, but for those
that the chart fills in itself.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema, create_model
from pydantic.alias_generators import to_camel

from flowy_operator.app.settings import NAMESPACE, Settings

FILLED_IN = frozenset(
    {
        "context",
        "decider_memory_mib",
        "decider_socket",
        "definitions_only",
        "gateway_port",
        "gateway_url",
        "health_port",
        "insecure_decider",  # a chart for clusters has no use for it
        "kubeconfig",
        "leader_election",
        "lease_name",
        "lease_namespace",
        "namespaces",
        "shards",
    }
)
"""Settings that the chart fills in: from values of their own, or because the operator runs in a pod."""

Strings = dict[str, str]
Labels = Annotated[
    Strings,
    Field(
        json_schema_extra={
            "propertyNames": {
                "not": {
                    "pattern": r"^(app\.kubernetes\.io/(name|instance|component|version|managed-by)|helm\.sh/chart)$"
                }
            }
        }
    ),
]
"""Labels beside the chart's own, by which objects are found."""
Object = dict[str, Any]
"""Some part of a Kubernetes object: what it may hold is the API server's to say."""


class Section(BaseModel):
    """A group of values: camelCase, and nothing unknown."""

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel, validate_by_name=True)


def _settings() -> type[Section]:
    """The operator's settings, none of them given: defaults are the operator's."""
    fields: dict[str, Any] = {}
    for name, field in Settings.model_fields.items():
        if name not in FILLED_IN:
            text = f"{field.description} Default: {field.default}."
            fields[name] = (Annotated[field.annotation, Field(description=text), *field.metadata], None)
    return create_model("OperatorSettings", __base__=Section, **fields)


class Image(Section):
    repository: str = Field(
        default="flowy-operator",
        min_length=1,
        description="Registry and name. No image is published yet: build images/operator/Dockerfile and push it to where "
        "your cluster pulls from.",
    )
    tag: str = Field(default="", description="Empty: the chart's appVersion.")
    digest: str = Field(default="", pattern=r"^(sha256:[0-9a-f]{64})?$", description="`sha256:…`; wins over the tag.")
    pull_policy: Literal["IfNotPresent", "Always", "Never"] = Field(
        default="IfNotPresent", description="When the image is pulled."
    )


class Crds(Section):
    enabled: bool = Field(default=True, description="Install and upgrade the CRDs with the release.")
    keep: bool = Field(
        default=True,
        description="Leave the CRDs, and with them all Workflows, where they are when the release is uninstalled.",
    )


class Restrict(Section):
    inline_code: bool = Field(
        default=False,
        description="Run only Workflows with a `definitionRef`: who may create Workflows, but no WorkflowDefinitions, then "
        "chooses neither code nor images.",
    )


class ServiceAccount(Section):
    create: bool = Field(default=True, description="Make one.")
    name: str = Field(default="", description="Empty: that of the Deployment; `default` if none is made.")
    annotations: Strings = Field(default={}, description="On the service account.")


class Rbac(Section):
    create: bool = Field(default=True, description="Make the operator's roles and bind them.")
    aggregate: bool = Field(
        default=True,
        description="ClusterRoles that let who has `view`, `edit` or `admin` in a namespace do so with Workflows there. "
        "WorkflowDefinitions are written by `admin` alone.",
    )


class Gateway(Section):
    port: int = Field(default=8082, ge=1024, le=65_535, description="Port of the Service and of the container.")
    url: str = Field(
        default="",
        description="Where activities find the gateway. Empty: the Service, `http://NAME.NAMESPACE.svc:PORT`.",
    )
    cluster_ip: str = Field(default="", alias="clusterIP", description="Address of the Service. Empty: any.")
    annotations: Strings = Field(default={}, description="On the Service.")


class Health(Section):
    port: int = Field(default=8080, ge=1024, le=65_535, description="Port of /healthz, /readyz and /metrics.")
    liveness: Object = Field(
        default={"periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 6},
        description="Times of the liveness probe.",
    )
    readiness: Object = Field(
        default={"periodSeconds": 2, "timeoutSeconds": 5, "failureThreshold": 8},
        description="Times of the readiness probe.",
    )


class ServiceMonitor(Section):
    enabled: bool = Field(default=False, description="Have Prometheus' operator scrape /metrics.")
    interval: str = Field(default="30s", description="How often.")
    labels: Strings = Field(default={}, description="By which your Prometheus chooses what it scrapes.")


class PrometheusRule(Section):
    enabled: bool = Field(default=False, description="Alerts, for Prometheus' operator.")
    labels: Strings = Field(default={}, description="By which your Prometheus chooses its rules.")


class Dashboard(Section):
    enabled: bool = Field(default=False, description="A dashboard, as a ConfigMap that Grafana's sidecar finds.")
    labels: Strings = Field(default={"grafana_dashboard": "1"}, description="By which the sidecar finds it.")


class Monitoring(Section):
    service_monitor: ServiceMonitor = Field(default=ServiceMonitor(), description="Scraping.")
    prometheus_rule: PrometheusRule = Field(default=PrometheusRule(), description="Alerts.")
    dashboard: Dashboard = Field(default=Dashboard(), description="A picture of it.")


class NetworkPolicy(Section):
    enabled: bool = Field(
        default=True,
        description="Let in only pods of activities, to the gateway, and with a ServiceMonitor whoever wants the figures; let out "
        "only to the ports of DNS and the API server, of any host.",
    )
    api_server_ports: list[Annotated[int, Field(ge=1, le=65_535)]] = Field(
        default=[443, 6443, 8443, 16443],
        min_length=1,
        description="Ports of the API server, as its endpoints have them and not its Service.",
    )
    extra_ingress: list[Object] = Field(default=[], description="Further rules for what comes in.")
    extra_egress: list[Object] = Field(default=[], description="Further rules for what goes out.")


RESTRICTED: Object = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}
POD_RESTRICTED: Object = {
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "runAsGroup": 65532,
    "fsGroup": 65532,
    "seccompProfile": {"type": "RuntimeDefault"},
}


class Pod(Section):
    annotations: Strings = Field(default={}, description="On the pod.")
    labels: Labels = Field(default={}, description="On the pod, beside the chart's own.")
    security_context: Object = Field(
        default=POD_RESTRICTED, description="Of the pod. As it is, Pod Security `restricted` takes it."
    )
    priority_class_name: str = Field(default="", description="Empty: the cluster's default.")
    runtime_class_name: str = Field(default="", description="Empty: the cluster's default.")
    node_selector: Strings = Field(
        default={"kubernetes.io/arch": "amd64"},
        description="As in a pod. The locks around workflow code are there for x86-64 alone.",
    )
    tolerations: list[Object] = Field(default=[], description="As in a pod.")
    affinity: Object = Field(default={}, description="As in a pod.")
    topology_spread_constraints: list[Object] = Field(
        default=[],
        description="As in a pod; without a labelSelector they get that of the pods. Empty: replicas prefer different nodes.",
    )
    termination_grace_period_seconds: int = Field(default=30, ge=5, description="It ends within 5 s by itself.")
    extra_volumes: list[Object] = Field(default=[], description="Further volumes.")
    extra_containers: list[Object] = Field(default=[], description="Further containers.")


class Container(Section):
    resources: Object = Field(
        default={"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
        description="No limit of CPU: a throttled operator is late with everything.",
    )
    security_context: Object = Field(
        default=RESTRICTED, description="Of the container. As it is, Pod Security `restricted` takes it."
    )
    extra_env: list[Object] = Field(default=[], description="Further variables.")
    extra_volume_mounts: list[Object] = Field(default=[], description="Further mounts.")


class Decider(Section):
    resources: Object = Field(
        default={"requests": {"cpu": "250m", "memory": "256Mi"}, "limits": {"memory": "2Gi"}},
        description="64 MiB, and for each decision at once half as much again as `settings.decisionMemoryMib`, for each that stays "
        "up to 60 MiB. The operator knows the limit, and has no more of them than fit.",
    )
    security_context: Object = Field(
        default={"runAsUser": 65533, "runAsGroup": 65533, **RESTRICTED},
        description="Of the container. Its user must not be the operator's.",
    )


class Values(Section):
    """All values."""

    name_override: str = Field(default="", description="Instead of the chart's name, in labels.")
    fullname_override: str = Field(default="", description="Instead of the release's name, in names.")
    common_labels: Labels = Field(default={}, description="On every object, beside the chart's own.")
    image: Image = Field(default=Image(), description="The operator's image.")
    image_pull_secrets: list[Object] = Field(default=[], description="As in a pod: `[{name: …}]`.")
    replicas: int = Field(
        default=2,
        ge=0,
        le=20,
        description="One works, holding a Lease; the others wait. 1 does, with a pause when it moves. With shards, as many work.",
    )
    shards: int = Field(
        default=1,
        ge=1,
        le=16,
        description="How many replicas share the Workflows, by a hash of their uids; the others wait. Not more than there are "
        "replicas, or one looks after several.",
    )
    pod_disruption_budget: bool = Field(default=True, description="With several replicas: drain one node at a time.")
    crds: Crds = Field(default=Crds(), description="The kinds Workflow, WorkflowDefinition, HistoryPage.")
    namespaces: list[Annotated[str, Field(pattern=NAMESPACE)]] = Field(
        default=[],
        json_schema_extra={"uniqueItems": True},
        description="Namespaces to look after, with a Role in each. Empty: the whole cluster, with a ClusterRole.",
    )
    restrict: Restrict = Field(default=Restrict(), description="What users of Workflows may not do.")
    settings: Annotated[Section, WithJsonSchema(_settings().model_json_schema())] = Field(
        default=Section(),
        description="The operator's settings. What isn't given is left to it.",
    )
    service_account: ServiceAccount = Field(default=ServiceAccount(), description="Whom the operator is.")
    rbac: Rbac = Field(default=Rbac(), description="Rights.")
    gateway: Gateway = Field(default=Gateway(), description="Where activities send heartbeats and large results.")
    health: Health = Field(default=Health(), description="Probes.")
    monitoring: Monitoring = Field(default=Monitoring(), description="What Prometheus and Grafana get.")
    network_policy: NetworkPolicy = Field(default=NetworkPolicy(), description="The operator's network.")
    container: Container = Field(default=Container(), description="The operator's container.")
    decider: Decider = Field(
        default=Decider(), description="The container that runs workflow code: no token, no network."
    )
    pod: Pod = Field(default=Pod(), description="The operator's pod.")
    extra_objects: list[Object] = Field(default=[], description="Further objects; strings in them are templates.")
    # Helm puts the parent chart's `global` here.
    globals_: Object = Field(
        default={}, alias="global", description="Ignored: there for charts that depend on this one."
    )
