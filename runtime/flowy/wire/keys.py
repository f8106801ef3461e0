"""Names of tasks, and the keys of their calls: `<task>-<n>`, n counted per name from 0."""

import re
from collections.abc import Iterable
from keyword import iskeyword

MAX_NAME = 40  # leaves room in a Job's name, which Kubernetes cuts at 63 characters
MAX_KEY = MAX_NAME + len("-") + 9
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_KEY = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)-(0|[1-9][0-9]{0,8})")


def check_names(names: Iterable[str]) -> list[str]:
    """Give the task names as a list. Raises ValueError for a malformed or repeated one."""
    checked: list[str] = []
    for name in names:
        if not _NAME.fullmatch(name) or len(name) > MAX_NAME or iskeyword(name):
            raise ValueError(
                f"{name!r} is no task name: a Python name of ASCII letters, digits and underscores, "
                f"at most {MAX_NAME} characters, no keyword"
            )
        if name in checked:
            raise ValueError(f"the task name {name!r} is given twice")
        checked.append(name)
    return checked


def task_of(key: str) -> str:
    """Give the task's name in a key `<task>-<n>`. Raises ValueError for a malformed key."""
    return _parts(key)[1]


def number_of(key: str) -> int:
    """Give the number in a key `<task>-<n>`. Raises ValueError for a malformed key."""
    return int(_parts(key)[2])


def _parts(key: str) -> re.Match[str]:
    match = _KEY.fullmatch(key)
    if match is None:
        raise ValueError(f"{key[:100]!r} is no key: <task name>-<number> is expected")
    return match
