"""A launch -> the manifest of its Job.

Laid over each other, the upper one wins: the operator's base < `defaults.template` < the activity's `template` < its
short fields < what the operator insists on (names, labels, owner, restart policy, the contract's volume and variables).
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flowy.policy.lengths import MAX_VALUE_BYTES
from flowy_operator.core.history import format_time
from flowy_operator.core.merge import lay_over
from flowy_operator.core.spec import Activity, Raw, TaskSpec
from flowy_operator.core.state import Launch
from flowy_operator.core.values import CONTENT, input_name

API_VERSION = "flowy.dev/v1alpha1"
KIND = "Workflow"

MANAGED_BY = {"app.kubernetes.io/managed-by": "flowy"}
WORKFLOW_LABEL = "flowy.dev/workflow"
UID_LABEL = "flowy.dev/workflow-uid"
TASK_LABEL = "flowy.dev/task"
ATTEMPT_LABEL = "flowy.dev/attempt"
RUN_LABEL = "flowy.dev/run"
TASK_ANNOTATION = "flowy.dev/task"  # the exact key; a label value may not begin with an underscore
INPUT_ANNOTATION = "flowy.dev/input"
INPUT_MAP_ANNOTATION = "flowy.dev/input-configmap"  # of the Job: the ConfigMap that goes with it

MAIN = "main"
INPUT_DIR = "/flowy"
INPUT_FILE = f"{INPUT_DIR}/input.json"
RESULT_FILE = "/dev/termination-log"
INPUT_VOLUME = "flowy-input"

TOKEN_AUDIENCE = "flowy"  # noqa: S105  the API server takes no token of this audience
TOKEN_DIR = "/var/run/secrets/flowy.dev"  # noqa: S105  not below INPUT_DIR, whose mount is read-only
TOKEN_FILE = f"{TOKEN_DIR}/token"
TOKEN_VOLUME = "flowy-token"  # noqa: S105
TOKEN_S = 3600
"""How long a token is good; the kubelet puts a new one into the file after 80 % of it."""

ANNOTATED_BYTES = 250 * 1024
"""Longest arguments in an annotation: Kubernetes allows 256 KiB for all of an object together, the rest is for the others.
Longer ones stand in a ConfigMap, which is one write more for each launch, and one more when it goes."""

VARIABLE_BYTES = 32 * 1024
"""Longest argument that is also given as a variable; Linux allows 128 KiB for one, 2 MiB for all (execve(2))."""

VARIABLES_BYTES = 512 * 1024
"""All argument variables together, names and JSON around them too: ten thousands of short ones would make a Job that no
API server takes. Later ones are left out."""

_AROUND_BYTES = len('{"name":"","value":""},')

DEADLINE_MARGIN_S = 600

# Begun at a run's first dollar only, and ended by the next one: in linear time, whatever stands there.
_EXPANSION = re.compile(r"(?<!\$)(\$+)\((FLOWY_(?:ARG|KWARG)_[^)$]*)\)")
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


class InvalidActivity(Exception):
    """This launch can never run; `str()` says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """The Workflow that owns the Job."""

    namespace: str
    name: str
    uid: str


