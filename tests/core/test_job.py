"""The manifest of a launch's Job."""

import json
import re
from typing import Any

import pytest

from flowy.policy.lengths import MAX_VALUE_BYTES
from flowy_operator.core.job import ANNOTATED_BYTES, VARIABLE_BYTES, InvalidActivity, job_manifest
from flowy_operator.core.spec import Activity, Raw
from flowy_operator.core.state import Launch
from flowy_operator.core.values import input_name
from tests.builders import OWNER, START, at, task_spec, timeouts

LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")


def manifest(
    activity: Activity | None = None,
    *args: Any,
    task: str = "encode-1",
    defaults: Raw | None = None,
    deadline: float | None = None,
    limits: Any = None,
    **kwargs: Any,
) -> dict[str, Any]:
    launch = Launch(job="talk-42-encode-1-abc", task=task, attempt=2, number=0, recorded_at=START, scheduled_at=START)
    spec = task_spec(task.rpartition("-")[0], activity=activity, timeouts=limits)
    arguments = json.dumps({"args": args, "kwargs": kwargs}, ensure_ascii=False, separators=(",", ":"))
    ends = None if deadline is None else at(deadline)
    return job_manifest(OWNER, spec, launch, arguments, defaults or {}, deadline=ends, gateway_url="http://flowy:8082")


def pod(*given: Any, **fields: Any) -> dict[str, Any]:
    found: dict[str, Any] = manifest(*given, **fields)["spec"]["template"]
    return found


def main(*given: Any, **fields: Any) -> dict[str, Any]:
    return next(c for c in pod(*given, **fields)["spec"]["containers"] if c["name"] == "main")


def variables(*given: Any, **fields: Any) -> dict[str, str]:
    return {item["name"]: item["value"] for item in main(*given, **fields)["env"] if "value" in item}


