"""Doing the work of a launch: its command as a process of this machine, or its container by podman, docker or nerdctl."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from threading import Lock, Thread, Timer
from typing import Protocol

from flowy.local.launch import Launch, Outcome
from flowy_cli.errors import CliError
from flowy_cli.local.contract import (
    Container,
    Left,
    Work,
    container_of,
    expanded,
    launch_refused,
    outcome_of,
    start_error,
)
from flowy_cli.local.gateway import Gateway
from flowy_operator.core.job import INPUT_FILE, RESULT_FILE, TOKEN_DIR, InvalidActivity

ENGINES = ("podman", "docker", "nerdctl")

Told = Callable[[Launch, str], None]
"""Takes what an attempt has printed, once it is over."""

_NOT_THERE, _NOT_EXECUTABLE, _ENGINE_FAILED = (
    127,
    126,
    125,
)  # what `docker run` and its like exit with, beside the container's


class CannotRun(Exception):
    """This launch can't be run on this machine; `str()` says why and what to do."""


class Place:
    """The files of one launch."""

    def __init__(self, folder: Path, arguments: str, token: str | None) -> None:
        self.input, self.result, self.token_folder = folder / "input.json", folder / "result", folder / "token"
        self.log = folder / "log"
        self.input.write_text(arguments, encoding="utf-8")
        self.result.touch()
        if token is not None:
            self.token_folder.mkdir()
            (self.token_folder / "token").write_text(token, encoding="utf-8")

    def variables(self) -> Mapping[str, str]:
        """Where a process finds them."""
        return {
            "FLOWY_INPUT_FILE": str(self.input),
            "FLOWY_RESULT_FILE": str(self.result),
            "FLOWY_TOKEN_FILE": str(self.token_folder / "token"),
        }


class Way(Protocol):
    """How a container is run here."""

    def begin(
        self, container: Container, place: Place, log: int
    ) -> "tuple[subprocess.Popen[bytes], Callable[[], None]]":
        """Start it, what it prints going to the file descriptor `log`. Gives its process, and how to stop it.

        Raises CannotRun, and OSError if the program can't be started.
        """

    def judged(self, exit_code: int, log: bytes) -> Outcome | None:
        """What an exit code means that is not the program's own."""


class Doing:
    """Does launches, each in a folder of its own."""

    def __init__(self, way: Way, gateway: Gateway, told: Told) -> None:
        self._way = way
        self._gateway = gateway
        self._told = told

    def perform(self, launch: Launch) -> Outcome:
        """Run it to its end."""
        with tempfile.TemporaryDirectory(prefix="flowy-", ignore_cleanup_errors=True) as folder:
            work: Work = launch.work
            with self._gateway.desk(launch) as (token, desk):
                try:
                    container = container_of(launch, self._gateway.url)
                    place = Place(Path(folder), launch.arguments, token if work.task.calls_gateway else None)
                    exit_code = self._run(launch, container, place)
                except (InvalidActivity, CannotRun) as refused:
                    return launch_refused(str(refused))
                except OSError as error:
                    return start_error(f"{error.filename or 'the program'}: {error.strerror}")
                log = place.log.read_bytes()
                self._told(launch, log.decode(errors="replace"))
                found = self._way.judged(exit_code, log)
                if found is not None:
                    return found
                left = Left(exit_code=exit_code, result=place.result.read_bytes(), log=log, uploaded=desk.uploaded)
                return outcome_of(work, left)

    def _run(self, launch: Launch, container: Container, place: Place) -> int:
        with place.log.open("wb") as log:
            process, stop = self._way.begin(container, place, log.fileno())
        launch.stops_by(stop)
        try:
            return process.wait()
        finally:
            launch.stops_by(None)


class AsProcess:
    """The command alone, with this machine's files, network and variables around it."""

    def begin(
        self, container: Container, place: Place, log: int
    ) -> "tuple[subprocess.Popen[bytes], Callable[[], None]]":
        if not container.command:
            raise CannotRun(
                f"its program is the entrypoint of the image {container.image}: give activity.command, or run it in a container"
                f" ({', '.join(ENGINES)})"
            )
        if missing := [name for name in container.from_elsewhere if name not in os.environ]:
            raise CannotRun(f"the variable {missing[0]} comes from the cluster: set it in your own environment")
        variables, command = expanded(container, place.variables())
        process = subprocess.Popen(  # noqa: S603 - what the user has written, and wants to run
            command,
            env={**os.environ, **variables},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C is for us, and a stop for all that it has started
        )
        return process, lambda: _end(process, container.grace_s)

    def judged(self, exit_code: int, log: bytes) -> Outcome | None:
        del exit_code, log
        return None