def owner_reference(owner: Owner) -> dict[str, Any]:
    """The reference by which what a Workflow owns goes with it."""
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "name": owner.name,
        "uid": owner.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def job_manifest(
    owner: Owner,
    task: TaskSpec,
    launch: Launch,
    arguments: str,
    default_template: Raw,
    *,
    deadline: datetime | None,
    gateway_url: str,
) -> dict[str, Any]:
    """The Job of one launch.

    `arguments` is JSON text of args and kwargs, `deadline` the end of all attempts if known, `gateway_url` where the
    gateway is.

    If the arguments are `is_long`, it mounts the ConfigMap `input_name(launch.job)`, which is to be there before.
    `InvalidActivity` if they are too long for that, a template names an argument that isn't there as a variable, or the
    pod template has no image.
    """
    size = len(arguments.encode())
    if size > MAX_VALUE_BYTES:
        raise InvalidActivity(
            f"the arguments are {size:,} bytes long, at most {MAX_VALUE_BYTES:,} are passed: put the data on a volume or "
            "into an object store and pass its address"
        )
    config_map = input_name(launch.job) if is_long(arguments) else None
    labels = launch_labels(owner, launch)
    assert task.activity is not None, "a workflow's manifest is made in child.py"
    variables = dict(_variables(json.loads(arguments)))
    template = _pod_template(task.activity, default_template)
    gateway = _gateway(gateway_url) if task.calls_gateway else _NO_GATEWAY
    insisted = {
        "metadata": {
            "labels": labels,
            "annotations": {TASK_ANNOTATION: launch.task} | ({} if config_map else {INPUT_ANNOTATION: arguments}),
        },
        "spec": {
            "restartPolicy": "Never",
            "volumes": [_input_volume(config_map), *gateway.volumes],
            "containers": [
                {
                    "name": MAIN,
                    "env": _env(owner, launch, {**gateway.variables, **variables}, deadline),
                    "volumeMounts": [
                        {"name": INPUT_VOLUME, "mountPath": INPUT_DIR, "readOnly": True},
                        *gateway.mounts,
                    ],
                    "terminationMessagePath": RESULT_FILE,
                    # Nothing written by a failed container: the kubelet takes its last log lines.
                    "terminationMessagePolicy": "FallbackToLogsOnError",
                }
            ],
        },
    }
    pod = lay_over(template, insisted)
    _order_env(pod)
    _check(pod, variables)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": launch.job,
            "namespace": owner.namespace,
            "labels": labels,
            "annotations": {TASK_ANNOTATION: launch.task} | ({INPUT_MAP_ANNOTATION: config_map} if config_map else {}),
            "ownerReferences": [owner_reference(owner)],
        },
        "spec": {
            # One Job is one pod: every retry is ours, seen in the history.
            "backoffLimit": 0,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {
                "rules": [{"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]
            },
            **_net(task),
            "template": pod,
        },
    }


def labels_of(owner: Owner, run: int) -> dict[str, str]:
    """The labels of all that is made for a run of this Workflow."""
    return MANAGED_BY | {WORKFLOW_LABEL: owner.name, UID_LABEL: owner.uid, RUN_LABEL: str(run)}


def launch_labels(owner: Owner, launch: Launch) -> dict[str, str]:
    """The labels of what a launch is: a Job and its pod, or a child."""
    # A label's value may not begin or end with an underscore or a dash.
    task = {TASK_LABEL: launch.task.strip("_-"), ATTEMPT_LABEL: str(launch.attempt)}
    return labels_of(owner, launch.run) | task


def is_long(arguments: str) -> bool:
    """Whether the arguments stand in a ConfigMap of their own."""
    return len(arguments.encode()) > ANNOTATED_BYTES


def _pod_template(activity: Activity, default_template: Raw) -> dict[str, Any]:
    """Base, defaults, the activity's template and its short fields, laid over each other."""
    short = {
        "image": activity.image,
        "command": activity.command,
        "args": activity.args,
        "env": list(activity.env) or None,
        "resources": activity.resources,
    }
    main = {"name": MAIN} | {name: value for name, value in short.items() if value is not None}
    template: Mapping[str, Any] = {
        "spec": {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [
                {
                    "name": MAIN,
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                }
            ],
        }
    }
    for layer in (default_template, activity.template, {"spec": {"containers": [main]}}):
        template = lay_over(template, layer)
    return dict(template)


def _variables(arguments: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Arguments as environment variables: strings as they are, everything else as JSON.

    Left out: what is too long, what holds a NUL (no variable can), keyword names that are no plain identifiers.
    """
    named = [(f"FLOWY_ARG_{n}", value) for n, value in enumerate(arguments["args"])]
    named += [(f"FLOWY_KWARG_{name}", value) for name, value in arguments["kwargs"].items()]
    room = VARIABLES_BYTES
    for name, value in named:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        size = len(text.encode())
        cost = size + len(name) + _AROUND_BYTES
        if size > VARIABLE_BYTES or cost > room or "\0" in text or not _IDENTIFIER.fullmatch(name):
            continue
        room -= cost
        yield name, text


def _env(owner: Owner, launch: Launch, variables: Mapping[str, str], deadline: datetime | None) -> list[dict[str, str]]:
    values = {
        "FLOWY_WORKFLOW": owner.name,
        "FLOWY_NAMESPACE": owner.namespace,
        "FLOWY_TASK": launch.task,
        "FLOWY_ATTEMPT": str(launch.attempt),
        "FLOWY_INPUT_FILE": INPUT_FILE,
        "FLOWY_RESULT_FILE": RESULT_FILE,
        **({"FLOWY_DEADLINE": format_time(deadline)} if deadline is not None else {}),
        **variables,
    }
    # The kubelet expands $(NAME) in values too, and `$$` is its escape: an argument must arrive as it is.
    return [{"name": name, "value": value.replace("$", "$$")} for name, value in values.items()]


def _order_env(pod: dict[str, Any]) -> None:
    """Put our variables first: the kubelet expands `$(NAME)` only of those that stand before."""
    main = _main(pod)
    main["env"] = sorted(main["env"], key=lambda item: not _is_ours(item))


def _check(pod: Mapping[str, Any], variables: Mapping[str, str]) -> None:
    main = _main(pod)
    if not main.get("image"):
        raise InvalidActivity(
            f"the activity has no image: set activity.image, or that of the template's container {MAIN!r}"
        )
    texts = [*_list(main.get("command")), *_list(main.get("args"))]
    texts += [
        item["value"] for item in main["env"] if isinstance(item, Mapping) and "value" in item and not _is_ours(item)
    ]
    for text in texts:
        for dollars, name in _EXPANSION.findall(str(text)):
            # An even number of dollars is an escaped one: no reference.
            if len(dollars) % 2 and name not in variables:
                raise InvalidActivity(
                    f"$({name}) in the activity is not set: the call has no such argument, or it is longer than "
                    f"{VARIABLE_BYTES:,} bytes, holds a NUL or has a name that is not ASCII; read it from {INPUT_FILE}"
                )


def _main(pod: Mapping[str, Any]) -> dict[str, Any]:
    """The activity's container. Beside it may be anything: what is malformed there the API server refuses."""
    main: dict[str, Any] = next(c for c in pod["spec"]["containers"] if isinstance(c, dict) and c.get("name") == MAIN)
    return main


def _is_ours(item: object) -> bool:
    return isinstance(item, Mapping) and str(item.get("name")).startswith("FLOWY_")


def _list(value: object) -> Sequence[Any]:
    return value if isinstance(value, Sequence) and not isinstance(value, str) else ()


def _input_volume(config_map: str | None) -> dict[str, Any]:
    file = INPUT_FILE.rpartition("/")[2]
    if config_map is not None:
        items = [{"key": CONTENT, "path": file}]
        return {"name": INPUT_VOLUME, "configMap": {"name": config_map, "items": items}}
    path = f"metadata.annotations['{INPUT_ANNOTATION}']"
    return {
        "name": INPUT_VOLUME,
        "downwardAPI": {"items": [{"path": file, "fieldRef": {"fieldPath": path}}]},
    }


@dataclass(frozen=True, slots=True)
class _Gateway:
    """What a container needs to call the gateway, and nothing else: the token opens nothing but that."""

    volumes: Sequence[Raw]
    mounts: Sequence[Raw]
    variables: Mapping[str, str]


_NO_GATEWAY = _Gateway((), (), {})


def _gateway(url: str) -> _Gateway:
    token = {"audience": TOKEN_AUDIENCE, "expirationSeconds": TOKEN_S, "path": TOKEN_FILE.rpartition("/")[2]}
    return _Gateway(
        volumes=[{"name": TOKEN_VOLUME, "projected": {"sources": [{"serviceAccountToken": token}]}}],
        mounts=[{"name": TOKEN_VOLUME, "mountPath": TOKEN_DIR, "readOnly": True}],
        variables={"FLOWY_URL": url, "FLOWY_TOKEN_FILE": TOKEN_FILE},
    )


def _net(task: TaskSpec) -> dict[str, int]:
    """The Job's own deadline: only a net, since it counts pending time too; the timers are the operator's."""
    seconds: Sequence[int | None] = (
        task.timeouts.schedule_to_close_s,
        None
        if task.timeouts.schedule_to_start_s is None or task.timeouts.start_to_close_s is None
        else task.timeouts.schedule_to_start_s + task.timeouts.start_to_close_s,
    )
    known = [s for s in seconds if s is not None]
    return {"activeDeadlineSeconds": min(known) + DEADLINE_MARGIN_S} if known else {}
