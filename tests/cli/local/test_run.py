"""`flowy run`: manifests whose activities are processes of this machine, and factories in Python files."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from flowy_cli.documents import run_of_file
from flowy_cli.main import flowy
from tests.docs.pages import DOCS

EXAMPLES = DOCS.parent / "examples"


def run(*words: str, stdin: str | None = None) -> Result:
    """The command, in processes and with the code not locked in: what that adds, its own tests tell."""
    return CliRunner().invoke(flowy, ["run", "--in=process", "--unlocked", *words], input=stdin, prog_name="flowy")


def ok(*words: str, stdin: str | None = None) -> Any:
    done = run(*words, stdin=stdin)
    assert done.exit_code == 0, f"{done.output}\n{done.exception!r}"
    return json.loads(done.stdout)


def manifest(source: str, *tasks: Mapping[str, Any], args: Sequence[Any] = (), **spec: Any) -> str:
    body = {"code": {"source": source}, "input": {"args": list(args)}, "tasks": list(tasks), **spec}
    return yaml.safe_dump(
        {"apiVersion": "flowy.dev/v1alpha1", "kind": "Workflow", "metadata": {"name": "test"}, "spec": body}
    )


def shell(name: str, script: str, *args: str, activity: Mapping[str, Any] = {}, **task: Any) -> dict[str, Any]:
    command = ["sh", "-c", script, name, *args]
    return {"name": name, "activity": {"image": "none", "command": command, **activity}, **task}


def python(name: str, source: str, **task: Any) -> dict[str, Any]:
    activity = {"image": "none", "command": [sys.executable, "-c", source], "gateway": True}
    return {"name": name, "activity": activity, **task}


ONE = "def one(step):\n    def workflow(*args, **kwargs):\n        return step(*args, **kwargs)\n    return workflow\n"


def one(step: Mapping[str, Any], *args: Any, **spec: Any) -> str:
    return manifest(ONE, step, args=args, **spec)


def failure(text: str) -> str:
    done = run("-", stdin=text)
    assert done.exit_code == 1, f"{done.output}\n{done.exception!r}"
    assert done.stdout == ""
    return done.stderr


@pytest.mark.parametrize(("name", "expected"), [("fibonacci", 5), ("quorum", {"east says yes", "west says yes"})])
def test_examples(name: str, expected: Any) -> None:
    got = ok(str(EXAMPLES / f"patterns/{name}.yaml"))
    assert (set(got) if isinstance(expected, set) else got) == expected


def test_hello_locked_in_as_in_the_cluster() -> None:
    done = CliRunner().invoke(flowy, ["run", str(EXAMPLES / "hello/workflow.yaml"), "Anna", "--in=process"])
    assert (done.exit_code, done.stdout) == (0, '"Hello, Anna!"\n')
    assert done.stderr.splitlines() == ["greet-0: started", 'greet-0: completed, "Hello, Anna!"']


def test_a_definition_and_a_run_of_it_in_one_file() -> None:
    texts = [(EXAMPLES / f"definition/{name}.yaml").read_text() for name in ("definition", "workflows")]
    workflows = list(yaml.safe_load_all(texts[1]))
    name = workflows[0]["metadata"]["name"]
    assert run("-", f"--name={name}", stdin="\n---\n".join(texts)).exit_code == 0
    alone = run("-", f"--name={name}", stdin=texts[1])
    assert alone.exit_code == 2
    assert "put it into the same file" in alone.stderr


def test_arguments_replace_the_input() -> None:
    text = one(shell("step", 'cat "$FLOWY_INPUT_FILE" > "$FLOWY_RESULT_FILE"'), "unused")
    assert ok("-", "text", "[1, 2]", "-k", "n=3", stdin=text) == {"args": ["text", [1, 2]], "kwargs": {"n": 3}}


SEES = """
import json, os
keep = [name for name in os.environ if name.startswith(("FLOWY_", "OWN"))]
seen = {name: os.environ[name] for name in keep}
seen["input"] = json.load(open(os.environ["FLOWY_INPUT_FILE"]))
del seen["FLOWY_INPUT_FILE"], seen["FLOWY_TOKEN_FILE"], seen["FLOWY_URL"]
json.dump(seen, open(seen.pop("FLOWY_RESULT_FILE"), "w"))
"""


def test_what_a_process_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OWN_SECRET", "from here")
    step = python("step", SEES)
    step["activity"]["env"] = [
        {"name": "OWN", "value": "$(FLOWY_ARG_0) of $(FLOWY_TASK) $$(FLOWY_TASK)"},
        {"name": "OWN_SECRET", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
    ]
    seen = ok("-", stdin=one(step, "a $(FLOWY_TASK)", [1], timeouts={"workflowSeconds": 60}))
    assert seen.pop("FLOWY_DEADLINE").endswith("Z")
    assert seen == {
        "FLOWY_ARG_0": "a $(FLOWY_TASK)",
        "FLOWY_ARG_1": "[1]",
        "FLOWY_ATTEMPT": "1",
        "FLOWY_NAMESPACE": "default",
        "FLOWY_TASK": "step-0",
        "FLOWY_WORKFLOW": "test",
        "OWN": "a $(FLOWY_TASK) of step-0 $(FLOWY_TASK)",
        "OWN_SECRET": "from here",
        "input": {"args": ["a $(FLOWY_TASK)", [1]], "kwargs": {}},
    }


FROM_LOG = {"result": {"from": "Log"}}
RESULTS: Mapping[str, tuple[dict[str, Any], Any]] = {
    "nothing is null": (shell("step", ":"), None),
    "the result file": (shell("step", 'echo "[1]" > "$FLOWY_RESULT_FILE"'), [1]),
    "the last line of the log": (shell("step", "echo hello; echo 7", activity=FROM_LOG), 7),
    "the whole log": (shell("step", 'printf "[1,\\n2]\\n"', activity=FROM_LOG), [1, 2]),
    "an upload": (
        python("step", "from flowy.activity import main\nmain(lambda: 'x' * 9000)"),
        "x" * 9000,
    ),
}


@pytest.mark.parametrize(("step", "result"), RESULTS.values(), ids=RESULTS)
def test_results(step: Mapping[str, Any], result: Any) -> None:
    assert ok("-", stdin=one(step)) == result


FAILURES: Mapping[str, tuple[dict[str, Any], str]] = {
    "its own words": (
        shell("step", """echo '{"error": {"type": "NoFilm", "message": "gone"}}' > "$FLOWY_RESULT_FILE"; exit 3"""),
        "flowy: NoFilm: gone\n  in step-0, attempt 1\n",
    ),
    "its last lines": (shell("step", "echo first; echo last >&2; exit 3"), "flowy: Error: first\nlast"),
    "nothing but a code": (shell("step", "exit 3"), "flowy: Error: exit code 3, and no message"),
    "a signal": (shell("step", "kill -9 $$$$"), "exit code 137 (signal 9)"),
    "no JSON": (shell("step", 'echo no > "$FLOWY_RESULT_FILE"'), "flowy: ResultInvalid: "),
    "too long": (shell("step", 'head -c 5000 /dev/zero > "$FLOWY_RESULT_FILE"'), "flowy: ResultTooLong: "),
    "no such program": (
        {"name": "step", "activity": {"image": "none", "command": ["/no/such/program"]}},
        "flowy: StartError: /no/such/program: No such file",
    ),
    "no command": ({"name": "step", "activity": {"image": "busybox:1"}}, "entrypoint of the image busybox:1"),
    "no such argument": (shell("step", ":", "$(FLOWY_ARG_5)"), "flowy: LaunchRefused: $(FLOWY_ARG_5) in the activity"),
    "a variable of the cluster": (
        shell(
            "step",
            ":",
            activity={"env": [{"name": "PASSWORD_X", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]},
        ),
        "the variable PASSWORD_X comes from the cluster: set it in your own environment",
    ),
}


@pytest.mark.parametrize(("step", "said"), FAILURES.values(), ids=FAILURES)
def test_failures(step: Mapping[str, Any], said: str) -> None:
    assert said in failure(one(step))


def test_a_step_that_ran_too_long_is_told_to_stop_and_then_killed(tmp_path: Path) -> None:
    script = f"trap 'echo told > {tmp_path}/told' TERM; while :; do sleep 0.05; done"
    grace = {"template": {"spec": {"terminationGracePeriodSeconds": 1}}}
    timeouts = {"timeouts": {"startToCloseSeconds": 1}, "retry": {"maxAttempts": 1}}
    assert "step-0 timed out (StartToClose)" in failure(one(shell("step", script, activity=grace, **timeouts)))
    assert (tmp_path / "told").read_text() == "told\n"


BEATS = """
import os, time
from flowy.activity import heartbeat, main, progress

