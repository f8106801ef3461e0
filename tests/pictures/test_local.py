"""Pictures of local runs, from their traces."""

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowy import TaskError, restart, wait
from flowy.local import LocalWorkflow
from flowy_cli.errors import NotThere, Unreadable
from flowy_cli.pictures.graph import graph_of
from flowy_cli.pictures.graph_text import graph_text
from flowy_cli.pictures.local import execution_of_trace
from flowy_cli.pictures.report import report
from flowy_cli.pictures.timeline import timeline_of
from flowy_cli.pictures.timeline_text import timeline_text
from flowy_cli.pictures.traces import trace_in
from tests.cli.shell import Shell
from tests.pictures.recordings import assert_golden


def page(render: Any) -> Callable[..., Any]:
    def workflow(name: str) -> Any:
        return [render(name, section) for section in ("top", "text")]

    return workflow


def site(check: Any, page: Any, publish: Any) -> Callable[..., Any]:
    def workflow(names: list[str], again: int = 1) -> Any:
        report = check(again)
        if again:
            wait(report)
            return restart(names, 0)
        with contextlib.suppress(TaskError):
            wait(report)
        return publish([page(name) for name in names])

    return workflow


def check(again: int) -> str:
    if again:
        return "well"
    raise ValueError("no <b>luck</b>")


@pytest.fixture(scope="module")
def trace() -> dict[str, Any]:
    child = LocalWorkflow(page, activities={"render": "{}/{}".format}, clock="virtual", durations={"render": 2})
    local = LocalWorkflow(
        site,
        activities={"check": check, "publish": len},
        workflows={"page": child},
        clock="virtual",
        durations={"check": 1, "publish": 3},
        tasks={"check": {"retry": {"maxAttempts": 2, "when": ["Error"]}}},
    )
    assert local.run(["home", "about"]) == 2
    found: dict[str, Any] = json.loads(json.dumps(local.trace))
    return found


def test_texts(trace: dict[str, Any]) -> None:
    run = execution_of_trace(trace)
    assert_golden("local.graph.txt", graph_text(graph_of(run), 100))
    assert_golden("local.timeline.txt", timeline_text(timeline_of(run), 100))


def test_a_run_before_a_restart(trace: dict[str, Any]) -> None:
    run = execution_of_trace(trace, 1)
    assert [(call.key, call.result) for call in run.calls] == [("check-0", '"well"')]
    with pytest.raises(NotThere, match="no run 3"):
        execution_of_trace(trace, 3)


def test_the_page_has_all_of_it_and_no_command_of_a_cluster(trace: dict[str, Any]) -> None:
    text = report(execution_of_trace(trace))
    assert "kubectl" not in text
    for name in ("site/page-0/render-1", "site/page-1/render-1", "site/publish-0"):
        assert f'data-calls="{name}"' in text


def test_the_command_takes_a_trace_for_what_it_is(trace: dict[str, Any], shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "trace.json"
    file.write_text(json.dumps(trace))
    assert "publish-0" in shell.ok("graph", str(file))
    assert shell.ok("graph", "-", stdin=json.dumps(trace)) == shell.ok("graph", str(file))


@pytest.mark.parametrize("text", ["", "[]", "{", '{"kind": "Workflow"}', "kind: Workflow\n"])
def test_what_is_no_trace(text: str) -> None:
    assert trace_in(text) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda trace: trace.update(runs=[{}]),
        lambda trace: trace["history"].pop(1),
        lambda trace: trace["runs"][1]["edges"].append(["nobody-0", "publish-0"]),
        lambda trace: trace["runs"][1]["edges"].append(["publish-0", "check-0"]),
        lambda trace: trace["runs"][1]["looks"].append({"key": "nobody-0", "line": 1}),
        lambda trace: trace["runs"][1]["nodes"][0].update(looks=1),
        lambda trace: trace["runs"][1]["nodes"][0].update(kind="<b>"),
        lambda trace: trace.update(startTime="soon"),
    ],
)
def test_a_changed_trace_is_refused(trace: dict[str, Any], change: Callable[[dict[str, Any]], object]) -> None:
    broken = json.loads(json.dumps(trace))
    change(broken)
    with pytest.raises(Unreadable, match="no trace of a local run"):
        execution_of_trace(broken)
