"""What tests of the command line have, tests of its pictures have too."""

from tests.cli.conftest import played, server, shell, store

__all__ = ["played", "server", "shell", "store"]
