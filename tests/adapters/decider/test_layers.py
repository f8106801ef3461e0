"""Each wall by itself: with the others taken away, files, sockets and programs are still out of reach."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from flowy_operator.adapters.decider import landlock
from flowy_operator.adapters.decider.syscalls import X86_64

# In a process of its own. No attempt sends a signal: with a wall missing it would arrive.
SOURCE = """
import json, os, socket, sys
sys.path[:0] = {path!r}
from flowy_operator.adapters.decider import filters, kernel, landlock
from flowy_operator.adapters.decider.syscalls import X86_64

def attempt(do):
    try:
        do()
    except OSError as error:
        return error.errno
    return 0

def connect():
    with socket.socket() as client:
        client.connect(("127.0.0.1", {port}))

attempts = dict(
    reading=lambda: os.open({file!r}, os.O_RDONLY),
    writing=lambda: os.open({file!r}, os.O_WRONLY),
    creating=lambda: os.open({file!r} + ".new", os.O_CREAT | os.O_WRONLY, 0o600),
    unlinking=lambda: os.unlink({file!r}),
    listing=lambda: os.listdir("/"),
    connecting=connect,
    executing=lambda: os.execv("/bin/true", ["true"]),
)
kernel.no_new_privileges()
wall = {wall!r}
if wall == "landlock":
    landlock.forbid_all(X86_64)
elif wall == "zygote":
    kernel.Filter(filters.zygote_filter(X86_64), 317).install()
elif wall == "none":
    del attempts["executing"], attempts["unlinking"]
os.write(1, json.dumps({{name: attempt(do) for name, do in attempts.items()}}).encode())
os._exit(0)
"""
EPERM, EACCES = 1, 13


def got(wall: str, file: Path, port: int = 1) -> Mapping[str, int]:
    """The error numbers of the attempts behind one wall, 0 for success."""
    file.write_text("intact")
    source = SOURCE.format(path=sys.path, wall=wall, file=str(file), port=port)
    run = subprocess.run([sys.executable, "-c", source], stdout=subprocess.PIPE, check=True)
    answers: Mapping[str, int] = json.loads(run.stdout)
    return answers


def test_without_any_wall_the_attempts_work(tmp_path: Path) -> None:
    answers = got("none", tmp_path / "file")
    assert answers == {"reading": 0, "writing": 0, "creating": 0, "listing": 0, "connecting": 111}


def test_the_zygotes_filter_is_enough(tmp_path: Path) -> None:
    answers = got("zygote", tmp_path / "file")
    assert set(answers.values()) == {EPERM}
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_landlock_is_enough_for_files_and_tcp(tmp_path: Path) -> None:
    if landlock.version(X86_64) < 4:
        pytest.fail("this kernel's Landlock knows no TCP: run the tests on 6.7 or later")
    answers = got("landlock", tmp_path / "file")
    assert set(answers.values()) == {EACCES}
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


VERSIONS = {1: (8, 13), 2: (8, 14), 3: (8, 15), 4: (16, 15), 5: (16, 16), 6: (24, 16), 9: (24, 16)}


@pytest.mark.parametrize(("version", "expected"), VERSIONS.items(), ids=str)
def test_a_ruleset_names_what_its_version_knows(version: int, expected: tuple[int, int]) -> None:
    content = landlock.ruleset(version)
    assert (len(content), int.from_bytes(content[:8], "little").bit_length()) == expected
