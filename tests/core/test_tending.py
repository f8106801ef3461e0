"""What a parent owes its children."""

from dataclasses import replace
from typing import Any

import pytest

from flowy_operator.core.child import ChildRecord, Lineage
from flowy_operator.core.history import CancelReason, Fact, Restarted, StopMode
from flowy_operator.core.observe import View
from flowy_operator.core.spec import OnEnd, OnParentEnd, SubWorkflow, TaskSpec
from flowy_operator.core.state import State
from flowy_operator.core.tending import Act, tend
from tests.builders import cancelled, completed, scheduled, state_of, task_spec, workflow_spec

CANCEL, TERMINATE, ABANDON = OnParentEnd.CANCEL, OnParentEnd.TERMINATE, OnParentEnd.ABANDON
UNWANTED = cancelled(reason=CancelReason.STOP_REQUESTED)
LEFT = cancelled(reason=CancelReason.ABANDONED)
SUSPENDED = {"suspended": True}


def child_of(state: State, *, by_parent: bool = False, owned: bool = True, run: int = 1, **fields: Any) -> ChildRecord:
    """The child of the state's first launch."""
    name = next(iter(state.launches), "older")
    lineage = Lineage(parent="w", parent_uid="u", owned=owned, task="task-0", run=run, suspended_by_parent=by_parent)
    return ChildRecord(namespace="ns", name=name, uid="c", lineage=lineage, standing="Running", **fields)


def acts(
    facts: list[Fact] | None, child: dict[str, Any], policy: OnParentEnd | None = TERMINATE, **spec: Any
) -> list[Act]:
    """What is done to the one child. `facts` follow its scheduling, None for a history that nobody has read."""
    state = state_of(scheduled(), *(facts or []))
    task = (
        task_spec()
        if policy is None
        else TaskSpec(name="task", workflow=SubWorkflow(entrypoint="e", on_parent_end=policy))
    )
    given = workflow_spec(task, **spec)
    record = child_of(state, **child)
    return [act for _, act in tend(given, None if facts is None else state, View(children={record.name: record}))]


