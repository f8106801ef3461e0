"""What a user sees with kubectl alone: why nothing goes on, and the story of a run."""

from typing import Any

import pytest

from tests.e2e.kube import Kube, condition, result
from tests.e2e.manifests import shell, workflow

ONE = "def w(t):\n    def run():\n        return t()\n    return run\n"
STORY = """
def w(good, bad):
    def run():
        ignored = bad("x")
        return good(good(1))
    return run
"""
LUCKY = '[ $FLOWY_ATTEMPT = 2 ] || { echo "disk full" >&2; exit 7; }; echo 5 > $FLOWY_RESULT_FILE'


def _without(what: str) -> dict[str, Any]:
    """A task whose pod lacks something."""
    task = shell("t", "true")
    spec = task["activity"]["template"]["spec"]
    match what:
        case "account":
            spec["serviceAccountName"] = "none"
        case "quota":
            task["activity"]["resources"] = {"requests": {"cpu": "900m"}, "limits": {"cpu": "900m"}}
        case "volume":
            spec["volumes"] = [{"name": "s", "secret": {"secretName": "none"}}]
            spec["containers"] = [{"name": "main", "volumeMounts": [{"name": "s", "mountPath": "/s"}]}]
        case "secret":
            task["activity"]["env"] = [
                {"name": "X", "valueFrom": {"secretKeyRef": {"name": "none", "key": "k"}}},
            ]
    return task


WORDS = {
    "account": 'Pod: can\'t be created: error looking up service account {}/none: serviceaccount "none" not found',
    "quota": "Pod: can't be created: exceeded quota: few, requested: limits.cpu=900m, limited: limits.cpu=100m",
    "volume": 'Pod: MountVolume.SetUp failed for volume "s" : secret "none" not found',
    "secret": 'Pod: CreateContainerConfigError: secret "none" not found',
}


@pytest.fixture(scope="module")
def stuck(served: Kube) -> None:
    quota = {"spec": {"hard": {"limits.cpu": "100m"}, "scopes": ["NotBestEffort"]}}
    served.apply({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"}, **quota})
    served.wait_until("resourcequota", "few", lambda body: "hard" in body.get("status", {}))
    for name in WORDS:
        served.apply(workflow(name, ONE, [_without(name)]))


@pytest.mark.usefixtures("stuck")
@pytest.mark.parametrize("name", WORDS)
def test_why_a_pod_is_not_there_or_does_not_start(served: Kube, name: str) -> None:
    def told(body: dict[str, Any]) -> bool:
        return "reason" in (body.get("status", {}).get("waitingOn") or [{}])[0]

    (wait,) = served.wait_until("workflow", name, told, 60)["status"]["waitingOn"]
    assert (wait["task"], wait["line"], wait["reason"]) == ("t-0", 3, WORDS[name].format(served.namespace))
    assert wait["since"]


def test_the_story_of_a_run(served: Kube) -> None:
    good = shell("good", "echo 2 > $FLOWY_RESULT_FILE")
    served.apply(workflow("story", STORY, [good, shell("bad", "echo oops; exit 3")]))
    served.run("wait", "--for=condition=Succeeded", "workflow/story", "--timeout=60s")
    served.run("wait", "--for=create", "event", "--field-selector=involvedObject.name=story,reason=Completed")
    body = served.get("workflow", "story")
    assert result(body) == 2
    assert body["status"]["ignoredErrors"] == [
        {"type": "Error", "message": "oops", "task": "bad-0", "attempt": 1, "exitCode": 3}
    ]
    _, _, story = served.run("describe", "workflows.flowy.dev", "story").stdout.rpartition("Events:\n")
    lines = [line.split(maxsplit=4) for line in story.splitlines()[2:]]
    assert [(kind, reason, who) for kind, reason, _, who, _ in lines] == [
        ("Normal", "Running", "flowy-operator"),
        ("Warning", "TaskFailed", "flowy-operator"),
        ("Normal", "Completed", "flowy-operator"),
    ]
    assert lines[0][4] == "line 5 waits for good-0"
    assert lines[1][4] == "bad-0, attempt 1 of 3, not retried: Error: oops (exit code 3)"
    assert lines[2][4].startswith("the code returned; 3 tasks, 1 without success; took ")


def test_a_retry_is_seen_while_it_waits(served: Kube) -> None:
    served.apply(workflow("lucky", ONE, [shell("t", LUCKY, retry={"when": ["Error"], "delaysSeconds": [0, 3]})]))
    body = served.wait_until("workflow", "lucky", lambda b: "attempt 2" in str(b.get("status", {}).get("waitingOn")))
    assert body["status"]["waitingOn"][0]["reason"].startswith("attempt 2 of 3 at ")
    assert body["status"]["waitingOn"][0]["reason"].endswith("; attempt 1 failed: Error: disk full (exit code 7)")
    served.run("wait", "--for=condition=Reconciling=False", "workflow/lucky", "--timeout=60s")
    body = served.get("workflow", "lucky")
    assert condition(body, "Succeeded")[:2] == ("True", "Completed")
    assert body["status"]["progress"]["summary"] == "1/1"
