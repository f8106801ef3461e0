"""Activities in containers: what an engine of this machine is asked for, and what its answers mean."""

import json
import os
import stat
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from flowy_cli.main import flowy
from tests.cli.local.test_run import manifest, one, shell

ENGINE = """#!{python}
# Plays podman: keeps its command lines, and runs the entrypoint here with the mounted files in its place.
import json, os, subprocess, sys

words = sys.argv[1:]
with open({log!r}, "a") as log:
    log.write(json.dumps(words) + "\\n")
if words[0] == "info":
    sys.exit(0 if {answers} else 1)
if words[0] in ("image", "pull"):
    known = words[-1] != "missing"
    print("no such image", file=sys.stderr)
    sys.exit(0 if known else 1)
options = dict(word[2:].partition("=")[::2] for word in words[1:] if word.startswith("--"))
mounts = dict(reversed(word.removeprefix("--volume=").removesuffix(":ro").split(":")) for word in words if word.startswith("--volume="))
rest = [word for word in words[1:] if not word.startswith("--")]
if options.get("entrypoint") == "/not/there":
    print("not found", file=sys.stderr)
    sys.exit(127)
names = [word.removeprefix("--env=") for word in words if word.startswith("--env=")]
env = {{name: os.environ[name] for name in names}} | {{"PATH": os.environ["PATH"]}}
for path, name in (("/flowy/input.json", "FLOWY_INPUT_FILE"), ("/dev/termination-log", "FLOWY_RESULT_FILE")):
    assert env[name] == path
    env[name] = mounts[path]
sys.exit(subprocess.run([options["entrypoint"], *rest[1:]], env=env).returncode)
"""


class Machine:
    """A machine with an engine of this name."""

    def __init__(self, folder: Path, name: str, answers: bool) -> None:
        self.folder, self.log = folder, folder / "log"
        engine = folder / name
        engine.write_text(ENGINE.format(python=sys.executable, log=str(self.log), answers=answers))
        engine.chmod(engine.stat().st_mode | stat.S_IXUSR)

    def run(self, text: str, *words: str) -> Result:
        path = f"{self.folder}:/usr/bin:/bin"
        runner = CliRunner(env={"PATH": path})
        return runner.invoke(flowy, ["run", "-", "--unlocked", "--quiet", *words], input=text)

    def asked(self, what: str) -> list[list[str]]:
        """The command lines of one kind."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [words for words in map(json.loads, lines) if words[0] == what]


@pytest.fixture
def podman(tmp_path: Path) -> Machine:
    return Machine(tmp_path, "podman", answers=True)


def step(script: str, **activity: Any) -> Mapping[str, Any]:
    return shell("step", script, "$(FLOWY_ARG_0)", activity={"image": "example/step:1", **activity})


def test_a_step_runs_in_the_engine_that_answers(podman: Machine) -> None:
    script = 'printf \'{"arg": "%s", "own": "%s", "args": %s}\' "$1" "$OWN" "$(cat "$FLOWY_INPUT_FILE")" > "$FLOWY_RESULT_FILE"'
    done = podman.run(one(step(script, env=[{"name": "OWN", "value": "a\nb"}]), "x y"))
    assert done.exit_code == 1  # a newline in a JSON text: the result is refused as in the cluster
    assert "ResultInvalid" in done.stderr
    done = podman.run(one(step(script, env=[{"name": "OWN", "value": "of $(FLOWY_TASK)"}]), "x y"))
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == {"arg": "x y", "own": "of step-0", "args": {"args": ["x y"], "kwargs": {}}}
    words = podman.asked("run")[-1]
    assert "--rm" in words
    assert "--cap-drop=ALL" in words
    assert "--entrypoint=sh" in words
    assert words[words.index("example/step:1") + 1] == "-c"
    assert not any("token" in word for word in words)


def test_the_image_is_pulled_once(podman: Machine) -> None:
    source = "def many(step):\n    return lambda: [step(x) for x in 'abc']\n"
    assert podman.run(manifest(source, step(":"))).exit_code == 0
    assert len(podman.asked("run")) == 3
    assert len(podman.asked("image")) == 1


def test_an_image_that_cannot_be_had(podman: Machine) -> None:
    done = podman.run(one(step(":", image="missing"), 1))
    assert done.exit_code == 1
    assert "the image missing can't be had: no such image" in done.stderr


def test_a_program_that_is_not_in_the_image(podman: Machine) -> None:
    task = {"name": "step", "activity": {"image": "example/step:1", "command": ["/not/there"]}}
    done = podman.run(one(task))
    assert "flowy: StartError: not found" in done.stderr


def test_a_gateway_token_is_mounted_where_the_contract_says(podman: Machine) -> None:
    assert podman.run(one(step(":", gateway=True), 1)).exit_code == 0
    (words,) = podman.asked("run")
    assert any(word.startswith("--volume=") and word.endswith(":/var/run/secrets/flowy.dev:ro") for word in words)
    assert "--env=FLOWY_URL" in words


def test_without_an_engine_that_answers_commands_are_processes(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "docker", answers=False)
    done = machine.run(one(step('echo "$FLOWY_ARG_0" > "$FLOWY_RESULT_FILE"'), 7))
    assert (done.exit_code, done.stdout) == (0, "7\n")
    assert machine.asked("run") == []
    refused = machine.run(one(step(":")), "--in=container")
    assert refused.exit_code == 1
    assert "none of podman, docker, nerdctl answers here" in refused.stderr


def test_a_container_is_stopped_by_its_name(podman: Machine) -> None:
    timeouts = {"timeouts": {"startToCloseSeconds": 1}, "retry": {"maxAttempts": 1}}
    done = podman.run(one({**step("sleep 3"), **timeouts}, 1))
    assert "step-0 timed out (StartToClose)" in done.stderr
    (stop,) = podman.asked("stop")
    (started,) = podman.asked("run")
    assert stop == ["stop", "--time=30", next(w for w in started if w.startswith("--name=")).removeprefix("--name=")]
    assert str(os.getpid()) in stop[-1]
