"""Bad input of every kind in one operator, while a good workflow goes on: a clear error each, and nothing lost."""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from flowy_operator.core.naming import job_name
from tests.e2e.installed import Installed
from tests.e2e.kube import Kube, condition, events, result
from tests.e2e.manifests import BUSYBOX, CHAIN, mount_folder, shell, workflow
from tests.e2e.operator import OperatorProcess

ONE = "def w(t):\n    def run(*args):\n        return t(*args)\n    return run\n"
OK = shell("t", "true")
STEP = shell("step", "echo $(($1 + 1)) > $FLOWY_RESULT_FILE", "$(FLOWY_ARG_0)")

FAILS: Mapping[str, tuple[str, list[dict[str, Any]], list[Any], str, str]] = {
    "code that doesn't compile": ("def w(t):\n    return (\n", [OK], [], "InvalidCode", "line 2"),
    "code that raises when it is loaded": ("x = 1 / 0\ndef w(t): ...\n", [OK], [], "InvalidCode", "division by zero"),
    "no entrypoint": ("x = 1\n", [OK], [], "InvalidCode", "EntrypointNotFound"),
    "several entrypoints": ("def a(t): ...\ndef b(t): ...\n", [OK], [], "InvalidCode", "a, b"),
    "a task that isn't there": ("def w(t, other):\n    return t\n", [OK], [], "InvalidCode", "other"),
    "a task that nobody wants": ("def w():\n    return lambda: 1\n", [OK], [], "InvalidCode", "t"),
    "code that raises": (
        "def w(t):\n    def run():\n        return {}['k']\n    return run\n",
        [OK],
        [],
        "Failed",
        "KeyError",
    ),
    "an argument that isn't JSON": (
        "def w(t):\n    def run():\n        return t({1, 2})\n    return run\n",
        [OK],
        [],
        "Failed",
        "args[0]: a set has no order",
    ),
    "arguments that are too long": (
        "def w(t):\n    def run():\n        return t('x' * 1_100_000)\n    return run\n",
        [OK],
        [],
        "Failed",
        "at most 1,048,576",
    ),
    "a result that isn't JSON": (
        ONE,
        [shell("t", "echo {half > $FLOWY_RESULT_FILE")],
        [],
        "Failed",
        "the result is no JSON",
    ),
    "a result that is too long": (
        ONE,
        [shell("t", "head -c 5000 /dev/zero | tr '\\0' 1 > $FLOWY_RESULT_FILE")],
        [],
        "Failed",
        "write less than that",
    ),
    "a wrong exit code": (ONE, [shell("t", "exit 42")], [], "Failed", "exit code 42"),
    "an image that doesn't exist": (
        ONE,
        [
            {
                "name": "t",
                "activity": {"image": "flowy.local/no-such-image:1"},
                "timeouts": {"scheduleToStartSeconds": 10},
            }
        ],
        [],
        "Failed",
        "t-0 timed out (ScheduleToStart): image can't be pulled: flowy.local/no-such-image:1",
    ),
    "a template that the API server refuses": (
        ONE,
        [shell("t", "true", activity={"template": {"spec": {"volumes": [{"name": "Not A Name", "emptyDir": {}}]}}})],
        [],
        "Failed",
        "Not A Name",
    ),
}
STALLS: Mapping[str, tuple[str, str]] = {
    "an endless loop": ("def w(t):\n    def run():\n        while True: pass\n    return run\n", "DecisionTimeout"),
    "ten gigabytes": (
        "def w(t):\n    def run():\n        return len('x' * 10**10)\n    return run\n",
        "DecisionMemory",
    ),
}


def _name(sentence: str) -> str:
    return sentence.lower().replace("'", "").replace(" ", "-")[:50]


@pytest.fixture(scope="module")
def applied(served: Kube) -> None:
    """All of them, and a good one beside them."""
    served.apply(workflow("good", CHAIN, [STEP], 6))
    for sentence, (source, tasks, args, _, _) in FAILS.items():
        served.apply(workflow(_name(sentence), source, tasks, *args))
    for sentence, (source, _) in STALLS.items():
        served.apply(workflow(_name(sentence), source, [OK]))


