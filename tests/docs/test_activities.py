"""The page for authors of steps: its programs run under the contract, and its numbers are the operator's."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from flowy import activity
from flowy.policy.lengths import MAX_VALUE_BYTES
from flowy.policy.retry import MAX_LAUNCHES, Backoff, RetrySpec, RetryWhen, delay_before, pause_before_launch
from flowy_operator.adapters.crd import model
from flowy_operator.adapters.crd.shape import outside
from flowy_operator.adapters.crd.spec import workflow_spec
from flowy_operator.adapters.gateway.server import PER_POD_S
from flowy_operator.core import merge
from flowy_operator.core.attempts import DETAILS_BYTES
from flowy_operator.core.job import (
    ANNOTATED_BYTES,
    INPUT_FILE,
    INPUT_VOLUME,
    MAIN,
    RESULT_FILE,
    VARIABLE_BYTES,
    VARIABLES_BYTES,
    job_manifest,
)
from flowy_operator.core.outcome import MESSAGE_BYTES, POD_MESSAGE_BYTES, Failed, Outcome, Succeeded, judge
from flowy_operator.core.records import PodRecord
from flowy_operator.core.state import Launch
from tests.builders import OWNER, START
from tests.docs.pages import blocks, codes, page, rows, section, table

PAGE = "activities.md"


@dataclass(frozen=True)
class Contract:
    """Runs programs as a kubelet would, from the Job that the operator makes of the page's manifest."""

    folder: Path

    def run(self, task: str, *args: object, program: list[str] | None = None, **kwargs: object) -> Outcome:
        """The outcome of one call; `program` stands for the image's entrypoint."""
        main = self._main(task, args, kwargs)
        result = self.folder / "result"
        result.write_text("")
        environment = {"PATH": os.environ["PATH"]}
        for item in main["env"]:
            environment[item["name"]] = _expanded(item["value"], environment)
        command = [_expanded(text, environment) for text in [*main.get("command", ()), *main.get("args", ())]]
        input_file = self.folder / "input.json"
        input_file.write_text(json.dumps({"args": args, "kwargs": kwargs}))
        environment |= {"FLOWY_INPUT_FILE": str(input_file), "FLOWY_RESULT_FILE": str(result)}
        done = subprocess.run(
            program or command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        message = result.read_text()
        if done.returncode and not message:
            message = done.stdout  # FallbackToLogsOnError
        return judge(None, _pod(done.returncode, message), job_deleted=False)

    @staticmethod
    def _main(task: str, args: tuple[object, ...], kwargs: Mapping[str, object]) -> Mapping[str, Any]:
        spec = workflow_spec(_manifest())
        launch = Launch(job="job", task=f"{task}-0", attempt=1, number=0, recorded_at=START, scheduled_at=START)
        arguments = json.dumps({"args": args, "kwargs": kwargs})
        job = job_manifest(
            OWNER, spec.tasks[task], launch, arguments, spec.default_template, deadline=None, gateway_url=""
        )
        main: Mapping[str, Any] = job["spec"]["template"]["spec"]["containers"][0]
        return main


def _manifest() -> Mapping[str, Any]:
    manifest: Mapping[str, Any] = yaml.safe_load(next(blocks(PAGE, "yaml")).text)
    return manifest


def _expanded(text: str, variables: Mapping[str, str]) -> str:
    """As the kubelet does (third_party/forked/golang/expansion)."""
    return re.sub(r"\$(?:\$|\(([^)]*)\))", lambda m: "$" if m[1] is None else variables.get(m[1], m[0]), text)


def _pod(exit_code: int, message: str) -> PodRecord:
    return PodRecord(
        namespace="media",
        name="pod",
        uid="uid",
        resource_version=1,
        workflow="words",
        job="job",
        job_uid="job-uid",
        phase="Failed" if exit_code else "Succeeded",
        exit_code=exit_code,
        reason="Error" if exit_code else "Completed",
        message=message,
    )


def _result(outcome: Outcome) -> object:
    assert isinstance(outcome, Succeeded), outcome
    return json.loads(outcome.result)


def _failure(outcome: Outcome) -> tuple[str, str]:
    assert isinstance(outcome, Failed), outcome
    return outcome.failure.type, outcome.failure.message


@pytest.fixture
def contract(tmp_path: Path) -> Contract:
    return Contract(tmp_path)


def test_the_shell_step(contract: Contract) -> None:
    assert _result(contract.run("count", "to be or not to be")) == 6
    assert _result(contract.run("count", "$(FLOWY_TASK) `date` $$HOME; exit 1")) == 5
    assert _failure(contract.run("count", "")) == ("NoText", "nothing to count")


def test_the_python_step(contract: Contract) -> None:
    program = contract.folder / "shout.py"
    program.write_text(next(blocks(PAGE, "python")).text)
    run = [sys.executable, str(program)]
    assert _result(contract.run("shout", "hé", mark="!", program=run)) == "HÉ!"
    kind, message = _failure(contract.run("shout", 1, program=run))
    assert kind == "BadArgument"
    assert "upper" in message


def test_the_python_step_with_our_module(contract: Contract) -> None:
    program = contract.folder / "render.py"
    program.write_text(next(b.text for b in blocks(PAGE, "python") if "flowy_activity" in b.text))
    shutil.copyfile(activity.__file__, contract.folder / "flowy_activity.py")
    run = [sys.executable, str(program)]
    assert _result(contract.run("shout", "tour", 3, program=run)) == {"film": "tour", "rendered": 3}
    outcome = contract.run("shout", "", 3, program=run)
    assert isinstance(outcome, Failed)
    assert not outcome.retryable
    assert (outcome.failure.type, outcome.failure.details) == ("NoFilm", '{"frames": 3}')


@pytest.mark.skipif(shutil.which("go") is None, reason="no Go on this machine")
def test_the_go_step(contract: Contract) -> None:
    source, program = contract.folder / "double.go", contract.folder / "double"
    source.write_text(next(blocks(PAGE, "go")).text)
    environment = {**os.environ, "GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local"}
    subprocess.run(["go", "build", "-o", str(program), str(source)], check=True, env=environment, cwd=contract.folder)
    assert _result(contract.run("double", 21, program=[str(program)])) == 42
    kind, message = _failure(contract.run("double", "x", program=[str(program)]))
    assert kind == "Error"
    assert "double takes one integer" in message


def test_the_manifests_are_accepted() -> None:
    for block in blocks(PAGE, "yaml"):
        body = yaml.safe_load(block.text)
        if "kind" not in body:
            whole = {"code": {"source": "def f(): ..."}, "tasks": [{"name": "a", "activity": {"image": "b"}}]}
            body = {"metadata": {"name": "x"}, "spec": whole | body}
        tasks = workflow_spec(body).tasks
        assert tasks
        if "encode" in tasks:
            retry = tasks["encode"].retry
            assert [delay_before(retry, n, "seed") for n in range(1, 5)] == [0, 10, 60, 60]
            assert list(retry.when) == [RetryWhen.TIMEOUT, RetryWhen.ERROR]
        if "fetch" in tasks:
            retry = tasks["fetch"].retry
            waits = [10, 20, 40, 80, 160, 300, 300]
            assert "the waits are 10, 20, 40, 80, 160, 300 and 300 s" in page(PAGE)
            found = [delay_before(retry, n, "seed") for n in range(2, 9)]
            assert [pause_before_launch(n) for n in range(1, 10)] == [0, 0, 0, 5, 10, 20, 40, 60, 60]
            assert all(0.8 * even <= wait <= even for wait, even in zip(found, waits, strict=True))


def test_the_variables_are_those_of_the_job(contract: Contract) -> None:
    listed = {name for first, _ in rows(section(PAGE, "Input")) for name in codes(first)}
    env = contract._main("shout", ("a", "b"), {"name": 1})["env"]
    assert {item["name"] for item in env} == listed - {"FLOWY_DEADLINE"}
    assert table(PAGE, "Input")["FLOWY_INPUT_FILE"] == [f"`{INPUT_FILE}`"]
    assert f"`{RESULT_FILE}`" in table(PAGE, "Input")["FLOWY_RESULT_FILE"][0]


def test_the_numbers() -> None:
    text = page(PAGE)
    for number in (
        VARIABLE_BYTES,
        VARIABLES_BYTES,
        ANNOTATED_BYTES,
        MAX_VALUE_BYTES,
        MESSAGE_BYTES,
        MESSAGE_BYTES - 1,
        POD_MESSAGE_BYTES,
    ):
        assert f"{number:,} bytes" in text
    assert f"each has {POD_MESSAGE_BYTES // 4:,}" in text
    assert text.count(f"{MAX_LAUNCHES} times") == 2
    assert INPUT_VOLUME in text
    assert MAIN in text


def test_the_section_on_heartbeats_is_that_of_the_code() -> None:
    text = section(PAGE, "Heartbeats")
    assert f"at most {DETAILS_BYTES:,} bytes" in text
    assert f"more often than {PER_POD_S:.0f} a second" in text
    launch = Launch(job="job", task="render-0", attempt=1, number=0, recorded_at=START, scheduled_at=START)
    tasks = yaml.safe_load(next(b.text for b in blocks(PAGE, "yaml") if "heartbeatSeconds" in b.text))["tasks"]
    spec = workflow_spec({"metadata": {"name": "x"}, "spec": {"code": {"source": "def f(): ..."}, "tasks": tasks}})
    arguments = '{"args":[],"kwargs":{}}'
    job = job_manifest(OWNER, spec.tasks["render"], launch, arguments, {}, deadline=None, gateway_url="http://x")
    (main,) = job["spec"]["template"]["spec"]["containers"]
    usual = {e["name"] for e in Contract._main("shout", (), {})["env"]}
    listed = {name for name in table(PAGE, "Heartbeats") if name.startswith("FLOWY_")}
    assert {e["name"] for e in main["env"]} - usual == listed


def test_the_types_of_failures_are_those_of_the_code() -> None:
    sources = [Path(merge.__file__).with_name(name).read_text() for name in ("outcome.py", "observe.py")]
    made = {name for source in sources for name in re.findall(r'Failure\(\s*type="(\w+)"', source)}
    listed = [row for row in rows(section(PAGE, "Failure")) if len(row) == 2]
    theirs = {"Error", "OOMKilled", "StartError", "Evicted", "DeadlineExceeded", "SysctlForbidden", "AppArmor"}
    assert {name for first, _ in listed for name in codes(first)} - theirs == made


def test_the_retry_table_is_that_of_the_code() -> None:
    listed = table(PAGE, "Retries")
    assert listed["maxAttempts"][0] == str(RetrySpec().max_attempts)
    assert listed["delaysSeconds"][0] == f"`{list(RetrySpec().delays_s)}`"
    assert {name for name in RetryWhen if f"`{name}`" in listed["when"][1]} == set(RetryWhen)
    assert set(listed) == {outside(name) for name in model.Retry.model_fields} | {"initialSeconds"} | {
        outside(name) for name in model.Backoff.model_fields
    }
    backoff = Backoff(initial_s=1)
    assert [listed[name][0] for name in ("multiplier", "maxSeconds", "jitterPercent")] == [
        str(number) for number in (backoff.multiplier, backoff.max_s, backoff.jitter_percent)
    ]
    fields = list(model.Timeouts.model_fields)
    assert [name.title().replace("_", "") for name in fields] == [
        name[0].upper() + name[1:] for name in table(PAGE, "Timeouts")
    ]


def test_the_merge_keys_are_those_of_the_code() -> None:
    found = {
        name: (codes(key)[0], "replaces" in same)
        for lists, key, same in rows(section(PAGE, "The pod"))
        for name in codes(lists)
    }
    assert found == {name: (key, name in merge._WHOLE) for name, key in merge._MERGE_KEYS.items()}
