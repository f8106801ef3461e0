"""A scene that was played once, and for each test a server over a copy of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.scene import NOW, copy_of, scene
from tests.cli.shell import Server, Shell, write_kubeconfig
from tests.fakes.api import Api
from tests.fakes.store import Store


@pytest.fixture(scope="session")
def played() -> Store:
    return scene()


@pytest.fixture
def store(played: Store) -> Store:
    """The scene, for one test to change."""
    return copy_of(played)


@pytest.fixture
def server(store: Store) -> Iterator[Server]:
    with Server(Api(store)).running() as server:
        yield server


@pytest.fixture
def shell(server: Server, tmp_path: Path) -> Shell:
    return Shell(write_kubeconfig(tmp_path / "kubeconfig", server.url), lambda: NOW)


@pytest.fixture
def offline(tmp_path: Path) -> Shell:
    """For commands that need no cluster."""
    return Shell(tmp_path / "none", lambda: NOW)
