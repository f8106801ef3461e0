"""The custom resource's spec -> the spec as decisions see it, checked again and with all defaults laid under.

The API server has checked the same by the schema and by `rules.py`. But a CRD may be older than the operator, or made by
hand, so nothing here relies on it: what can't be run is an `InvalidSpec`, which becomes a condition that a person reads.
"""

import keyword
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError

from flowy.errors import ValueRefused
from flowy.policy.retry import LONGEST_WAIT_S, Backoff, RetrySpec
from flowy.policy.timeout import TimeoutSpec
from flowy.wire import values
from flowy_operator.adapters.crd import model
from flowy_operator.adapters.crd.pod import PodSpec, PodTemplate
from flowy_operator.adapters.crd.rules import MAX_WORKFLOW_NAME, NOT_FOR_WORKFLOWS, OF_THE_DEFINITION, OWN_FIELDS
from flowy_operator.core.definition import Reference
from flowy_operator.core.job import MAIN
from flowy_operator.core.spec import (
    Activity,
    OnParentEnd,
    Raw,
    ResultFrom,
    SubWorkflow,
    TaskSpec,
    WorkflowSpec,
    arguments_text,
)

_Shape = TypeVar("_Shape", bound=BaseModel)


class InvalidSpec(ValueError):
    """A spec that can't be run: `path` says where, `reason` what is wrong there and what is right."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


def spec_or_reference(body: Mapping[str, Any]) -> WorkflowSpec | Reference:
    """Read the spec of a Workflow from its JSON: its own, or the reference to a definition that it is.

    `InvalidSpec` names the first thing that can't be run. Core/v1 shapes are passed on as they stand in `body`, fields
    unknown here included.
    """
    if (body.get("spec") or {}).get("definitionRef") is None:
        return workflow_spec(body)
    spec, raw = _workflow(body)
    assert spec.definition_ref is not None
    _check_beside_a_definition(raw)
    own = {"entrypoint": spec.definition_ref.entrypoint, **_settings(spec), **_own(spec)}
    return Reference(name=spec.definition_ref.name, own=_given(own))


def workflow_spec(body: Mapping[str, Any]) -> WorkflowSpec:
    """Make the spec of a Workflow with code of its own; see `spec_or_reference`."""
    spec, raw = _workflow(body)
    return _run_by(spec, raw, _own(spec))


def definition_spec(body: Mapping[str, Any]) -> WorkflowSpec:
    """Make the spec that a WorkflowDefinition gives its Workflows, their own fields not yet laid over it."""
    raw = body.get("spec")
    return _run_by(_parsed(model.DefinitionSpec, raw, "spec"), raw or {}, {})


def _workflow(body: Mapping[str, Any]) -> tuple[model.Spec, Mapping[str, Any]]:
    name = body.get("metadata", {}).get("name", "")
    if len(name) > MAX_WORKFLOW_NAME:
        raise InvalidSpec("metadata.name", f"has {len(name)} characters: at most {MAX_WORKFLOW_NAME}")
    raw = body.get("spec")
    if raw is None:
        raise InvalidSpec("spec", "is missing")
    return _parsed(model.Spec, raw, "spec"), raw


def _own(spec: model.Spec) -> dict[str, Any]:
    """What only a Workflow says."""
    return {"input": _input(spec.input), "suspend": spec.suspend, "stop": spec.stop}


def _run_by(spec: model.Content, raw: Mapping[str, Any], own: Mapping[str, Any]) -> WorkflowSpec:
    if spec.code is None:
        raise InvalidSpec("spec", "has neither code nor definitionRef: give one of the two")
    return WorkflowSpec(
        source=spec.code.source,
        tasks=_tasks(spec, raw.get("tasks") or ()),
        default_template=(raw.get("defaults") or {}).get("template") or {},
        inherited=_inherited(raw) if any(task.workflow is not None for task in spec.tasks) else {},
        **_given({"entrypoint": spec.code.entrypoint, **_settings(spec), **own}),
    )


def _settings(spec: model.Content) -> dict[str, Any]:
    """The bounds and times of a run, by their names inside; None where nothing is said."""
    settings: dict[str, Any] = {
        "parallelism": spec.parallelism,
        "ttl_s": spec.ttl_seconds_after_finished,
        "on_end": spec.on_end,
    }
    if spec.timeouts is not None:
        settings["workflow_timeout_s"] = spec.timeouts.workflow_seconds
        settings["decision_timeout_s"] = spec.timeouts.decision_seconds
        settings["cancel_timeout_s"] = spec.timeouts.cancel_seconds
    if spec.jobs is not None:
        settings["keep_succeeded_s"] = spec.jobs.keep_succeeded_seconds
        settings["keep_failed_s"] = spec.jobs.keep_failed_seconds
    return settings


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _check_beside_a_definition(raw: Mapping[str, Any]) -> None:
    for path in ("code", *OF_THE_DEFINITION):
        value: Any = raw
        for step in path.split("."):
            value = (value or {}).get(step)
        if value is not None:
            reason = f"stands beside definitionRef: leave one of them out (beside it stand only {OWN_FIELDS})"
            raise InvalidSpec(f"spec.{path}", reason)


_NOT_INHERITED = ("code", "input", "suspend", "stop", "ttlSecondsAfterFinished")
"""Fields of the spec that are a child's own. All others are the parent's: a new one is passed on without a word here."""


def _inherited(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Give what a child's spec takes over, exactly as it stands."""
    inherited = {name: value for name, value in raw.items() if name not in _NOT_INHERITED}
    timeouts = {name: value for name, value in (raw.get("timeouts") or {}).items() if name != "workflowSeconds"}
    return {name: value for name, value in inherited.items() if name != "timeouts"} | (
        {"timeouts": timeouts} if timeouts else {}
    )


