"""`flowy` as it is typed, in this process, against a fake API server on loopback."""

import asyncio
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml
from click.testing import CliRunner, Result

from flowy_cli.main import flowy
from flowy_cli.options import Desk
from tests.fakes.api import Api
from tests.fakes.server import serve

GOLDEN = Path(__file__).parent / "golden"


@dataclass
class Shell:
    """One user's desk: a kubeconfig, a clock."""

    kubeconfig: Path
    now: Callable[[], datetime]
    environment: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, *words: str, stdin: str | None = None) -> Result:
        """Run a command to its end. Nobody takes escape sequences out of what it says, as click does where no terminal is."""
        environment = {"KUBECONFIG": str(self.kubeconfig), "HOME": str(self.kubeconfig.parent), **self.environment}
        return CliRunner(env=environment).invoke(
            flowy, list(words), input=stdin, obj=Desk(now=self.now), prog_name="flowy", color=True
        )

    def ok(self, *words: str, stdin: str | None = None) -> str:
        """The standard output of a command that must succeed."""
        done = self(*words, stdin=stdin)
        assert done.exit_code == 0, f"flowy {' '.join(words)}: {done.output}\n{done.exception!r}"
        return done.stdout

    def fails(self, code: int, *words: str, stdin: str | None = None) -> str:
        """What a command that must fail says on standard error."""
        done = self(*words, stdin=stdin)
        assert done.exit_code == code, f"flowy {' '.join(words)}: {done.exit_code}: {done.output}\n{done.exception!r}"
        return done.stderr


class Server:
    """The fake API server in a thread of its own, as commands have an event loop of their own."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()

    @contextmanager
    def running(self) -> Iterator["Server"]:
        ready = threading.Event()

        async def serving() -> None:
            async with serve(self.api) as self.url:
                ready.set()
                await self._stop.wait()

        def run() -> None:
            # A runner also ends what `once_watched` began and is not done with.
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(serving())

        thread = threading.Thread(target=run)
        thread.start()
        assert ready.wait(10)
        try:
            yield self
        finally:
            self._loop.call_soon_threadsafe(self._stop.set)
            thread.join(10)

    def do(self, action: Callable[[], Any]) -> Any:
        """Have the server's thread do something with its store, and wait for it."""

        async def done() -> Any:
            return action()

        return asyncio.run_coroutine_threadsafe(done(), self._loop).result(10)

    def once_watched(self, *actions: Callable[[], Any], streams: int = 1) -> None:
        """As soon as so many watches are open, do these one after the other."""

        async def then() -> None:
            await self.api.watched(streams)
            for action in actions:
                action()
                await asyncio.sleep(0.05)

        asyncio.run_coroutine_threadsafe(then(), self._loop)


def write_kubeconfig(path: Path, url: str, namespace: str = "ns") -> Path:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [
            {"name": "here", "context": {"cluster": "c", "user": "u", "namespace": namespace}},
            {"name": "elsewhere", "context": {"cluster": "c", "user": "u"}},
        ],
    }
    path.write_text(yaml.safe_dump(config))
    return path


def assert_golden(name: str, text: str) -> None:
    """Compare with the recorded text; FLOWY_GOLDEN=write records it."""
    path = GOLDEN / name
    if os.environ.get("FLOWY_GOLDEN") == "write":
        path.write_text(text)
    assert text == path.read_text()


def columns(text: str) -> Sequence[Sequence[str]]:
    """The cells of a table that has no empty ones."""
    return [line.split() for line in text.splitlines()]