def draw():
    first = progress() or 0
    heartbeat(first + 1)
    if first < 1:
        time.sleep(60)
    return first

main(draw)
"""


def test_silence_ends_an_attempt_and_the_next_goes_on() -> None:
    # A busy machine may take seconds to start a Python: then one more attempt is lost, and nothing else.
    step = python("step", BEATS, timeouts={"heartbeatSeconds": 4}, retry={"maxAttempts": 20})
    step["activity"]["template"] = {"spec": {"terminationGracePeriodSeconds": 1}}
    assert ok("-", stdin=one(step)) == 1


def test_sequential_runs_one_after_the_other(tmp_path: Path) -> None:
    source = "def many(step):\n    return lambda n: [step(x) for x in range(n)]\n"
    script = f'mkdir {tmp_path}/alone && sleep 0.05 && rmdir {tmp_path}/alone && echo "$1" > "$FLOWY_RESULT_FILE"'
    text = manifest(source, shell("step", script, "$(FLOWY_ARG_0)"), args=[5])
    assert ok("-", "--sequential", stdin=text) == [0, 1, 2, 3, 4]


def test_logs_are_printed_behind_their_task() -> None:
    done = run("-", "--logs", "--quiet", stdin=one(shell("step", "echo one; echo two >&2")))
    assert done.stderr == "step-0 | one\nstep-0 | two\n"


def test_what_nobody_looked_at_and_what_the_code_printed_are_told() -> None:
    source = (
        "from flowy import TaskError, wait, first\n"
        "def f(step):\n"
        "    def workflow():\n"
        "        bad = step()\n"
        "        print('hello')\n"
        "        try:\n"
        "            wait(step())\n"
        "        except TaskError:\n"
        "            return first(bad, 5)\n"
        "    return workflow\n"
    )
    done = run("-", "--quiet", "--sequential", stdin=manifest(source, shell("step", "exit 1")))
    assert done.stdout == "5\n"
    assert "hello\n" in done.stderr
    assert "nobody looked at the error of step-1" in done.stderr or "of step-0" in done.stderr


def test_a_record_is_read_as_a_run_of_a_cluster(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    assert ok(str(EXAMPLES / "patterns/fibonacci.yaml"), "3", f"--record={file}") == 2
    recorded = run_of_file(str(file), "fibonacci")
    assert (recorded.reason, recorded.status["result"]) == ("Completed", "2")
    assert len(recorded.children) == 2
    state = recorded.state
    assert {launch for launch in state.launches if launch in recorded.children} == set(recorded.children)
    replayed = CliRunner().invoke(flowy, ["replay", str(file), "--name=fibonacci", "--unlocked"])
    assert replayed.exit_code == 0, replayed.output
    assert "the code returned 2" in replayed.output
    drawn = CliRunner().invoke(flowy, ["graph", str(file), "--name=fibonacci"])
    assert drawn.exit_code == 0, drawn.output
    assert "← fib-0, fib-1" in drawn.output


def test_a_failed_run_is_recorded_too(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    assert run("-", f"--record={file}", stdin=one(shell("step", "exit 4"))).exit_code == 1
    recorded = run_of_file(str(file))
    assert (recorded.reason, recorded.status["error"]["exitCode"]) == ("Failed", 4)


def test_a_child_that_was_left_behind_is_recorded_with_its_stop(tmp_path: Path) -> None:
    source = "def outer(inner):\n    return lambda: inner()\ndef middle(step):\n    return lambda: step()\n"
    child = {"name": "inner", "workflow": {"entrypoint": "middle"}, "timeouts": {"startToCloseSeconds": 1}}
    text = manifest(source, {**child, "retry": {"maxAttempts": 1}}, shell("step", "exec sleep 60")).replace(
        "code:\n", "code:\n    entrypoint: outer\n"
    )
    file = tmp_path / "run.yaml"
    assert run("-", f"--record={file}", stdin=text).exit_code == 1
    (left,) = run_of_file(str(file), "test").children.values()
    assert left.reason == "Terminated"
    assert [event.fact.__class__.__name__ for event in left.events][-2:] == ["StopRequested", "TaskCancelled"]


MODULE = """
import helper

