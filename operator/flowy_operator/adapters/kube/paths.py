"""Where things are on the API server. A namespace of None means cluster-wide, no name means the collection."""

_CORE = "/api/v1"
_BATCH = "/apis/batch/v1"
_COORDINATION = "/apis/coordination.k8s.io/v1"
_FLOWY = "/apis/flowy.dev/v1alpha1"


def flowy_group() -> str:
    """Discovery of our group: 404 as long as no CRD of ours is installed."""
    return _FLOWY


def workflows(namespace: str | None = None, name: str | None = None) -> str:
    return _path(_FLOWY, "workflows", namespace, name)


def workflowdefinitions(namespace: str | None = None, name: str | None = None) -> str:
    return _path(_FLOWY, "workflowdefinitions", namespace, name)


def workflow_status(namespace: str, name: str) -> str:
    return f"{workflows(namespace, name)}/status"


def historypages(namespace: str | None = None, name: str | None = None) -> str:
    return _path(_FLOWY, "historypages", namespace, name)


def namespaces(name: str) -> str:
    return _path(_CORE, "namespaces", None, name)


def jobs(namespace: str | None = None, name: str | None = None) -> str:
    return _path(_BATCH, "jobs", namespace, name)


def pods(namespace: str | None = None, name: str | None = None) -> str:
    return _path(_CORE, "pods", namespace, name)


def pod_log(namespace: str, name: str) -> str:
    return f"{pods(namespace, name)}/log"


def configmaps(namespace: str | None = None, name: str | None = None) -> str:
    return _path(_CORE, "configmaps", namespace, name)


def events(namespace: str | None = None, name: str | None = None) -> str:
    return _path(_CORE, "events", namespace, name)


def leases(namespace: str, name: str | None = None) -> str:
    return _path(_COORDINATION, "leases", namespace, name)


def tokenreviews() -> str:
    return "/apis/authentication.k8s.io/v1/tokenreviews"


def resource_of(path: str) -> str:
    """Name the resource, and subresource, of a path: `jobs`, `workflows/status`. For figures, not for decisions."""
    parts = path.strip("/").split("/")
    parts = parts[2:] if parts[0] == "api" else parts[3:]
    match parts:
        case ["namespaces", _, resource] | ["namespaces", _, resource, _]:
            return resource
        case ["namespaces", _, resource, _, *subresource]:
            return "/".join([resource, *subresource])
        case [resource, *_]:
            return resource
        case _:
            return "discovery"


def _path(group: str, resource: str, namespace: str | None, name: str | None) -> str:
    path = f"{group}/{resource}" if namespace is None else f"{group}/namespaces/{namespace}/{resource}"
    return path if name is None else f"{path}/{name}"