@pytest.mark.timeout(200)
@pytest.mark.parametrize("sentence", FAILS)
def test_fails_with_a_clear_error(served: Kube, applied: None, sentence: str) -> None:
    _, _, _, reason, words = FAILS[sentence]
    status, got_reason, message = condition(served.wait_end(_name(sentence), 150), "Succeeded")
    assert (status, got_reason) == ("False", reason), message
    assert words in message


def _pause_s(body: Mapping[str, Any]) -> int:
    """How long the operator says that it waits before it asks again; it grows from 1 s."""
    found = re.search(r"tried again after (\d+) s", condition(body, "Stalled")[2])
    assert found is not None
    return int(found[1])


@pytest.mark.parametrize("sentence", STALLS)
def test_stalls_and_is_tried_again(served: Kube, applied: None, installed: Installed, sentence: str) -> None:
    name, reason = _name(sentence), STALLS[sentence][1]
    body = served.wait_until("workflow", name, lambda body: condition(body, "Stalled")[1] == reason)
    assert condition(body, "Succeeded")[:2] == ("Unknown", "Stalled")
    served.wait_until("workflow", name, lambda body: _pause_s(body) >= 2)
    assert not body["status"].get("history")
    figures = installed.ask(installed.leader(), "metrics")
    rss_bytes = re.search(r"^process_resident_memory_bytes (\S+)$", figures, re.MULTILINE)
    assert rss_bytes is not None
    assert float(rss_bytes[1]) < 300 * 1024 * 1024


def test_the_good_one_goes_on(served: Kube, applied: None) -> None:
    assert result(served.wait_end("good", 150)) == 6


IMAGES: Mapping[str, tuple[str, str]] = {
    "no-image": ("flowy.local/no-such-image:2", "Pod: image can't be pulled: flowy.local/no-such-image:2"),
    "no-name": ("flowy.local/CAPITALS:1", "Pod: InvalidImageName: "),
}


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_that_can_t_be_had_is_told_at_once(served: Kube, name: str) -> None:
    image, words = IMAGES[name]
    served.apply(workflow(name, ONE, [{"name": "t", "activity": {"image": image}}]))
    assert _reason_to_wait(served, name).startswith(words)
    served.run("delete", "workflow", name)


def _reason_to_wait(kube: Kube, name: str) -> str:
    """Why the first task that the workflow waits for doesn't run, once the status says it."""
    body = kube.wait_until(
        "workflow", name, lambda body: "reason" in (body.get("status", {}).get("waitingOn") or [{}])[0]
    )
    reason: str = body["status"]["waitingOn"][0]["reason"]
    return reason


def _job(name: str, labels: Mapping[str, str]) -> dict[str, Any]:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "labels": dict(labels)},
        "spec": {
            "backoffLimit": 0,
            "template": {
                "metadata": {"labels": dict(labels)},
                "spec": {
                    "restartPolicy": "Never",
                    "containers": [
                        {
                            "name": "main",
                            "image": BUSYBOX,
                            "command": ["sh", "-c", "echo 666 > /dev/termination-log"],
                        }
                    ],
                },
            },
        },
    }


def test_jobs_and_pods_that_are_not_ours_are_ignored(served: Kube, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    script = "while [ ! -e /log/go ]; do sleep 0.2; done; echo 7 > $FLOWY_RESULT_FILE"
    task = shell("t", script)
    mount_folder(task, tmp_path, "/log")
    served.apply(workflow("real", ONE, [task]))
    served.wait_until("workflow", "real", lambda _: len(served.list("jobs", "flowy.dev/workflow=real")) == 1)
    (ours,) = served.list("jobs", "flowy.dev/workflow=real")
    labels = ours["metadata"]["labels"]
    served.apply(_job("impostor", labels))
    forged = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "name": "impostor",
        "uid": served.get("job", "impostor")["metadata"]["uid"],
        "controller": True,
    }
    for name, owners in {"ownerless-pod": [], "forged-pod": [forged]}.items():
        served.apply(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name, "labels": labels, "ownerReferences": owners},
                "spec": _job(name, labels)["spec"]["template"]["spec"],
            }
        )
    served.run("wait", "--for=condition=Complete", "job/impostor", "--timeout=60s")
    for name in ("ownerless-pod", "forged-pod"):
        served.run("wait", "--for=jsonpath={.status.phase}=Succeeded", f"pod/{name}", "--timeout=60s")
    assert condition(served.get("workflow", "real"), "Succeeded")[1] == "Running"
    (tmp_path / "go").touch()
    assert result(served.wait_end("real")) == 7
    assert served.get("job", "impostor")["status"]["succeeded"] == 1


