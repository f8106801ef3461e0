"""Runs from the API server: the object, its pages, its children, its definition, its long results."""

from collections.abc import Mapping
from typing import Any

from flowy_cli.errors import Cluster, NotThere
from flowy_cli.run import HistoryIncomplete, Raw, Run, assemble, history_advice
from flowy_operator.adapters.kube import paths
from flowy_operator.adapters.kube.client import KubeClient
from flowy_operator.adapters.kube.errors import NotFound
from flowy_operator.adapters.kube.fields import is_owned
from flowy_operator.core.config_map import text_of
from flowy_operator.core.history import HistoryInvalid, TaskCompleted
from flowy_operator.core.job import API_VERSION, KIND, UID_LABEL
from flowy_operator.core.values import ValueRef, reference

_CHUNK = 32
"""Pages in one answer: about 1 MiB, as long as they aren't out of the ordinary."""

_TRIES = 3
"""A page may be sealed, or an older run's deleted, between two reads."""


async def get_workflow(client: KubeClient, namespace: str, name: str) -> dict[str, Any]:
    """The object. Raises NotThere."""
    try:
        return await client.get(paths.workflows(namespace, name))
    except NotFound:
        raise NotThere(
            f"there is no Workflow {name!r} in the namespace {namespace!r}",
            "`flowy list` shows those of a namespace, `flowy list -A` those of all; -n names another",
        ) from None


async def read_run(client: KubeClient, namespace: str, name: str, *, children: bool = False) -> Run:
    """A run with its whole history, and all its descendants if asked for. Raises NotThere, Cluster."""
    for attempt in range(_TRIES):
        body = await get_workflow(client, namespace, name)
        try:
            return await _read(client, namespace, body, children=children)
        except HistoryIncomplete as error:
            if attempt + 1 == _TRIES:
                raise Cluster(
                    f"the history of {name} is incomplete: {error}", "somebody has deleted a HistoryPage"
                ) from error
        except HistoryInvalid as error:
            advice = f"{history_advice(error)}; `kubectl get -o yaml` shows it as it is"
            raise Cluster(f"the history of {name} can't be read: {error}", advice) from error
    raise AssertionError


async def _read(
    client: KubeClient, namespace: str, body: Raw, *, children: bool, above: frozenset[str] = frozenset()
) -> Run:
    uid = str(body["metadata"]["uid"])
    selector = f"{UID_LABEL}={uid}"
    status = body.get("status") or {}
    pages: list[dict[str, Any]] = []
    if status.get("historyStart", 1) > 1:
        found, _ = await client.list(paths.historypages(namespace), label_selector=selector, chunk=_CHUNK)
        # A label is a claim that anybody can make.
        pages = [page for page in found if is_owned(page, uid)]
    below: dict[str, Run] = {}
    if children:
        found, _ = await client.list(paths.workflows(namespace), label_selector=selector)
        above |= {uid}
        for child in found:
            if child["metadata"]["uid"] not in above:  # a claim, too: one could be its own child
                whole = {"apiVersion": API_VERSION, "kind": KIND, **child}
                name = str(child["metadata"]["name"])
                below[name] = await _read(client, namespace, whole, children=True, above=above)
    return assemble(body, pages, children=below, definition=await _definition(client, namespace, body))


async def _definition(client: KubeClient, namespace: str, body: Raw) -> Raw | None:
    name = ((body.get("spec") or {}).get("definitionRef") or {}).get("name")
    if name is None:
        return None
    try:
        return await client.get(paths.workflowdefinitions(namespace, str(name)))
    except NotFound:
        return None


def value_refs(run: Run) -> list[ValueRef]:
    """What the history of a run only refers to."""
    facts = (event.fact for event in run.events)
    return [fact.result_ref for fact in facts if isinstance(fact, TaskCompleted) and fact.result_ref is not None]


async def load_values(client: KubeClient, run: Run) -> Mapping[str, str]:
    """The texts of the long results of a run, by the names of their ConfigMaps. Raises Cluster if one is lost."""
    texts: dict[str, str] = {}
    for ref in value_refs(run):
        try:
            text = text_of(await client.get(paths.configmaps(run.namespace, ref.name)))
        except NotFound:
            text = None
        if text is None or reference(ref.name, text) != ref:
            raise Cluster(
                f"the ConfigMap {ref.name!r}, which holds a result of {ref.bytes:,} bytes, is gone or was changed",
                "without it nobody can tell what the code was given",
            )
        texts[ref.name] = text
    return texts
