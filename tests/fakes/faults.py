"""What goes wrong, and when: rules that are spent one by one, or by chance from a seed."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answered instead of being done. `reason` and `status` as the API server would say, without details if `bare`."""

    status: int
    reason: str = "InternalError"
    retry_after_s: int | None = None
    bare: bool = False


@dataclass(frozen=True, slots=True)
class LoseAnswer:
    """Done, but the connection ends before the answer."""


@dataclass(frozen=True, slots=True)
class Late:
    """The connection ends before the answer, and it is done so much later all the same: it stood in the server's queue."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Delay:
    seconds: float


Fault = Refuse | LoseAnswer | Late | Delay


@dataclass(slots=True)
class Rule:
    """`fault` for calls of this verb (get, list, watch, create, patch, update, delete) and resource, None meaning any."""

    fault: Fault
    verb: str | None = None
    resource: str | None = None
    times: int = 1
    chance: float = 1.0


@dataclass(slots=True)
class Faults:
    seed: int = 0
    rules: list[Rule] = field(default_factory=list)
    _random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def add(
        self, fault: Fault, *, verb: str | None = None, resource: str | None = None, times: int = 1, chance: float = 1.0
    ) -> None:
        self.rules.append(Rule(fault, verb, resource, times, chance))

    def strike(self, verb: str, resource: str) -> Iterator[Fault]:
        for rule in list(self.rules):
            if rule.verb not in {None, verb} or rule.resource not in {None, resource}:
                continue
            if rule.chance < 1 and self._random.random() >= rule.chance:
                continue
            rule.times -= 1
            if rule.times <= 0:
                self.rules.remove(rule)
            yield rule.fault
