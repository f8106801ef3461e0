"""CEL rules of the custom resource: what a schema keyword can't say, with messages for the author of a manifest.

`spec.py` holds the same rules for what reaches the operator past an older or hand-made CRD. Every list and string that
an expression walks is bounded in `model.py`: the API server multiplies the bounds and refuses a CRD that could cost too
much. It knows no bound of a list that an expression makes, hence `format`, which it does not charge for, and not `join`.
"""

import keyword
from collections.abc import Mapping, Sequence
from typing import Any

from flowy_operator.core.job import MAIN

Rule = Mapping[str, str]
"""One entry of `x-kubernetes-validations`."""

MAX_WORKFLOW_NAME = 52  # a Job's name is at most 63 and adds a hash; CronJob draws the same line for the same reason


OF_THE_DEFINITION = ("tasks", "defaults", "onEnd", "jobs", "timeouts.decisionSeconds", "timeouts.cancelSeconds")
"""What a Workflow with a definitionRef can't say itself, beside code."""

OWN_FIELDS = "input, parallelism, timeouts.workflowSeconds, ttlSecondsAfterFinished, suspend and stop"


def rules(*entries: Rule) -> dict[str, Any]:
    """Attach rules to a model or a field, by pydantic's `json_schema_extra`."""
    return {"x-kubernetes-validations": [dict(entry) for entry in entries]}


def _fixed(field: str) -> Rule:
    """Refuse that a field of the spec is changed, added or taken away."""
    # A rule on the field itself would not run when the field comes or goes, so it stands on the parent. Each look at a field
    # costs the API server as much as the schema has fields beside it, and these rules run at each write of a status: a
    # quarter of its cost. `self.?field == oldSelf.?field` would be shorter; the API server takes it to be too dear.
    return {
        "rule": f"has(self.{field}) ? has(oldSelf.{field}) && self.{field} == oldSelf.{field} : !has(oldSelf.{field})",
        "message": f"spec.{field} can't be changed, what has run depends on it: create a new Workflow"
        " (suspend, stop, parallelism and ttlSecondsAfterFinished may be changed)",
        "reason": "FieldValueForbidden",
        "fieldPath": f".{field}",
    }


def _for_good(field: str, but: str) -> Rule:
    """Refuse that a field is taken away or changed once it is set, but for the change that `but` allows."""
    return {
        "rule": f"!has(oldSelf.{field}) || (has(self.{field}) && (self.{field} == oldSelf.{field} || self.{field} == '{but}'))",
        "message": f"spec.{field} can't be taken back, tasks may have been cancelled already; it may only become {but}",
        "reason": "FieldValueForbidden",
        "fieldPath": f".{field}",
    }


def _not_beside_a_definition(field: str) -> Rule:
    """Refuse in a Workflow what its definition says."""
    *parents, _ = steps = field.split(".")
    given = [f"has(self.{'.'.join(steps[:n])})" for n in range(1, len(parents) + 2)]
    return {
        "rule": f"!has(self.definitionRef) || !({' && '.join(given)})",
        "message": f"spec.{field} is the definition's business, leave it out (beside definitionRef stand only {OWN_FIELDS})",
        "reason": "FieldValueForbidden",
        "fieldPath": f".{field}",
    }


def _unclear_image() -> Rule:
    """Refuse tasks that have neither image nor template; whether the template has an image, `spec.py` looks up."""
    own = "!has(t.activity) || has(t.activity.image) || has(t.activity.template)"
    hint = f"give activity.image, or a template with an image for the container named {MAIN}"
    return {
        "rule": f"!has(self.tasks) || (has(self.defaults) && has(self.defaults.template)) || self.tasks.all(t, {own})",
        "message": f"no image for a task's container: {hint}",
        "messageExpression": f"'no image for the container of %s: {hint}'"
        f".format([self.tasks.map(t, !({own}), t.name)])",
        "reason": "FieldValueRequired",
        "fieldPath": ".tasks",
    }


def _close_covers(field: str) -> Rule:
    """Within one `timeouts`, let the limit over all attempts hold at least one attempt's."""
    return {
        "rule": f"!has(self.scheduleToCloseSeconds) || !has(self.{field}) || self.scheduleToCloseSeconds >= self.{field}",
        "message": f"scheduleToCloseSeconds spans all attempts: make it at least {field}, or leave one of them out",
        "fieldPath": ".scheduleToCloseSeconds",
    }


