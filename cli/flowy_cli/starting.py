"""From a manifest or a definition to a new Workflow; and from a Workflow to another with the same spec."""

from collections.abc import Mapping, Sequence
from typing import Any

from flowy.errors import ValueRefused
from flowy.wire import values
from flowy_cli.cluster import get_workflow
from flowy_cli.connection import Connection
from flowy_cli.documents import DEFINITION_KIND, check_fields, objects, of_kind
from flowy_cli.errors import CliError, Unreadable
from flowy_cli.listing import get_definition
from flowy_cli.run import Raw
from flowy_cli.texts import is_file, place_of, read_text
from flowy_operator.adapters.kube import paths
from flowy_operator.adapters.kube.errors import AlreadyExists
from flowy_operator.core.conditions import has_ended
from flowy_operator.core.job import API_VERSION, KIND

MAX_NAME = 52
"""Of a Workflow: what the CRD allows, so that the names of its pods aren't cut."""

SUFFIX_CHARS = 5  # that the API server appends to a generateName

RETRY_ANNOTATION = "flowy.dev/retry-of"
"""On a Workflow that `flowy retry` has made: the name of the first one of its row."""

_MOST_RETRIES = 1000
_NOT_REPEATED = ("stop", "suspend")


async def start(
    connection: Connection,
    source: str,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    name: str | None,
) -> dict[str, Any]:
    """Create the Workflow of a file, or one of a definition in the cluster. Gives the object. Raises CliError, ApiError."""
    if is_file(source):
        body = _of_file(source)
        namespace = _namespace(connection, body)
    else:
        await get_definition(connection, source)
        body = _of_definition(source)
        namespace = connection.namespace
    if name is not None:
        body["metadata"] = {**{k: v for k, v in body["metadata"].items() if k != "generateName"}, "name": name}
    if args or kwargs:
        body["spec"] = {**body["spec"], "input": _input(args, kwargs)}
    try:
        return await connection.client.create(paths.workflows(namespace), body)
    except AlreadyExists:
        raise CliError(
            f"there is a Workflow {body['metadata']['name']!r} already in the namespace {namespace!r}",
            "give the new one another name with --name; `flowy retry` runs an ended one again",
        ) from None


def _namespace(connection: Connection, body: Raw) -> str:
    """Where a manifest goes, as with kubectl: it may say so itself, unless an option says otherwise."""
    own = body["metadata"].get("namespace")
    if own is None or own == connection.namespace:
        return connection.namespace
    if connection.named:
        raise Unreadable(
            f"the manifest is for the namespace {own!r}, and -n says {connection.namespace!r}", "leave one of them out"
        )
    return str(own)


def _input(args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The input as exact text: in structured fields the API server would change numbers."""
    try:
        return {"json": values.encode({"args": list(args), "kwargs": dict(kwargs)}, "the input")}
    except ValueRefused as refusal:
        raise Unreadable(f"{refusal.path}: {refusal.reason}") from refusal


def _of_file(source: str) -> dict[str, Any]:
    where = place_of(source)
    found = objects(read_text(source), where)
    workflows = of_kind(found, KIND)
    if len(workflows) != 1:
        defined = [str(item["metadata"].get("name")) for item in of_kind(found, DEFINITION_KIND)]
        if not workflows and defined:
            raise Unreadable(
                f"{where} defines {', '.join(defined)}, and holds no Workflow",
                f"kubectl apply -f {source}, then flowy start {defined[0]} with the arguments",
            )
        raise Unreadable(f"{where} holds {len(workflows)} Workflows, not one", "kubectl apply -f starts several")
    body = workflows[0]
    check_fields(body, where)
    # Of an object that was read from a cluster, what the cluster says of it isn't a part of the new one.
    metadata = {
        key: value
        for key, value in body["metadata"].items()
        if key in {"name", "generateName", "namespace", "labels", "annotations"}
    }
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": body.get("spec") or {}}


def _of_definition(name: str) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"generateName": f"{name[: MAX_NAME - SUFFIX_CHARS - 1]}-"},
        "spec": {"definitionRef": {"name": name}},
    }


async def retry(connection: Connection, name: str) -> dict[str, Any]:
    """Create a Workflow with the spec of an ended one, as NAME-2, NAME-3 … Gives the object. Raises CliError, ApiError."""
    body = await get_workflow(connection.client, connection.namespace, name)
    if not has_ended(body.get("status") or {}):
        raise CliError(f"{name} hasn't ended", f"wait for it, or end it: flowy cancel {name}")
    first = str((body["metadata"].get("annotations") or {}).get(RETRY_ANNOTATION, name))
    for number in range(2, _MOST_RETRIES):
        again = _again(body, first, number)
        try:
            return await connection.client.create(paths.workflows(connection.namespace), again)
        except AlreadyExists:
            continue
    raise CliError(f"{first} was tried {_MOST_RETRIES:,} times", "delete old ones")


def _again(body: Raw, first: str, number: int) -> dict[str, Any]:
    """The same spec, but for a stop: nobody wants that again. Labels are a person's, those of a parent are not for it."""
    suffix = f"-{number}"
    labels = {
        key: value
        for key, value in (body["metadata"].get("labels") or {}).items()
        if "flowy.dev/" not in key and key != "app.kubernetes.io/managed-by"
    }
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {
            "name": first[: MAX_NAME - len(suffix)] + suffix,
            "annotations": {RETRY_ANNOTATION: first},
            **({"labels": labels} if labels else {}),
        },
        "spec": {key: value for key, value in (body.get("spec") or {}).items() if key not in _NOT_REPEATED},
    }
