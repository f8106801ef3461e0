"""`flowy run` of a manifest that somebody else has written, its activities played and its time virtual: nothing outside is run."""

import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain, repeat
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast
from unittest.mock import patch

import yaml
from click.testing import CliRunner
from hypothesis import strategies as st

from flowy.local.launch import Launch, Outcome
from flowy.local.virtual import VirtualTime
from flowy.local.workers import performed
from flowy_cli.errors import ExitCode
from flowy_cli.local import doing, running
from flowy_cli.local.contract import Container
from flowy_cli.main import flowy
from tests.fuzz import shown
from tests.fuzz.objects import specs
from tests.fuzz.schema import fitting, schema_of
from tests.fuzz.texts import octets, texts

LAUNCHES = 100
"""After so many somebody presses Ctrl-C: a workflow may go on for ever, but not when it is asked to stop."""

ENDS_AFTER = 50
"""Launches between the first Ctrl-C and the second."""

_acts = st.fixed_dictionaries(
    {},
    optional={
        "result": octets | st.sampled_from(["1", '"evil"', '{"error": {"type": "evil", "message": "x"}}', "[1]"]),
        "log": octets,
        "exit_code": st.sampled_from([0, 1, 1, 125, 126, 127, 137, -9, 255]),
        "lasts_s": st.sampled_from([0.0, 1.0, 50.0, 1e6]),
        "fails": st.sampled_from(["not there", "cannot run"]),
    },
)

local = st.fixed_dictionaries(
    {"spec": specs(), "acts": st.lists(_acts, max_size=4)},
    optional={
        "definition": fitting(schema_of("workflowdefinitions", "spec")),
        "metadata": st.fixed_dictionaries({}, optional={"name": texts, "namespace": texts, "generateName": texts}),
        "arguments": st.lists(texts.filter(lambda text: not text.startswith("-")), min_size=1, max_size=2),
        "logs": st.booleans(),
        "record": st.booleans(),
    },
)


def check(case: Mapping[str, Any]) -> None:
    """Raises if the command crashes, shows what it must not, runs on and on, or leaves a record that nobody can read."""
    acts = chain(case["acts"], repeat({"result": "1"}))
    with TemporaryDirectory() as folder, _played(acts):
        record = Path(folder) / "record.yaml"
        words = ["run", "-", "--unlocked"]
        words += ["--logs"] if case.get("logs") else []
        words += ["--record", str(record)] if case.get("record") else []
        done = _flowy(folder, [*words, "--", *case.get("arguments", ())], _file(case))
        shown.check(words, done)
        if record.exists():
            read = ["history", str(record), "--name", _name(record), "-o", "json"]
            again = _flowy(folder, read)
            shown.check(read, again)
            assert again.exit_code == ExitCode.DONE, again.stderr


def _flowy(folder: str, words: list[str], text: str | None = None) -> Any:
    environment = {"HOME": folder, "KUBECONFIG": f"{folder}/none"}
    return CliRunner(env=environment).invoke(flowy, words, input=text, prog_name="flowy", color=True)


def _file(case: Mapping[str, Any]) -> str:
    own = {"apiVersion": "flowy.dev/v1alpha1"}
    metadata = {"name": "w", **case.get("metadata", {})}
    bodies = [{**own, "kind": "Workflow", "metadata": metadata, "spec": case["spec"]}]
    if "definition" in case:
        name = (case["spec"].get("definitionRef") or {}).get("name", "other")
        bodies.append({**own, "kind": "WorkflowDefinition", "metadata": {"name": name}, "spec": case["definition"]})
    return yaml.safe_dump_all(bodies)


def _name(record: Path) -> str:
    return str(next(yaml.safe_load_all(record.read_text()))["metadata"]["name"])


@contextmanager
def _played(acts: Iterator[Mapping[str, Any]]) -> Iterator[None]:
    """No process, no engine, no waiting."""

    def workers(count: int, perform: Callable[[Launch], Outcome]) -> "Played":
        return Played(count, perform, way)

    way = Way(acts)
    with (
        patch.object(doing, "way_of", lambda _: way),
        patch.object(running, "Workers", workers),
        patch.object(subprocess, "Popen", side_effect=AssertionError("it starts a process")),
    ):
        yield


class Way:
    """Plays what containers do."""

    def __init__(self, acts: Iterator[Mapping[str, Any]]) -> None:
        self._acts = acts
        self.lasts_s = 0.0

    def begin(
        self, container: Container, place: doing.Place, log: int
    ) -> "tuple[subprocess.Popen[bytes], Callable[[], None]]":
        act = next(self._acts)
        self.lasts_s = act.get("lasts_s", 0.0)
        match act.get("fails"):
            case "not there":
                raise FileNotFoundError(2, "No such file or directory", container.command[:1])
            case "cannot run":
                raise doing.CannotRun(f"the image {container.image} can't be had")
        place.result.write_bytes(act.get("result", "").encode("latin-1", "replace"))
        with open(log, "wb", closefd=False) as file:
            file.write(act.get("log", "").encode("latin-1"))
        return cast("subprocess.Popen[bytes]", Process(act.get("exit_code", 0))), lambda: None

    def judged(self, exit_code: int, log: bytes) -> Outcome | None:
        return doing.InContainer("engine").judged(exit_code, log)


class Process:
    """One that has ended."""

    def __init__(self, exit_code: int) -> None:
        self._exit_code = exit_code

    def wait(self) -> int:
        return self._exit_code


class Played(VirtualTime):
    """Workers whose launches take the time that their act says, and no other."""

    def __init__(self, count: int, perform: Callable[[Launch], Outcome], way: Way) -> None:
        super().__init__(count, self._play)
        self._work = perform
        self._way = way
        self._launches = 0

    def join(self) -> None:
        """Nothing runs beside us."""

    def _play(self, launch: Launch) -> tuple[float, Outcome]:
        self._launches += 1
        assert self._launches < LAUNCHES + 2 * ENDS_AFTER, "it goes on and on"
        if self._launches in {LAUNCHES, LAUNCHES + ENDS_AFTER}:
            self.ask_to_stop()
        self._way.lasts_s = 0.0
        outcome = performed(self._work, launch)
        return self._way.lasts_s, outcome
