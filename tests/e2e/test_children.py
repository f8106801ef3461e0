"""Sub-workflows on the real cluster."""

import json
import textwrap
from typing import Any

from tests.e2e.kube import Kube, condition, result
from tests.e2e.manifests import shell, workflow
from tests.e2e.operator import OperatorProcess

DEEP = """
def top(middle):
    def run(n):
        return [middle(i) for i in range(n)]
    return run

def middle(bottom):
    def run(i):
        return sum([bottom(i), bottom(10 * i)])
    return run

def bottom(step):
    def run(i):
        return step(i)
    return run
"""
NEXT = "echo $(($1 + 1)) > $FLOWY_RESULT_FILE"


def _deep(name: str, script: str, *args: object, **child: object) -> dict[str, object]:
    tasks: list[dict[str, Any]] = [
        {"name": "middle", "workflow": {"entrypoint": "middle"}, **child},
        {"name": "bottom", "workflow": {"entrypoint": "bottom"}},
        shell("step", script, "$(FLOWY_ARG_0)"),
    ]
    code = {"source": textwrap.dedent(DEEP), "entrypoint": "top"}
    return workflow(name, DEEP, tasks, *args, code=code)


def test_three_levels_and_a_kill_in_the_middle_of_their_start(kube: Kube, operator: OperatorProcess) -> None:
    kube.apply(_deep("deep", NEXT, 2))
    kube.wait_until("workflow", "deep", lambda body: bool((body.get("status") or {}).get("history")))
    operator.kill()
    operator.start()
    assert result(kube.wait_end("deep")) == [2, 13]
    found = kube.list("workflows.flowy.dev", "flowy.dev/task")
    names = [body["metadata"]["name"] for body in found]
    depths = sorted(body["metadata"]["annotations"]["flowy.dev/depth"] for body in found)
    assert depths == ["1"] * 2 + ["2"] * 4
    kube.run("delete", "workflows.flowy.dev", "deep", "--wait=true")
    for name in names:
        kube.run("wait", "--for=delete", "--timeout=60s", f"workflows.flowy.dev/{name}")
    kube.run("wait", "--for=delete", "--timeout=60s", "jobs", "--all")


def test_fifty_children_at_once(served: Kube) -> None:
    source = """
    def many(child):
        return lambda n: sum([child(i) for i in range(n)])

    def child():
        return lambda i: i * i
    """
    code = {"source": textwrap.dedent(source), "entrypoint": "many"}
    served.apply(workflow("fifty", source, [{"name": "child", "workflow": {"entrypoint": "child"}}], 50, code=code))
    body = served.wait_end("fifty")
    assert result(body) == sum(i * i for i in range(50))
    assert body["status"]["progress"]["summary"] == "50/50"


def test_an_error_rises_through_three_levels(served: Kube) -> None:
    reported = json.dumps({"error": {"type": "NoSpace", "message": "the disk is full", "details": {"free": 0}}})
    served.apply(_deep("rising", f"echo '{reported}' > $FLOWY_RESULT_FILE; exit 3", 1))
    body = served.wait_end("rising")
    error = body["status"]["error"]
    assert (error["type"], error["message"], error["task"]) == ("NoSpace", "the disk is full", "middle-0")
    assert (json.loads(error["details"]), error["exitCode"]) == ({"free": 0}, 3)
    assert condition(body, "Succeeded")[:2] == ("False", "Failed")


def test_a_child_out_of_time_takes_all_below_along(served: Kube) -> None:
    timeouts = {"timeouts": {"startToCloseSeconds": 3}, "retry": {"maxAttempts": 1}}
    served.apply(_deep("late", "sleep 600", 1, **timeouts))
    body = served.wait_end("late")
    assert (body["status"]["error"]["type"], body["status"]["error"]["timer"]) == ("TaskTimedOut", "StartToClose")
    for below in served.list("workflows.flowy.dev"):
        if below["metadata"]["name"].startswith("late-"):
            served.wait_end(below["metadata"]["name"])
    served.run("wait", "--for=delete", "--timeout=60s", "pods", "--field-selector=status.phase=Running")