def template(spec: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    return ({"metadata": metadata} if metadata else {}) | {"spec": spec}


def of_main(**fields: Any) -> dict[str, Any]:
    return template({"containers": [{"name": "main", **fields}]})


def test_the_whole_of_it() -> None:
    labels = {
        "app.kubernetes.io/managed-by": "flowy",
        "flowy.dev/workflow": "talk-42",
        "flowy.dev/workflow-uid": OWNER.uid,
        "flowy.dev/run": "1",
        "flowy.dev/task": "encode-1",
        "flowy.dev/attempt": "2",
    }
    activity = Activity(
        image="ffmpeg:9",
        command=["/bin/encode"],
        args=["$(FLOWY_ARG_0)", "$(FLOWY_KWARG_size)"],
        env=[{"name": "CODEC", "value": "av1"}],
        resources={"limits": {"memory": "1Gi"}},
    )
    given = manifest(activity, "s3://m", {"w": 1.0}, size=720, limits=timeouts(close=3600), deadline=3600)
    assert given == {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": "talk-42-encode-1-abc",
            "namespace": "media",
            "labels": labels,
            "annotations": {"flowy.dev/task": "encode-1"},
            "ownerReferences": [
                {
                    "apiVersion": "flowy.dev/v1alpha1",
                    "kind": "Workflow",
                    "name": "talk-42",
                    "uid": OWNER.uid,
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "spec": {
            "backoffLimit": 0,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {
                "rules": [{"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]
            },
            "activeDeadlineSeconds": 4200,
            "template": {
                "metadata": {
                    "labels": labels,
                    "annotations": {
                        "flowy.dev/task": "encode-1",
                        "flowy.dev/input": '{"args":["s3://m",{"w":1.0}],"kwargs":{"size":720}}',
                    },
                },
                "spec": {
                    "automountServiceAccountToken": False,
                    "enableServiceLinks": False,
                    "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
                    "restartPolicy": "Never",
                    "volumes": [
                        {
                            "name": "flowy-input",
                            "downwardAPI": {
                                "items": [
                                    {
                                        "path": "input.json",
                                        "fieldRef": {"fieldPath": "metadata.annotations['flowy.dev/input']"},
                                    }
                                ]
                            },
                        }
                    ],
                    "containers": [
                        {
                            "name": "main",
                            "image": "ffmpeg:9",
                            "command": ["/bin/encode"],
                            "args": ["$(FLOWY_ARG_0)", "$(FLOWY_KWARG_size)"],
                            "env": [
                                {"name": "FLOWY_WORKFLOW", "value": "talk-42"},
                                {"name": "FLOWY_NAMESPACE", "value": "media"},
                                {"name": "FLOWY_TASK", "value": "encode-1"},
                                {"name": "FLOWY_ATTEMPT", "value": "2"},
                                {"name": "FLOWY_INPUT_FILE", "value": "/flowy/input.json"},
                                {"name": "FLOWY_RESULT_FILE", "value": "/dev/termination-log"},
                                {"name": "FLOWY_DEADLINE", "value": "2026-01-02T04:04:05.000Z"},
                                {"name": "FLOWY_ARG_0", "value": "s3://m"},
                                {"name": "FLOWY_ARG_1", "value": '{"w":1.0}'},
                                {"name": "FLOWY_KWARG_size", "value": "720"},
                                {"name": "CODEC", "value": "av1"},
                            ],
                            "resources": {"limits": {"memory": "1Gi"}},
                            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                            "volumeMounts": [{"name": "flowy-input", "mountPath": "/flowy", "readOnly": True}],
                            "terminationMessagePath": "/dev/termination-log",
                            "terminationMessagePolicy": "FallbackToLogsOnError",
                        }
                    ],
                },
            },
        },
    }


# -- laying over --------------------------------------------------------------------------------------------------------

LAYERS: dict[str, tuple[Activity, Raw, str, object]] = {
    "defaults over the base": (
        Activity(image="i"),
        of_main(securityContext={"allowPrivilegeEscalation": True}),
        "securityContext",
        {"allowPrivilegeEscalation": True, "capabilities": {"drop": ["ALL"]}},
    ),
    "defaults where nothing else is": (Activity(image="i"), of_main(tty=True), "tty", True),
    "the activity's template over defaults": (
        Activity(template=of_main(image="template")),
        of_main(image="default"),
        "image",
        "template",
    ),
    "short fields over the activity's template": (
        Activity(image="short", template=of_main(image="template")),
        of_main(image="default"),
        "image",
        "short",
    ),
    "an empty command is one": (Activity(image="i", command=[]), of_main(command=["x"]), "command", []),
    "no command leaves the template's": (Activity(image="i"), of_main(command=["x"]), "command", ["x"]),
    "the result file can't be moved": (
        Activity(image="i", template=of_main(terminationMessagePath="/tmp/x")),
        {},
        "terminationMessagePath",
        "/dev/termination-log",
    ),
    "nor what is kept of it": (
        Activity(image="i", template=of_main(terminationMessagePolicy="File")),
        {},
        "terminationMessagePolicy",
        "FallbackToLogsOnError",
    ),
    "nothing else is mounted in the input's place": (
        Activity(image="i", template=of_main(volumeMounts=[{"name": "x", "mountPath": "/flowy", "subPath": "s"}])),
        {},
        "volumeMounts",
        [{"name": "flowy-input", "mountPath": "/flowy", "readOnly": True}],
    ),
}


@pytest.mark.parametrize(("activity", "defaults", "field", "expected"), LAYERS.values(), ids=LAYERS)
def test_the_upper_layer_wins(activity: Activity, defaults: Raw, field: str, expected: object) -> None:
    assert main(activity, defaults=defaults)[field] == expected


def test_what_the_operator_insists_on_cannot_be_overridden() -> None:
    hostile = template(
        {
            "restartPolicy": "Always",
            "volumes": [{"name": "flowy-input", "emptyDir": {}}, {"name": "mine", "emptyDir": {}}],
            "containers": [{"name": "main", "env": [{"name": "FLOWY_TASK", "valueFrom": {}}]}],
        },
        labels={"flowy.dev/workflow-uid": "another", "team": "media"},
        annotations={"flowy.dev/input": "{}"},
    )
    activity = Activity(image="i", template=hostile, env=[{"name": "FLOWY_ATTEMPT", "value": "9"}])
    made = manifest(activity, 1, defaults=hostile)
    found = made["spec"]["template"]
    assert found["metadata"]["labels"]["flowy.dev/workflow-uid"] == OWNER.uid
    assert found["metadata"]["labels"]["team"] == "media"
    assert found["metadata"]["annotations"]["flowy.dev/input"] == '{"args":[1],"kwargs":{}}'
    assert found["spec"]["restartPolicy"] == "Never"
    assert [(v["name"], sorted(v)) for v in found["spec"]["volumes"]] == [
        ("flowy-input", ["downwardAPI", "name"]),
        ("mine", ["emptyDir", "name"]),
    ]
    env = {item["name"]: item for item in found["spec"]["containers"][0]["env"]}
    assert env["FLOWY_TASK"] == {"name": "FLOWY_TASK", "value": "encode-1"}
    assert env["FLOWY_ATTEMPT"]["value"] == "2"


def test_other_containers_stay_and_the_activity_is_the_first() -> None:
    given = template(
        {
            "initContainers": [{"name": "b"}, {"name": "proxy", "restartPolicy": "Always"}],
            "containers": [{"name": "log", "image": "l"}, {"name": "main", "tty": True}],
        }
    )
    spec = pod(Activity(image="i", template=given), defaults=template({"initContainers": [{"name": "a"}]}))["spec"]
    assert [c["name"] for c in spec["initContainers"]] == ["a", "b", "proxy"]
    assert [c["name"] for c in spec["containers"]] == ["main", "log"]
    assert spec["containers"][1] == {"name": "log", "image": "l"}


ODD: dict[str, dict[str, Any]] = {
    "a command that is text": of_main(command="run"),
    "arguments that are a number": of_main(args=5),
    "variables that are text": of_main(env="A=1"),
    "a variable that is text": of_main(env=["A=1"]),
    "a variable without a name": of_main(env=[{"value": "1"}]),
    "a name that is a list": of_main(env=[{"name": []}]),
    "a volume named by an object": template({"volumes": [{"name": {}}]}),
    "no spec": {"spec": None},
    "no metadata": {"metadata": None},
    "containers that are text": template({"containers": "main"}),
    "a container that is text": template({"containers": ["main"]}),
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_odd_shapes_are_for_the_api_server_to_refuse(odd: dict[str, Any]) -> None:
    found = manifest(Activity(image="i", template=odd), 1)["spec"]["template"]["spec"]["containers"]
    assert any(isinstance(c, dict) and c["name"] == "main" and c["image"] == "i" for c in found)


# -- names of tasks and workflows ---------------------------------------------------------------------------------------

LABELS = {
    "encode-1": "encode-1",
    "__x__-0": "x__-0",
    "_-0": "0",
    "___-12": "12",
    "X" * 40 + "-123456": "X" * 40 + "-123456",
}


@pytest.mark.parametrize(("task", "label"), LABELS.items(), ids=LABELS)
def test_a_task_has_a_valid_label_and_its_key_in_an_annotation(task: str, label: str) -> None:
    made = manifest(Activity(image="i"), task=task)
    assert made["metadata"]["labels"]["flowy.dev/task"] == label
    assert all(LABEL_VALUE.fullmatch(value) for value in made["metadata"]["labels"].values())
    assert made["metadata"]["annotations"]["flowy.dev/task"] == task
    assert made["spec"]["template"]["metadata"]["annotations"]["flowy.dev/task"] == task


# -- arguments ----------------------------------------------------------------------------------------------------------


def test_arguments_arrive_as_they_are() -> None:
    text = "$HOME $(FLOWY_TASK) $$ \n é"
    found = variables(None, text, [text], None, True, 10**30, x=1.0)
    assert found["FLOWY_ARG_0"] == "$$HOME $$(FLOWY_TASK) $$$$ \n é", "the kubelet makes one dollar of two"
    assert json.loads(found["FLOWY_ARG_1"].replace("$$", "$")) == [text]
    assert [found[f"FLOWY_ARG_{n}"] for n in (2, 3, 4)] == ["null", "true", str(10**30)]
    assert found["FLOWY_KWARG_x"] == "1.0"


def test_our_variables_stand_before_those_that_may_refer_to_them() -> None:
    given = Activity(
        image="i", env=[{"name": "A", "value": "$(FLOWY_ARG_0)"}], template=of_main(env=[{"name": "B", "value": "1"}])
    )
    names = [item["name"] for item in main(given, 1)["env"]]
    assert names[-2:] == ["B", "A"]
    assert all(name.startswith("FLOWY_") for name in names[:-2])


LEFT_OUT: dict[str, tuple[tuple[Any, ...], dict[str, Any], str]] = {
    "longer than a variable may be": (("x" * (VARIABLE_BYTES + 1),), {}, "FLOWY_ARG_0"),
    "bytes count": (("é" * (VARIABLE_BYTES // 2 + 1),), {}, "FLOWY_ARG_0"),
    "with a NUL": (("a\0b",), {}, "FLOWY_ARG_0"),
    "a keyword that is not ASCII": ((), {"größe": 1}, "FLOWY_KWARG_größe"),
    "a keyword that is no identifier": ((), {"a-b": 1}, "FLOWY_KWARG_a-b"),
    "no such argument": ((1,), {}, "FLOWY_ARG_1"),
    "no such keyword": ((1,), {"size": 1}, "FLOWY_KWARG_Size"),
}


@pytest.mark.parametrize(("args", "kwargs", "name"), LEFT_OUT.values(), ids=LEFT_OUT)
def test_a_reference_to_what_was_left_out_is_refused(args: tuple[Any, ...], kwargs: dict[str, Any], name: str) -> None:
    assert name not in variables(None, *args, **kwargs)
    words = f"$({name}) in the activity is not set"
    for activity in (
        Activity(image="i", args=[f"--x=$({name})"]),
        Activity(image="i", command=["run", f"$$$({name})"]),
        Activity(image="i", env=[{"name": "A", "value": f"$({name})"}]),
        Activity(image="i", template=of_main(args=[f"$({name})"])),
    ):
        with pytest.raises(InvalidActivity, match=re.escape(words)):
            manifest(activity, *args, **kwargs)


def test_an_escaped_reference_is_none() -> None:
    activity = Activity(image="i", args=["$$(FLOWY_ARG_9)", "$$$$(FLOWY_ARG_9)", "$(OTHER)", "FLOWY_ARG_9"])
    assert main(activity)["args"] == activity.args


@pytest.mark.parametrize(
    "text", ["$" * 500_000, "$(FLOWY_ARG_" * 50_000, "$(" * 200_000], ids=["dollars", "names", "openings"]
)
def test_no_text_takes_longer_than_its_length(text: str) -> None:
    # Quadratic, each would take minutes: of the loop that all workflows share.
    assert main(Activity(image="i", args=[text]))["args"] == [text]


def test_the_longest_variable() -> None:
    assert len(variables(None, "x" * VARIABLE_BYTES)["FLOWY_ARG_0"]) == VARIABLE_BYTES


def test_many_short_arguments_do_not_make_a_job_that_no_server_takes() -> None:
    made = manifest(None, *([1] * 100_000))
    assert len(json.dumps(made)) < 1024 * 1024
    assert made["spec"]["template"]["metadata"]["annotations"]["flowy.dev/input"].count("1") == 100_000


AROUND_ARGUMENTS = len('{"args":[""],"kwargs":{}}')


def test_arguments_that_fit_no_annotation_are_mounted_from_a_config_map() -> None:
    room = ANNOTATED_BYTES - AROUND_ARGUMENTS
    short, long = manifest(None, "x" * room), manifest(None, "é" + "x" * (room - 1))
    annotations = short["spec"]["template"]["metadata"]["annotations"]
    assert json.loads(annotations["flowy.dev/input"])["args"] == ["x" * room]
    assert "flowy.dev/input-configmap" not in short["metadata"]["annotations"]
    assert "flowy.dev/input" not in long["spec"]["template"]["metadata"]["annotations"]
    name = input_name(long["metadata"]["name"])
    assert long["metadata"]["annotations"]["flowy.dev/input-configmap"] == name
    assert long["spec"]["template"]["spec"]["volumes"] == [
        {"name": "flowy-input", "configMap": {"name": name, "items": [{"key": "value", "path": "input.json"}]}}
    ]
    mounts = [made["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] for made in (short, long)]
    assert mounts[0] == mounts[1]


def test_arguments_that_fit_nowhere_are_refused() -> None:
    room = MAX_VALUE_BYTES - AROUND_ARGUMENTS
    assert manifest(None, "x" * room)
    with pytest.raises(
        InvalidActivity, match="the arguments are 1,048,577 bytes long, at most 1,048,576 are passed: put the data"
    ):
        manifest(None, "x" * (room + 1))


def test_an_activity_without_an_image_is_refused() -> None:
    with pytest.raises(InvalidActivity, match="the activity has no image: "):
        manifest(Activity(command=["x"]))


# -- the net ------------------------------------------------------------------------------------------------------------

NETS = {
    "D16: the timer of all attempts, where it is the shorter one": (timeouts(start=11, run=12, close=13), 613),
    "the two timers of an attempt": (timeouts(start=11, run=12, close=100), 623),
    "one of the two says nothing": (timeouts(run=12), None),
    "the other says nothing either": (timeouts(start=12), None),
    "none": (timeouts(), None),
}


@pytest.mark.parametrize(("limits", "expected"), NETS.values(), ids=NETS)
def test_the_jobs_own_deadline_is_only_a_net(limits: Any, expected: int | None) -> None:
    assert manifest(limits=limits)["spec"].get("activeDeadlineSeconds") == expected


def test_without_a_deadline_there_is_no_variable() -> None:
    assert "FLOWY_DEADLINE" not in variables()
    assert variables(deadline=1)["FLOWY_DEADLINE"] == "2026-01-02T03:04:06.000Z"


# -- gateway ------------------------------------------------------------------------------------------------------------


def test_a_heartbeat_timeout_brings_the_way_to_the_gateway() -> None:
    spec = pod(Activity(image="i"), limits=timeouts(beat=60))["spec"]
    token = {"audience": "flowy", "expirationSeconds": 3600, "path": "token"}
    assert {"name": "flowy-token", "projected": {"sources": [{"serviceAccountToken": token}]}} in spec["volumes"]
    (container,) = spec["containers"]
    mount = {"name": "flowy-token", "mountPath": "/var/run/secrets/flowy.dev", "readOnly": True}
    assert mount in container["volumeMounts"]
    env = {item["name"]: item["value"] for item in container["env"]}
    assert env["FLOWY_URL"] == "http://flowy:8082"
    assert env["FLOWY_TOKEN_FILE"] == "/var/run/secrets/flowy.dev/token"
    assert spec["automountServiceAccountToken"] is False


def test_who_asks_gets_it_and_nobody_else() -> None:
    with_it, without = (repr(pod(Activity(image="i", gateway=asked))) for asked in (True, False))
    for word in ("FLOWY_URL", "FLOWY_TOKEN_FILE", "flowy-token", "serviceAccountToken"):
        assert word in with_it
        assert word not in without


def test_a_template_can_neither_take_the_token_nor_give_another() -> None:
    other = {"name": "flowy-token", "emptyDir": {}}
    given = template({"volumes": [other], "containers": [{"name": "main"}, {"name": "side", "image": "s"}]})
    spec = pod(Activity(image="i", gateway=True, template=given))["spec"]
    assert [v for v in spec["volumes"] if v["name"] == "flowy-token"] != [other]
    assert "volumeMounts" not in spec["containers"][1]
