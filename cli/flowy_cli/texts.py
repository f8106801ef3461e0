"""What an argument NAME|FILE|- means, as text: read before anything heavy is loaded, since the rest depends on what it is."""

import sys
from pathlib import Path

from flowy_cli.errors import Unreadable

STDIN = "-"


def is_file(source: str) -> bool:
    """Whether an argument means a file (or standard input) and not the name of an object.

    Names have no slash, and nobody ends one in `.yaml`; so the argument alone says it, whatever lies in the folder.
    """
    return source == STDIN or "/" in source or source.endswith((".yaml", ".yml", ".json"))


def read_text(source: str) -> str:
    """The text of a file, or of standard input for `-`. Raises Unreadable."""
    try:
        return sys.stdin.read() if source == STDIN else Path(source).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise Unreadable(f"{place_of(source)} can't be read: {reason}") from error


def place_of(source: str) -> str:
    """How messages call a file, or standard input."""
    return "standard input" if source == STDIN else source