def video(embed, encode):
    def workflow(film, mark="."):
        return [encode(embed(film), form) for form in ("mp4", "webm")] + [mark]
    return workflow

def embed(film):
    return helper.upper(film)
"""


def _module(folder: Path) -> Path:
    (folder / "video_module.py").write_text(MODULE)
    (folder / "helper.py").write_text("def upper(text):\n    return text.upper()\n")
    (folder / "steps_module.py").write_text(
        "from video_module import embed\n\ndef encode(film, form):\n    return f'{film}.{form}'\n"
    )
    return folder / "video_module.py"


def test_a_factory_and_functions_of_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "modules", {**sys.modules})
    module = _module(tmp_path)
    steps = f"--activities={tmp_path}/steps_module.py"
    assert ok(f"{module}:video", "talk", "-k", "mark=!", steps) == ["TALK.mp4", "TALK.webm", "!"]
    missing = run(f"{module}:video", "talk")
    assert missing.exit_code == 3
    assert "asks for the task 'encode'" in missing.stderr
    absent = run(f"{module}:absent", steps)
    assert absent.exit_code == 3
    assert "has no factory 'absent'" in absent.stderr
    assert "by the names of functions, and returns the workflow: here that is video\n" in absent.stderr
    assert "--activities FILE.py says where they are" in missing.stderr
    assert run(f"{tmp_path}/absent.py:video").exit_code == 2


BAD: Mapping[str, tuple[str, str]] = {
    "no Workflow": (
        "kind: ConfigMap\nmetadata: {name: x}\n",
        "holds no Workflow\n  it needs an object with apiVersion flowy.dev/v1alpha1, kind Workflow",
    ),
    "two of them": (
        f"{one(shell('step', ':'))}---\n{one(shell('step', ':'))}",
        "holds several Workflows: test, test\n  say which one with --name",
    ),
    "a key twice": (
        one(shell("step", ":")).replace("kind: Workflow\n", "kind: Workflow\nkind: Workflow\n"),
        "standard input is neither YAML nor JSON: line 3, column 1: the key 'kind' stands twice",
    ),
    "no line between two objects": (
        one(shell("step", ":")) * 2,
        "the key 'apiVersion' stands twice: between two objects stands a line ---",
    ),
    "a spec that can't be": (one({"name": "step"}), "has neither activity nor workflow"),
    "a field that isn't there": (
        one({**shell("step", ":"), "retries": {"maxAttempts": 5}}),
        "standard input: spec.tasks[0].retries is unknown: do you mean retry?",
    ),
}


@pytest.mark.parametrize(("text", "said"), BAD.values(), ids=BAD)
def test_files_that_cannot_be_run(text: str, said: str) -> None:
    done = run("-", stdin=text)
    assert done.exit_code == 2
    assert said in done.stderr


def test_ctrl_c_lets_the_code_clean_up(tmp_path: Path) -> None:
    source = (
        "from flowy import TaskCancelled, wait\n"
        "def f(step, undo):\n"
        "    def workflow():\n"
        "        try:\n"
        "            wait(step())\n"
        "        except TaskCancelled:\n"
        "            return undo()\n"
        "    return workflow\n"
    )
    file = tmp_path / "workflow.yaml"
    step = shell("step", f"echo $$$$ > {tmp_path}/pid; exec sleep 60")
    file.write_text(manifest(source, step, shell("undo", 'echo \'"undone"\' > "$FLOWY_RESULT_FILE"')))
    command = [
        sys.executable,
        "-c",
        "from flowy_cli.main import main; main()",
        "run",
        str(file),
        "--in=process",
        "--unlocked",
        "--quiet",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        _wait_for(tmp_path / "pid")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, '"undone"\n', "")
    pid = int((tmp_path / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_who_does_not_wait_ends_it_with_all_that_it_has_started(tmp_path: Path, number: int) -> None:
    step = shell("step", f"echo $$$$ > {tmp_path}/pid; exec sleep 60")
    with _running(tmp_path, manifest(ONE, step)) as process:
        _wait_for(tmp_path / "pid")
        for _ in range(2):  # as `timeout` does, to the process and then to its group
            process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "WorkflowTerminated: it was stopped twice" in err
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_what_is_ignored_stays_so(tmp_path: Path) -> None:
    step = shell("step", f"echo $$$$ > {tmp_path}/pid; sleep 1; echo 7 > $FLOWY_RESULT_FILE")
    with _running(tmp_path, manifest(ONE, step), ignoring=signal.SIGHUP) as process:
        _wait_for(tmp_path / "pid")
        process.send_signal(signal.SIGHUP)
        assert process.communicate(timeout=60)[0] == "7\n"


ENDLESS = """
def tree(tree, leaf):
    def workflow(depth):
        return [tree(depth + 1), tree(depth + 1)]
    return workflow
