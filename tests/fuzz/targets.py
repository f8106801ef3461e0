"""What is fuzzed: where the cases come from, and what is made of one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from tests.fuzz import cluster, commands, local, objects, requests, served


@dataclass(frozen=True, slots=True)
class Target:
    """`check` takes a case, which is JSON, and raises whatever it likes if something is wrong. `few` are tried in `make test`."""

    cases: st.SearchStrategy[Any]
    check: Callable[[Any], None]
    few: int


TARGETS: Mapping[str, Target] = {
    # A round of all takes about seven seconds: a case of the first or of `served` takes 50 ms, others 5 to 20.
    "cluster": Target(objects.clusters, cluster.check, few=25),
    "commands": Target(commands.commands, commands.check, few=100),
    "served": Target(served.served, served.check, few=15),
    "local": Target(local.local, local.check, few=15),
    "requests": Target(requests.requests, requests.check, few=100),
}