def _parsed(shape: type[_Shape], raw: object, path: str) -> _Shape:
    try:
        return shape.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        context = {**first.get("ctx", {}), "input": first["input"]}
        reason = _REASONS.get(first["type"], first["msg"]).format_map(context)
        raise InvalidSpec(path + _steps(first["loc"]), reason) from error


_REASONS = {
    "missing": "is missing",
    "greater_than_equal": "is {input}: at least {ge}",
    "less_than_equal": "is {input}: at most {le}",
    "string_too_short": "is too short: at least {min_length} characters",
    "string_too_long": "is too long: at most {max_length} characters",
    "too_short": "has {actual_length} items: at least {min_length}",
    "too_long": "has {actual_length} items: at most {max_length}",
    "string_pattern_mismatch": "is {input!r}: must match {pattern}",
    "enum": "is {input!r}: must be {expected}",
    "int_type": "must be an integer",
    "bool_type": "must be true or false",
    "string_type": "must be a string",
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
}
"""Sentences for pydantic's kinds of error that the models can give; they are read beside a path."""


def _steps(location: Sequence[int | str]) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in location)


def _input(given: model.Input | None) -> str | None:
    """Make the JSON text of the arguments; `json` is passed on exactly as it stands."""
    if given is None:
        return None
    try:
        if given.json_text is None:
            return arguments_text(given.args, given.keywords)
        if given.args is not None or given.keywords is not None:
            raise InvalidSpec("spec.input.json", "stands beside args or kwargs: give either json or args and kwargs")
        _check_arguments(given.json_text, "spec.input.json")
    except ValueRefused as refusal:
        raise InvalidSpec(refusal.path, refusal.reason) from refusal
    return given.json_text


def _check_arguments(text: str, path: str) -> None:
    try:
        value = values.decode(text)
    except RecursionError as error:
        raise InvalidSpec(path, f"has more than {values.MAX_LEVELS} levels") from error
    except ValueError as error:
        raise InvalidSpec(path, f"is no JSON text: {error}") from error
    if not isinstance(value, dict):
        raise InvalidSpec(path, 'must be a JSON object: {"args": [...], "kwargs": {...}}')
    if unknown := [name for name in value if name not in {"args", "kwargs"}]:
        raise InvalidSpec(path, f"has the field {unknown[0]!r}: only args and kwargs have a meaning")
    if not isinstance(value.get("args", []), list):
        raise InvalidSpec(path, "args must be a list")
    if not isinstance(value.get("kwargs", {}), dict):
        raise InvalidSpec(path, "kwargs must be an object")
    values.plain(value, path)


def _tasks(spec: model.Content, raw: Sequence[Mapping[str, Any]]) -> dict[str, TaskSpec]:
    defaults = spec.defaults or model.Defaults()
    default_image = _main_image(defaults.template, "spec.defaults")
    tasks: dict[str, TaskSpec] = {}
    for n, (task, raw_task) in enumerate(zip(spec.tasks, raw, strict=True)):
        path = f"spec.tasks[{n}]"
        if task.name in tasks:
            raise InvalidSpec(f"{path}.name", f"is {task.name!r} a second time: each task needs a name of its own")
        if keyword.iskeyword(task.name):
            raise InvalidSpec(f"{path}.name", f"is {task.name!r}, a Python keyword: choose another name")
        tasks[task.name] = (
            _workflow_task(task, path)
            if task.activity is None
            else _activity_task(task, task.activity, raw_task, defaults, default_image, path)
        )
    return tasks


def _activity_task(
    task: model.Task,
    activity: model.Activity,
    raw: Raw,
    defaults: model.Defaults,
    default_image: str | None,
    path: str,
) -> TaskSpec:
    if task.workflow is not None:
        raise InvalidSpec(path, "has both activity and workflow: give exactly one of the two")
    if task.on_parent_end is not None:
        raise InvalidSpec(f"{path}.onParentEnd", "has a meaning for a workflow only: leave it out")
    own_image = _main_image(activity.template, f"{path}.activity")
    if not (activity.image or own_image or default_image):
        raise InvalidSpec(
            f"{path}.activity",
            f"has no image: give image, or a template with an image for the container named {MAIN}",
        )
    return TaskSpec(
        name=task.name,
        activity=_activity(raw["activity"]),
        timeouts=_timeouts(defaults.timeouts, task.timeouts, f"{path}.timeouts"),
        retry=_retry(defaults.retry, task.retry, f"{path}.retry"),
    )