"""


def test_ctrl_c_ends_a_recursion_that_has_no_end(tmp_path: Path) -> None:
    tree = {"name": "tree", "workflow": {"entrypoint": "tree"}}
    text = manifest(ENDLESS, tree, shell("leaf", ":"), args=[0], code={"source": ENDLESS, "entrypoint": "tree"})
    with _running(tmp_path, text) as process:
        time.sleep(2)  # it runs ever on; by then it has begun
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "TaskCancelled" in err


@contextmanager
def _running(folder: Path, text: str, ignoring: int | None = None) -> Iterator["subprocess.Popen[str]"]:
    file = folder / "workflow.yaml"
    file.write_text(text)
    before = "" if ignoring is None else f"import signal; signal.signal({int(ignoring)}, signal.SIG_IGN); "
    program = f"{before}from flowy_cli.main import main; main()"
    words = ["run", str(file), "--in=process", "--unlocked", "--quiet"]
    with subprocess.Popen(
        [sys.executable, "-c", program, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        yield process


def test_a_cancelled_run_is_recorded_as_such(tmp_path: Path) -> None:
    step = shell("step", f"echo $$$$ > {tmp_path}/pid; exec sleep 60")
    file, record = tmp_path / "w.yaml", tmp_path / "record.yaml"
    file.write_text(manifest(ONE, step))
    command = [sys.executable, "-c", "from flowy_cli.main import main; main()", "run", str(file), f"--record={record}"]
    with subprocess.Popen([*command, "--in=process", "--unlocked", "--quiet"], stderr=subprocess.PIPE) as process:
        _wait_for(tmp_path / "pid")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    (succeeded,) = [c for c in yaml.safe_load(record.read_text())["status"]["conditions"] if c["type"] == "Succeeded"]
    assert succeeded["reason"] == "Cancelled"


LONG = "def long(step):\n    def workflow():\n        return 'x' * 2**20\n    return workflow\n"


def test_what_the_cluster_would_not_keep_is_refused() -> None:
    assert "ResultTooLong: the code returned 1,048,578 bytes, at most 1,048,576 are kept" in failure(
        manifest(LONG, shell("step", ":"))
    )


def test_the_place_of_a_refused_value_is_told() -> None:
    source = "def f(step):\n    def workflow():\n        return step({1})\n    return workflow\n"
    said = failure(manifest(source, shell("step", ":")))
    assert "ValueRefused: step-0: args[0]: a set has no order" in said
    assert "line 3 of the code" in said


def _wait_for(path: Path) -> None:
    for _ in range(3000):
        if path.exists() and path.read_text().endswith("\n"):
            return
        time.sleep(0.01)
    raise AssertionError(f"{path} never came")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["w.py:f", "--record=x"], "--record has no meaning for a factory"),
        (["w.py:f", "--logs"], "--logs has no meaning for a factory"),
        (["w.yaml", "--activities=x.py"], "--activities has no meaning for a manifest"),
        (["w.py"], "w.py holds Python: say which factory in it, as w.py:NAME"),
    ],
)
def test_options_that_mean_nothing(words: Sequence[str], said: str) -> None:
    done = run(*words)
    assert done.exit_code == 2
    assert said in done.stderr


def test_what_is_left_out_of_a_pod_is_said() -> None:
    step = shell("step", ":", activity={"template": {"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}}})
    defaults = {"template": {"spec": {"containers": [{"name": "main"}, {"name": "proxy", "image": "p"}]}}}
    done = run("-", "--quiet", stdin=one(step, defaults=defaults))
    assert done.exit_code == 0, done.output
    assert done.stderr == "step runs without volumes, the container proxy: a cluster has them, this machine doesn't\n"


def test_code_that_takes_too_long_ends_the_run_and_all_that_it_started(tmp_path: Path) -> None:
    source = (
        "def f(step):\n"
        "    def workflow():\n"
        "        slow, quick = step(60), step(0)\n"
        "        if quick == 0:\n"
        "            while True:\n"
        "                pass\n"
        "        return slow\n"
        "    return workflow\n"
    )
    script = f'echo $$$$ > {tmp_path}/$1; [ $1 = 0 ] || exec sleep $1; echo 0 > "$FLOWY_RESULT_FILE"'
    text = manifest(source, shell("step", script, "$(FLOWY_ARG_0)"), timeouts={"decisionSeconds": 1})
    done = CliRunner().invoke(flowy, ["run", "-", "--in=process", "--quiet"], input=text)
    assert done.exit_code == 1
    assert "DecisionTimeout" in done.stderr
    started = tmp_path / "60"
    if started.exists():
        with pytest.raises(ProcessLookupError):
            os.kill(int(started.read_text()), 0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1\nimport nosuchmod\n", "line 2: it can't be loaded"),
        ("def g():\n    return 1 / 0\n\ng()\n", "line 4: it can't be loaded"),
    ],
)
def test_a_file_that_fails_while_it_is_loaded_shows_its_own_lines(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "broken.py"
    file.write_text(text)
    done = run(f"{file}:f")
    assert done.exit_code == 2
    assert f"{file}, {said}" in done.stderr
    assert "Error: " in done.stderr
    assert "flowy_cli" not in done.stderr