def test_a_foreign_job_in_the_way_is_told(served: Kube) -> None:
    served.apply(workflow("in-the-way", ONE, [OK], suspend=True))
    uid = served.get("workflow", "in-the-way")["metadata"]["uid"]
    name = job_name(workflow="in-the-way", uid=uid, run=1, task="t-0", attempt=1, launch=0)
    served.apply(_job(name, {"app": "foreign"}))
    served.run("patch", "workflow", "in-the-way", "--type=merge", "-p", '{"spec": {"suspend": false}}')
    message = condition(served.wait_end("in-the-way"), "Succeeded")[2]
    assert f"a Job {name!r} that belongs to somebody else is in the way: delete it" in message


def _status_patch(kube: Kube, name: str, *operations: Mapping[str, Any]) -> None:
    kube.run("patch", "workflow", name, "--subresource=status", "--type=json", "-p", json.dumps(operations))


EDITS: Mapping[str, list[dict[str, Any]]] = {
    "edited": [{"op": "replace", "path": "/status/history/0/digest", "value": "0123456789abcdef"}],
    "removed": [{"op": "remove", "path": "/status/history/0"}],
    "swapped": [
        {"op": "move", "from": "/status/history/0", "path": "/status/history/1"},
    ],
    "emptied": [{"op": "replace", "path": "/status/history", "value": []}],
}


@pytest.mark.parametrize("name", EDITS)
def test_a_history_edited_by_hand_stalls_until_it_is_put_back(served: Kube, name: str) -> None:
    source = "def w(t):\n    def run():\n        return [t(n) for n in range(2)]\n    return run\n"
    served.apply(workflow(name, source, [shell("t", "sleep 4")]))
    body = served.wait_until("workflow", name, lambda body: len(events(body, "TaskScheduled")) == 2)
    _status_patch(served, name, *EDITS[name])
    stalled = served.wait_until("workflow", name, lambda body: condition(body, "Stalled")[0] == "True")
    assert condition(stalled, "Stalled")[1] == "HistoryInvalid"
    assert "put status.history back" in condition(stalled, "Stalled")[2]
    _status_patch(served, name, {"op": "add", "path": "/status/history", "value": body["status"]["history"]})
    assert result(served.wait_end(name)) == [None, None]
    assert len(served.list("jobs", f"flowy.dev/workflow={name}")) == 2


def test_a_removed_status_stalls_until_it_is_put_back(served: Kube) -> None:
    served.apply(workflow("bare", ONE, [shell("t", "sleep 4")]))
    body = served.wait_until("workflow", "bare", lambda body: bool(events(body, "TaskScheduled")))
    _status_patch(served, "bare", {"op": "remove", "path": "/status"})
    stalled = served.wait_until("workflow", "bare", lambda body: condition(body, "Stalled")[0] == "True")
    assert condition(stalled, "Stalled")[1] == "HistoryInvalid"
    _status_patch(served, "bare", {"op": "add", "path": "/status", "value": body["status"]})
    assert result(served.wait_end("bare")) is None
    assert len(served.list("jobs", "flowy.dev/workflow=bare")) == 1


@contextmanager
def _quota(kube: Kube, **hard: str) -> Iterator[None]:
    """None of these may be made meanwhile."""
    kube.apply(
        {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "none"},
            "spec": {"hard": hard},
        }
    )
    kube.wait_until("resourcequota", "none", lambda body: body.get("status", {}).get("hard") == hard)
    try:
        yield
    finally:
        kube.run("delete", "resourcequota", "none")


