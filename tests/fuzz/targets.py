"""What is fuzzed: where the cases come from, and what is made of one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from tests.fuzz import cluster, commands, objects, requests


@dataclass(frozen=True, slots=True)
class Target:
    """`check` takes a case, which is JSON, and raises whatever it likes if something is wrong. `few` are tried in `make test`."""

    cases: st.SearchStrategy[Any]
    check: Callable[[Any], None]
    few: int


TARGETS: Mapping[str, Target] = {
    "cluster": Target(objects.clusters, cluster.check, few=25),
    "commands": Target(commands.commands, commands.check, few=100),
    "requests": Target(requests.requests, requests.check, few=100),
}
