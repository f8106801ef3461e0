"""Run a program and wait for it; a failure becomes an error that shows the program's own words."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.cluster.errors import ClusterError

# Debian keeps these out of a normal user's PATH, and `sudo` or a cron job may have no more than that.
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SHOWN_LINES = 20  # of a failed program's output: enough for a compiler's first errors, and still one screen


def run(
    argv: Sequence[str | Path],
    *,
    doing: str,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str | None = None,
) -> str:
    """Run to the end and return stdout; `doing` completes the sentence "... failed"."""
    command = [str(word) for word in argv]
    env = _with_system_path(os.environ if env is None else env)
    try:
        done = subprocess.run(command, env=env, cwd=cwd, input=stdin, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise ClusterError(f"{doing} failed: there is no program {command[0]!r} on PATH") from error
    if done.returncode != 0:
        words = (done.stderr.strip() or done.stdout.strip()).splitlines()[-SHOWN_LINES:]
        raise ClusterError("\n  ".join([f"{doing} failed ({command[0]} ended with {done.returncode}):", *words]))
    return done.stdout


def succeeds(argv: Sequence[str | Path]) -> bool:
    """Run for the exit code alone, where failing is one of the answers."""
    command = [str(word) for word in argv]
    env = _with_system_path(os.environ)
    return subprocess.run(command, env=env, capture_output=True, check=False).returncode == 0


def _with_system_path(env: Mapping[str, str]) -> dict[str, str]:
    return {**env, "PATH": f"{env.get('PATH', '')}:{SYSTEM_PATH}".lstrip(":")}
