"""Files of pins, as tests read them."""

import re
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def pins(name: str) -> Mapping[tuple[str, str], set[str]]:
    """The hashes of each pin, by distribution and version. Without those for other systems than Linux."""
    found: dict[tuple[str, str], set[str]] = {}
    for entry in re.split(r"^(?=[a-z0-9])", (ROOT / name).read_text(), flags=re.MULTILINE):
        head, _, rest = entry.partition("\n")
        if "==" in head and "win32" not in head:
            distribution, _, version = head.split()[0].partition("==")
            found[distribution, version] = set(re.findall(r"--hash=(\S+)", rest))
    return found
