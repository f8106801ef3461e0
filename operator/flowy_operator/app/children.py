"""Doing to children what their parent owes them. Each act may be repeated: done, the child itself shows it."""

import logging
from collections.abc import Collection
from contextlib import suppress

from flowy_operator.adapters.kube import paths
from flowy_operator.adapters.kube.client import KubeClient
from flowy_operator.adapters.kube.errors import ApiError, Conflict, NotFound
from flowy_operator.core.child import SUSPENDED_ANNOTATION, ChildRecord
from flowy_operator.core.errors import RetryLater
from flowy_operator.core.history import StopMode
from flowy_operator.core.observe import View
from flowy_operator.core.spec import WorkflowSpec
from flowy_operator.core.state import State
from flowy_operator.core.status import Patch
from flowy_operator.core.tending import Act, tend

_log = logging.getLogger(__name__)

_SUSPENDED = f"/metadata/annotations/{SUSPENDED_ANNOTATION.replace('/', '~1')}"
_SPEC_STOP = "/spec/stop"


async def tend_children(
    client: KubeClient, spec: WorkflowSpec, state: State | None, view: View, unsettled: Collection[str]
) -> RetryLater | None:
    """Suspend, resume, stop and delete what is due, but for the `unsettled`. Gives why another pass is needed for the rest."""
    refused: list[ApiError] = []
    for child, act in tend(spec, state, view, unsettled):
        try:
            await _do(client, child, act)
        except ApiError as error:
            _log.warning("a child can't be tended", extra={"child": child.name, "act": act.name, "error": str(error)})
            refused.append(error)
    if not refused:
        return None
    return RetryLater("; ".join(sorted({str(error) for error in refused})), refused[0].retry_after_s)


async def _do(client: KubeClient, child: ChildRecord, act: Act) -> None:
    # By its uid and not its version: the child writes its status all the time.
    with suppress(Conflict, NotFound):
        if act is Act.DELETE:
            await client.delete(paths.workflows(child.namespace, child.name), uid=child.uid)
        else:
            changes = [_is_still(child), *_changes(act)]
            await client.json_patch(paths.workflows(child.namespace, child.name), changes)


def _is_still(child: ChildRecord) -> dict[str, object]:
    return {"op": "test", "path": "/metadata/uid", "value": child.uid}


def _changes(act: Act) -> Patch:
    match act:
        case Act.SUSPEND:
            return [
                {"op": "add", "path": "/spec/suspend", "value": True},
                {"op": "add", "path": _SUSPENDED, "value": "true"},
            ]
        case Act.RESUME:
            return [{"op": "add", "path": "/spec/suspend", "value": False}, {"op": "remove", "path": _SUSPENDED}]
        case Act.CANCEL:
            return [{"op": "add", "path": _SPEC_STOP, "value": StopMode.CANCEL}]
        case Act.TERMINATE:
            return [{"op": "add", "path": _SPEC_STOP, "value": StopMode.TERMINATE}]
        case Act.DELETE:
            raise AssertionError("a deletion is no change")
