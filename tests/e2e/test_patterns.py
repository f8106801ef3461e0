"""The patterns of examples/patterns, all applied at once."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.kube import Kube, condition, events

FOLDER = Path(__file__).parents[2] / "examples" / "patterns"
RESULTS: Mapping[str, object] = {
    "batch": {"a.csv": "done", "b.csv": "done", "broken.csv": "no header", "c.csv": "done", "d.csv": "done"},
    "conditional-retry": 3,
    "fibonacci": 5,
    "map-reduce": 11,
    "nested": [["home/top", "home/text"], ["about/top", "about/text"]],
    "saga": {"failed": "no car left", "undone": ["hotel", "flight"]},
}


@pytest.fixture(scope="module")
def applied(served: Kube) -> Kube:
    served.run("apply", "-f", str(FOLDER))
    return served


@pytest.mark.parametrize("name", RESULTS)
def test_result(applied: Kube, name: str) -> None:
    body = applied.wait_end(name)
    assert condition(body, "Succeeded")[0] == "True", body["status"]
    assert json.loads(body["status"]["result"]) == RESULTS[name]


def test_the_coin_was_flipped_until_heads(applied: Kube) -> None:
    body = applied.wait_end("coin-flip")
    flips = [event["result"] for event in events(body, "TaskCompleted")]
    assert flips[-1] == '"heads"'
    assert '"heads"' not in flips[:-1]
    assert json.loads(body["status"]["result"]) == len(flips)


def test_the_quorum_cancels_the_slowest(applied: Kube) -> None:
    body = applied.wait_end("quorum")
    assert sorted(json.loads(body["status"]["result"])) == ["east says yes", "west says yes"]
    assert [event["task"] for event in events(body, "TaskCancelled")] == ["ask-2"]
    applied.run("wait", "--for=delete", "--timeout=30s", "job", "-l", "flowy.dev/workflow=quorum,flowy.dev/task=ask-2")


def test_the_exit_handler_runs_and_the_error_stays(applied: Kube) -> None:
    body = applied.wait_end("exit-handler")
    status, reason, message = condition(body, "Succeeded")
    assert (status, reason) == ("False", "Failed")
    assert "no compiler" in message
    done: Any = [event["task"] for event in events(body, "TaskCompleted")]
    assert sorted(done) == ["cry-0", "notify-0"]
