"""What goes wrong here, and what is said meanwhile."""

import sys
import time

STARTED_AT_S = time.monotonic()


class ClusterError(Exception):
    """The message tells a person what happened and what to do; the command line prints it without a traceback."""


def say(line: str) -> None:
    """Tell a person on stderr what goes on: stdout is for the one answer that scripts read."""
    sys.stderr.write(f"cluster {time.monotonic() - STARTED_AT_S:6.1f} s  {line}\n")
    sys.stderr.flush()