def test_a_quota_without_jobs_is_waited_for(served: Kube) -> None:
    with _quota(served, **{"count/jobs.batch": "0"}):
        served.apply(workflow("no-jobs", ONE, [OK]))
        assert "exceeded quota: none" in _reason_to_wait(served, "no-jobs")
    assert result(served.wait_end("no-jobs")) is None


def test_a_quota_without_pods_is_waited_for(served: Kube) -> None:
    with _quota(served, pods="0"):
        served.apply(workflow("no-pods", ONE, [OK]))
        served.wait_until("workflow", "no-pods", lambda _: bool(served.list("jobs", "flowy.dev/workflow=no-pods")))
        (job,) = served.list("jobs", "flowy.dev/workflow=no-pods")
        refused = f"--field-selector=involvedObject.name={job['metadata']['name']},reason=FailedCreate"
        served.run("wait", "--for=create", "event", refused, "--timeout=60s")
    body = served.wait_end("no-pods")
    assert result(body) is None
    assert [event["type"] for event in body["status"]["history"]] == ["TaskScheduled", "TaskCompleted"]


def test_a_deleted_namespace_takes_all_along_and_is_forgotten(served: Kube, tmp_path: Path) -> None:
    doomed = Kube(served.kubeconfig, f"{served.namespace}-doomed")
    doomed.run("create", "namespace", doomed.namespace)
    operator = OperatorProcess(doomed.kubeconfig, doomed.namespace, tmp_path / "log")
    operator.start()
    try:
        source = "def w(t):\n    def run():\n        return [t() for _ in range(3)]\n    return run\n"
        doomed.apply(workflow("again", source, [shell("t", "sleep 300")]))
        doomed.wait_until("workflow", "again", lambda _: len(doomed.list("pods")) == 3)
        doomed.run("delete", "namespace", doomed.namespace, "--timeout=90s")
        # The same names anew: nothing of what was known of the old ones counts.
        doomed.run("create", "namespace", doomed.namespace)
        doomed.apply(workflow("again", source, [shell("t", "true")]))
        assert result(doomed.wait_end("again")) == [None, None, None]
        assert operator.stop() == 0
        bugs = [line for line in operator.lines(level="ERROR") if not str(line.get("logger")).startswith("kopf")]
        assert not bugs
    finally:
        operator.stop()
        doomed.run("delete", "namespace", doomed.namespace, "--wait=false", check=False)


def test_a_value_deeper_than_parsers_go_harms_its_own_workflow_alone(kube: Kube, operator: OperatorProcess) -> None:
    body = json.dumps(workflow("deep", ONE, [OK], "DEEP") | {"metadata": {"name": "deep"}})
    deep = body.replace('"DEEP"', "[" * 9_000 + "]" * 9_000)  # the API server takes 10,000 levels
    kube.run(
        "create", "--raw", f"/apis/flowy.dev/v1alpha1/namespaces/{kube.namespace}/workflows", "-f", "-", stdin=deep
    )
    # Not by what reads objects elsewhere: that is a parser as well.
    stalled = "{.status.conditions[?(@.type=='Stalled')].reason}"
    kube.run("wait", f"--for=jsonpath={stalled}=InvalidSpec", "workflows.flowy.dev/deep", "--timeout=30s")
    # Those who list read it, too.
    operator.kill()
    operator.start()
    kube.apply(workflow("beside-deep", ONE, [OK], 1))
    assert condition(kube.wait_end("beside-deep"), "Succeeded")[0] == "True"
    kube.run("delete", "workflows.flowy.dev/deep")


def test_a_manifest_against_the_schema_is_refused_by_name(served: Kube) -> None:
    bad = workflow("bad", ONE, [OK | {"name": "for"}])
    assert "a Python keyword can't be the name of a task" in served.refusal(bad)
    bad = workflow("bad", ONE, [OK | {"retry": {"maxAttempts": 0}}])
    assert "spec.tasks[0].retry.maxAttempts" in served.refusal(bad)
    bad = workflow("bad", ONE, [OK | {"retry": {"delaysSeconds": [1], "backoff": {"initialSeconds": 1}}}])
    assert "give either delaysSeconds (each wait by itself) or backoff (waits that grow), not both" in served.refusal(
        bad
    )