def _end(process: "subprocess.Popen[bytes]", grace_s: int) -> None:
    """SIGTERM to the process and all in its group, SIGKILL after its grace period."""
    _signal(process, signal.SIGTERM)
    killer = Timer(grace_s, _signal, (process, signal.SIGKILL))
    killer.daemon = True
    killer.start()


def _signal(process: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)


class InContainer:
    """The whole image, by an engine of this machine. It shares the machine's network, as it may have to call the gateway."""

    def __init__(self, engine: str) -> None:
        self._engine = engine
        self._images: dict[str, str | None] = {}  # what was wrong with it, if something was
        self._pulling = Lock()

    def begin(
        self, container: Container, place: Place, log: int
    ) -> "tuple[subprocess.Popen[bytes], Callable[[], None]]":
        self._pull(container.image)
        variables, words = expanded(container, {})
        command, args = words[: len(container.command)], words[len(container.command) :]
        mounts = [(place.input, f"{INPUT_FILE}:ro"), (place.result, RESULT_FILE)]
        if place.token_folder.exists():
            mounts.append((place.token_folder, f"{TOKEN_DIR}:ro"))
        place.result.chmod(0o666)  # the image's user may be another
        line = [self._engine, "run", "--rm", f"--name={container.name.lower().replace('_', '-')}-{os.getpid()}"]
        line += ["--network=host", "--cap-drop=ALL", "--security-opt=no-new-privileges"]
        line += [f"--volume={ours}:{theirs}" for ours, theirs in mounts]
        line += [f"--env={name}" for name in [*variables, *container.from_elsewhere]]
        line += [f"--workdir={container.folder}"] if container.folder else []
        line += [f"--entrypoint={command[0]}"] if command else []
        process = subprocess.Popen(  # noqa: S603 - as above
            [*line, container.image, *command[1:], *args],
            env={**os.environ, **variables},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        name = line[3].removeprefix("--name=")
        return process, lambda: self._stop(name, container.grace_s)

    def judged(self, exit_code: int, log: bytes) -> Outcome | None:
        if exit_code in {_NOT_THERE, _NOT_EXECUTABLE, _ENGINE_FAILED}:
            return start_error(log.decode(errors="replace").strip() or f"{self._engine} run: exit code {exit_code}")
        return None

    def _stop(self, name: str, grace_s: int) -> None:
        """Ask the engine to, without waiting: it takes as long as the grace period may."""
        line = [self._engine, "stop", f"--time={grace_s}", name]
        asking = partial(subprocess.run, line, capture_output=True, check=False, start_new_session=True)
        Thread(target=asking, name="flowy-stop", daemon=True).start()

    def _pull(self, image: str) -> None:
        """Have the image here. Its progress isn't the container's output."""
        with self._pulling:
            if image not in self._images:
                self._images[image] = self._pulled(image)
            wrong = self._images[image]
        if wrong is not None:
            raise CannotRun(f"the image {image} can't be had: {wrong}")

    def _pulled(self, image: str) -> str | None:
        for words in (["image", "inspect", image], ["pull", image]):
            done = subprocess.run([self._engine, *words], capture_output=True, check=False)  # noqa: S603 - as above
            if done.returncode == 0:
                return None
        return " ".join(done.stderr.decode(errors="replace").split()) or f"exit code {done.returncode}"


def way_of(wish: str) -> Way:
    """How activities are run: `process`, `container`, the name of an engine, or `auto`: in containers if an engine answers.

    Raises CliError.
    """
    if wish == "process":
        return AsProcess()
    names = ENGINES if wish in {"auto", "container"} else (wish,)
    for name in names:
        path = shutil.which(name)
        if path is not None and _answers(path):
            return InContainer(path)
    if wish == "auto":
        return AsProcess()
    which = f"{names[0]} doesn't answer" if len(names) == 1 else f"none of {', '.join(names)} answers"
    raise CliError(f"{which} here", "start it, or run the commands as processes: --in process")


def _answers(engine: str) -> bool:
    with suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run([engine, "info"], capture_output=True, check=False, timeout=20)  # noqa: S603 - found by name
        return done.returncode == 0
    return False


@contextmanager
def gateway() -> Iterator[Gateway]:
    """A gateway that serves until the block ends."""
    made = Gateway()
    with made.serving():
        yield made