def _close_covers_default(field: str) -> Rule:
    """Say the same where one of the two comes from `defaults.timeouts`; both from one place is the rule above."""
    close = "scheduleToCloseSeconds"
    default = "self.defaults.timeouts"
    own_close = (
        f"!has(t.timeouts.{close}) || has(t.timeouts.{field}) || !has({default}.{field})"
        f" || t.timeouts.{close} >= {default}.{field}"
    )
    own_field = (
        f"has(t.timeouts.{close}) || !has(t.timeouts.{field}) || !has({default}.{close})"
        f" || {default}.{close} >= t.timeouts.{field}"
    )
    bad = f"has(t.activity) && has(t.timeouts) && !(({own_close}) && ({own_field}))"
    return {
        "rule": f"!has(self.tasks) || !has(self.defaults) || !has({default}) || !self.tasks.exists(t, {bad})",
        "message": f"with spec.defaults.timeouts laid under it, a task's {close} is less than its {field}",
        "messageExpression": f"'with spec.defaults.timeouts laid under it, {close} is less than {field} in %s: {close} spans"
        f" all attempts, set both in the task'.format([self.tasks.map(t, {bad}, t.name)])",
        "fieldPath": ".tasks",
    }


NOT_FOR_WORKFLOWS: Mapping[str, str] = {
    "scheduleToStartSeconds": "it starts when it is created",
    "heartbeatSeconds": "it has no container that could send them",
}
"""Timers that have no meaning for a task that is a workflow, and why."""


def _no_timer_of_a_workflow(field: str, why: str) -> Rule:
    return {
        "rule": f"!has(self.workflow) || !has(self.timeouts) || !has(self.timeouts.{field})",
        "message": f"{field} has no meaning for a workflow: {why}",
        "fieldPath": f".timeouts.{field}",
    }


def _quoted(words: Sequence[str]) -> str:
    return ", ".join(f"'{word}'" for word in words)


WORKFLOW = rules(
    {
        "rule": f"size(self.metadata.name) <= {MAX_WORKFLOW_NAME}",
        "message": f"the name is too long: at most {MAX_WORKFLOW_NAME} characters, since the names of its Jobs are made from it",
        "fieldPath": ".metadata.name",
    }
)
_CONTENT = (
    _unclear_image(),
    _close_covers_default("startToCloseSeconds"),
    _close_covers_default("scheduleToStartSeconds"),
)
SPEC = rules(
    *(_fixed(field) for field in ("code", "definitionRef", "input", "tasks", "defaults", "timeouts", "onEnd", "jobs")),
    _for_good("stop", but="Terminate"),
    {
        "rule": "has(self.code) != has(self.definitionRef)",
        "message": "give either code or definitionRef: exactly one of the two says what to run",
        "reason": "FieldValueInvalid",
    },
    *(_not_beside_a_definition(field) for field in OF_THE_DEFINITION),
    *_CONTENT,
)
DEFINITION_SPEC = rules(
    {
        "rule": "self == oldSelf",
        "message": "a WorkflowDefinition can't be changed, what its Workflows have run depends on it: create another one"
        " under a name of its own, such as video-v2",
        "reason": "FieldValueForbidden",
    },
    *_CONTENT,
)
TASK = rules(
    {
        "rule": "has(self.activity) != has(self.workflow)",
        "message": "a task is either an activity or a workflow: give exactly one of the two",
        "reason": "FieldValueRequired",
        "fieldPath": ".activity",
    },
    {
        "rule": "!has(self.onParentEnd) || has(self.workflow)",
        "message": "onParentEnd has a meaning for a workflow only: an activity goes by spec.onEnd",
        "fieldPath": ".onParentEnd",
    },
    *(_no_timer_of_a_workflow(field, why) for field, why in NOT_FOR_WORKFLOWS.items()),
)
PAGE = rules(
    {
        "rule": "self.spec == oldSelf.spec",
        "message": "a page can't be changed: it is what has happened",
        "reason": "FieldValueForbidden",
        "fieldPath": ".spec",
    }
)
SUB_WORKFLOW = rules(
    {
        "rule": "has(self.entrypoint) != has(self.definitionRef)",
        "message": "give either entrypoint or definitionRef: exactly one of the two says what to run",
        "reason": "FieldValueInvalid",
    }
)
INPUT = rules(
    {
        # Lists and maps of anything have no type in CEL: they are no fields of `self` there, only of the value behind it.
        "rule": "!has(self.json) || (!has(dyn(self).args) && !has(dyn(self).kwargs))",
        "message": "give either json or args and kwargs, not both",
        "fieldPath": ".json",
    }
)
TASK_NAME = rules(
    {
        "rule": f"!(self in [{_quoted(keyword.kwlist)}])",
        "message": "a Python keyword can't be the name of a task, since it names a parameter of the code: choose another name",
    }
)
TIMEOUTS = rules(_close_covers("startToCloseSeconds"), _close_covers("scheduleToStartSeconds"))
BACKOFF = rules(
    {
        "rule": "!has(self.maxSeconds) || self.maxSeconds >= self.initialSeconds",
        "message": "maxSeconds is less than initialSeconds: no wait is longer than maxSeconds, so make it at least as much",
        "fieldPath": ".maxSeconds",
    }
)
RETRY = rules(
    {
        "rule": "!has(self.delaysSeconds) || !has(self.backoff)",
        "message": "give either delaysSeconds (each wait by itself) or backoff (waits that grow), not both",
        "fieldPath": ".backoff",
    }
)