def _workflow_task(task: model.Task, path: str) -> TaskSpec:
    if task.workflow is None:
        raise InvalidSpec(path, "has neither activity nor workflow: give exactly one of the two")
    given = {} if task.timeouts is None else task.timeouts.model_dump(by_alias=True, exclude_none=True)
    for field, why in NOT_FOR_WORKFLOWS.items():
        if field in given:
            raise InvalidSpec(f"{path}.timeouts.{field}", f"has no meaning for a workflow: {why}")
    return TaskSpec(
        name=task.name,
        workflow=_sub_workflow(task.workflow, task.on_parent_end or OnParentEnd.TERMINATE, f"{path}.workflow"),
        timeouts=_timeouts(None, task.timeouts, f"{path}.timeouts"),
        retry=_retry(None, task.retry, f"{path}.retry"),
    )


def _sub_workflow(given: model.SubWorkflow, on_parent_end: OnParentEnd, path: str) -> SubWorkflow:
    reference = given.definition_ref
    if (given.entrypoint is None) == (reference is None):
        raise InvalidSpec(path, "needs exactly one of entrypoint and definitionRef")
    if reference is None:
        return SubWorkflow(entrypoint=given.entrypoint, on_parent_end=on_parent_end)
    return SubWorkflow(definition=reference.name, entrypoint=reference.entrypoint, on_parent_end=on_parent_end)


def _activity(raw: Mapping[str, Any]) -> Activity:
    return Activity(
        image=raw.get("image"),
        command=raw.get("command"),
        args=raw.get("args"),
        env=raw.get("env") or (),
        resources=raw.get("resources"),
        gateway=raw.get("gateway") or False,
        template=raw.get("template") or {},
        result_from=ResultFrom((raw.get("result") or {}).get("from") or ResultFrom.FILE),
    )


def _main_image(template: PodTemplate | None, path: str) -> str | None:
    if template is None or template.spec is None:
        return None
    pod = _parsed(PodSpec, template.spec, f"{path}.template.spec")
    return next((container.image for container in pod.containers or () if container.name == MAIN), None)


def _timeouts(default: model.Timeouts | None, own: model.Timeouts | None, path: str) -> TimeoutSpec:
    timeouts = TimeoutSpec(**_laid(default, own))
    close_s = timeouts.schedule_to_close_s
    attempt_s: Mapping[Literal["startToCloseSeconds", "scheduleToStartSeconds"], int | None] = {
        "startToCloseSeconds": timeouts.start_to_close_s,
        "scheduleToStartSeconds": timeouts.schedule_to_start_s,
    }
    for field, limit_s in attempt_s.items():
        if close_s is not None and limit_s is not None and close_s < limit_s:
            raise InvalidSpec(
                f"{path}.scheduleToCloseSeconds",
                f"is {close_s}, less than {field}, which is {limit_s} (spec.defaults.timeouts laid under it):"
                " it spans all attempts",
            )
    return timeouts


def _retry(default: model.Retry | None, own: model.Retry | None, path: str) -> RetrySpec:
    """Lay a task's retry over the defaults. Delays and back-off are two answers to one question: one drops the other."""
    for layer, where in ((default, "spec.defaults.retry"), (own, path)):
        if layer is not None and layer.delays_seconds is not None and layer.backoff is not None:
            raise InvalidSpec(f"{where}.backoff", "stands beside delaysSeconds: give one of the two")
    fields = _laid(default, own)
    backoff: model.Backoff | None = fields.pop("backoff", None)
    if backoff is None or (own is not None and own.delays_seconds is not None):
        return RetrySpec(**fields)
    fields.pop("delays_s", None)
    at_fault = path if own is not None and own.backoff is not None else "spec.defaults.retry"
    return RetrySpec(backoff=_backoff(backoff, f"{at_fault}.backoff"), **fields)


def _backoff(given: model.Backoff, path: str) -> Backoff:
    if given.max_seconds is not None and given.max_seconds < given.initial_seconds:
        raise InvalidSpec(
            f"{path}.maxSeconds", f"is {given.max_seconds}, less than initialSeconds ({given.initial_seconds})"
        )
    fields = _laid(None, given)
    return Backoff(**({"max_s": max(given.initial_seconds, LONGEST_WAIT_S)} | fields))


def _laid(default: BaseModel | None, own: BaseModel | None) -> dict[str, Any]:
    """Give the fields that are set, the task's own over the defaults, by their names inside: `_s` for `_seconds`."""
    return {
        name.replace("_seconds", "_s"): tuple(value) if isinstance(value, list) else value
        for layer in (default, own)
        if layer is not None
        for name, value in layer
        if value is not None
    }