RESTARTED: list[Fact] = [completed(), Restarted(run=2, input="{}")]
ROWS: dict[str, tuple[list[Fact] | None, dict[str, Any], OnParentEnd | None, dict[str, Any], Act | None]] = {
    "open": ([], {}, TERMINATE, {}, None),
    "open, the parent is suspended": ([], {}, TERMINATE, {"suspend": True}, Act.SUSPEND),
    "open, both are": ([], {"by_parent": True, **SUSPENDED}, TERMINATE, {"suspend": True}, None),
    "open, resumed by hand": ([], {"by_parent": True}, TERMINATE, {"suspend": True}, None),
    "open, the parent goes on": ([], {"by_parent": True, **SUSPENDED}, TERMINATE, {}, Act.RESUME),
    "open, suspended by hand": ([], SUSPENDED, TERMINATE, {}, None),
    "ended": ([completed()], {"ended": True}, TERMINATE, {}, None),
    "unwanted": ([UNWANTED], {}, TERMINATE, {}, Act.TERMINATE),
    "unwanted, told already": ([UNWANTED], {"stop": StopMode.TERMINATE}, TERMINATE, {}, None),
    "unwanted, it may clean up": ([UNWANTED], {}, CANCEL, {}, Act.CANCEL),
    "unwanted, it cleans up": ([UNWANTED], {"stop": StopMode.CANCEL}, CANCEL, {}, None),
    "unwanted, a person let it clean up": ([UNWANTED], {"stop": StopMode.CANCEL}, TERMINATE, {}, Act.TERMINATE),
    "unwanted, it is to go on": ([UNWANTED], {"owned": False}, ABANDON, {}, None),
    "unwanted, it is to go on, suspended": (
        [UNWANTED],
        {"owned": False, "by_parent": True, **SUSPENDED},
        ABANDON,
        {"suspend": True},
        Act.RESUME,
    ),
    "left behind": ([LEFT], {}, TERMINATE, {"on_end": OnEnd.ABANDON}, None),
    "left behind, suspended": ([LEFT], {"by_parent": True}, TERMINATE, {"on_end": OnEnd.ABANDON}, Act.RESUME),
    "being deleted": ([UNWANTED], {"deleting": True}, TERMINATE, {}, None),
    "unread history": (None, {}, TERMINATE, {}, Act.TERMINATE),
    "unread history, ended": (None, {"ended": True}, TERMINATE, {}, None),
    "unread history, it may have been left behind": (None, {}, TERMINATE, {"on_end": OnEnd.ABANDON}, None),
    "unread history, it was told to end": (
        None,
        {"stop": StopMode.CANCEL},
        TERMINATE,
        {"on_end": OnEnd.ABANDON},
        Act.TERMINATE,
    ),
    "unread history, unknown policy": (None, {}, None, {}, Act.TERMINATE),
    "unread history, unknown policy, it cleans up": (None, {"stop": StopMode.CANCEL}, None, {}, None),
    "older run, ended": (RESTARTED, {"ended": True}, TERMINATE, {}, Act.DELETE),
    "older run": (RESTARTED, {}, TERMINATE, {}, Act.DELETE),
    "older run, it may clean up": (RESTARTED, {}, CANCEL, {}, Act.CANCEL),
    "older run, it cleans up": (RESTARTED, {"stop": StopMode.CANCEL}, CANCEL, {}, None),
    "older run, left behind": (RESTARTED, {}, TERMINATE, {"on_end": OnEnd.ABANDON}, None),
    "older run, nobody's": (RESTARTED, {"owned": False}, ABANDON, {}, None),
    "older run, nobody's, ended": (RESTARTED, {"owned": False, "ended": True}, ABANDON, {}, None),
    "older run, nobody's, a person ends it": (
        RESTARTED,
        {"owned": False, "stop": StopMode.TERMINATE},
        ABANDON,
        {},
        None,
    ),
}


@pytest.mark.parametrize(("facts", "child", "policy", "spec", "act"), ROWS.values(), ids=ROWS)
def test_what_is_done(
    facts: list[Fact] | None, child: dict[str, Any], policy: OnParentEnd | None, spec: dict[str, Any], act: Act | None
) -> None:
    assert acts(facts, child, policy, **spec) == ([] if act is None else [act])


UNSETTLED: dict[str, tuple[dict[str, Any], OnParentEnd, Act | None]] = {
    "ended": ({"ended": True}, TERMINATE, None),
    "it runs": ({}, TERMINATE, Act.TERMINATE),
    "it runs and is told already": ({"stop": StopMode.TERMINATE}, TERMINATE, None),
    "it cleans up, and nobody waits for that": ({"stop": StopMode.CANCEL}, TERMINATE, Act.TERMINATE),
    "it may clean up": ({}, CANCEL, Act.CANCEL),
}


@pytest.mark.parametrize(("child", "policy", "act"), UNSETTLED.values(), ids=UNSETTLED)
def test_a_child_of_an_older_run_that_could_be_made_anew_is_not_deleted_yet(
    child: dict[str, Any], policy: OnParentEnd, act: Act | None
) -> None:
    state = state_of(scheduled(), *RESTARTED)
    given = workflow_spec(TaskSpec(name="task", workflow=SubWorkflow(entrypoint="e", on_parent_end=policy)))
    record = child_of(state, **child)
    done = tend(given, state, View(children={record.name: record}), {record.name})
    assert [act for _, act in done] == ([] if act is None else [act])


def test_what_is_not_in_the_history_is_left_alone() -> None:
    """Of another operator, perhaps, that is ahead."""
    state = state_of(scheduled(), cancelled(reason=CancelReason.STOP_REQUESTED))
    stranger = replace(child_of(state), name="another")
    assert list(tend(workflow_spec(), state, View(children={"another": stranger}))) == []
