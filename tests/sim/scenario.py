"""What a seed means: a program, how its workflow is set up, what its containers do, and everything that goes wrong.

All of it is data, drawn before the run begins, so that a part can be taken away and the rest stays as it was. What a
container does is drawn from the name of its launch, for the same reason.
"""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tests.app.kubelet import Act, Call, failure, printed, value
from tests.fakes.faults import Fault, LoseAnswer, Refuse, Rule
from tests.sim.programs import ACTIVITIES, FAILURE, Flow, Program, Step, fails, name_of, random_program
from tests.sim.troubles import GENTLE, Jump, Sleep, Trouble, Two, Unsure, random_reshard, random_troubles

MOST_ATTEMPTS = 8
"""Each clock jump and each node that is lost may cost one; by themselves containers fail in the first two."""

SILENT_S = 6
STARTS_WITHIN_S = 20
LONG_S = 500.0
"""Longer than any timeout with an outage on top: an outcome that is there counts, however late."""

NARROW_EVERY = 20
SHARDED = 0.5
"""The share of seeds with two replicas in which both may work."""

CALM = 0.15
"""The share of seeds in which nothing befalls the operator itself."""

BACKOFF = {"initialSeconds": 2, "multiplier": 3, "maxSeconds": 5, "jitterPercent": 100}


@dataclass(frozen=True, slots=True)
class Refusals:
    """A rule of the fake API server, as data."""

    fault: Fault
    verb: str | None = None
    resource: str | None = None
    times: int = 1
    chance: float = 1.0

    def rule(self) -> Rule:
        return Rule(self.fault, self.verb, self.resource, self.times, self.chance)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    seed: int
    program: Program
    parallelism: int = 4
    tail_bytes: int = 32_768
    on_end: str = "Cancel"
    on_parent_end: str = "Terminate"
    retry: Mapping[str, Any] = field(default_factory=dict)
    timeouts: Mapping[str, int] = field(default_factory=dict)
    jobs: Mapping[str, int] = field(default_factory=dict)
    printed: frozenset[str] = frozenset()
    """Activities whose result is what they print."""
    elected: bool = False
    """Whether there are two replicas, of which one leads."""
    shards: int = 1
    """With two replicas: how many they share at the beginning."""
    defined: bool = False
    """Whether the workflow is of a WorkflowDefinition."""
    ttl_s: int = 60
    """How long the ended Workflow stays."""
    children_expire: bool = False
    """Whether sub-workflows go by themselves as soon as their parents know how they ended."""
    latency_s: float = 0.03
    failing: float = 0.15
    evicted: tuple[int, float] = (2, 0.1)
    """Of the first so many launches of an attempt this share."""
    refusals: tuple[Refusals, ...] = ()
    troubles: tuple[Trouble, ...] = ()

    @property
    def tasks(self) -> list[dict[str, Any]]:
        """As they stand in the spec."""
        children = [
            {"name": name, "workflow": {"entrypoint": name}, "onParentEnd": self.on_parent_end}
            for name in self.program.subs
        ]
        return [*children, *map(self._activity, self.program.activities)]

    def _activity(self, name: str) -> dict[str, Any]:
        result = {"result": {"from": "Log"}} if name in self.printed else {}
        timeouts = {"timeouts": dict(self.timeouts)} if self.timeouts else {}
        # What fails for good does so at its first attempt: the others would fail too, and only take their time.
        retry = {**self.retry, "when": ["Timeout", "ScheduleToStart"]} if name == "frail" else self.retry
        return {"name": name, "activity": {"image": "busybox", **result}, "retry": dict(retry), **timeouts}

    @property
    def jumps_s(self) -> float:
        """By so much clocks are put forward and back, all in all: what is due at a time may be so much later."""
        return sum(abs(trouble.by_s) for trouble in self.troubles if isinstance(trouble, Jump | Sleep))

    @property
    def entrypoint(self) -> str:
        return name_of(0)

    def act(self, call: Call) -> Act:
        """Every container succeeds in the end; before that it may fail, hang, or be taken away."""
        dice = random.Random(f"{self.seed}/{call.task}/{call.attempt}/{call.launch}/{call.args}")
        lasts_s: float | None = dice.choice([0.0, dice.uniform(0.05, 4)])
        launches, lost = self.evicted
        if call.launch < launches and dice.random() < lost:
            return Act(lasts_s=lasts_s, exit_code=137, disruption="EvictionByEvictionAPI")
        if fails(call.name, call.args):
            return failure(f'{{"error": {{"type": "Error", "message": "{FAILURE}"}}}}', lasts_s=lasts_s)
        if call.attempt < 3 and call.name != "frail" and dice.random() < self.failing:
            if self.timeouts and dice.random() < 0.4:
                lasts_s = dice.choice([None, LONG_S])
                if self.on_end == "Abandon":
                    lasts_s = LONG_S  # nobody would end it any more, and the Workflow stays as long as it runs
            else:
                return failure(lasts_s=lasts_s)
        result = ACTIVITIES[call.name](*call.args)
        if call.name in self.printed:
            return printed(result, lasts_s=lasts_s, noise="50 %\n")
        return value(result, lasts_s=lasts_s)

    def smaller(self) -> Iterator["Scenario"]:
        """The same with a part less, what is least interesting first."""
        for n in range(len(self.troubles)):
            yield replace(self, troubles=(*self.troubles[:n], *self.troubles[n + 1 :]))
        for n in range(len(self.refusals)):
            yield replace(self, refusals=(*self.refusals[:n], *self.refusals[n + 1 :]))
        for program in self.program.smaller():
            yield replace(self, program=program)
        plain = Scenario(seed=self.seed, program=self.program)
        for name in (
            "failing",
            "evicted",
            "shards",
            "elected",
            "defined",
            "tail_bytes",
            "timeouts",
            "jobs",
            "retry",
            "printed",
            "on_end",
            "children_expire",
        ):
            without = 0.0 if name == "failing" else (0, 0.0) if name == "evicted" else getattr(plain, name)
            if getattr(self, name) != without:
                changes: dict[str, Any] = {name: without}
                yield replace(self, **changes)


def narrow(seed: int) -> Scenario:
    """Two ends close together, and no word of what became of the write between them: cheap, and else met once in a million."""
    dice = random.Random(seed)
    unsure = Unsure(dice.uniform(0.5, 3), times=1, for_s=dice.choice([3, 8]))
    return Scenario(
        seed=seed,
        program=Program((Flow((Step("pair"),)),)),
        failing=0.0,
        latency_s=dice.choice([0.03, 0.3]),
        retry={"maxAttempts": MOST_ATTEMPTS, "delaysSeconds": [0]},
        troubles=(unsure,),
    )


def scenario_of(seed: int) -> Scenario:
    if seed % NARROW_EVERY == NARROW_EVERY - 1:
        return narrow(seed)
    dice = random.Random(seed)
    program = random_program(dice)
    elected = dice.random() < 0.2
    defined = dice.random() < 0.3
    long = "blow" in program.activities
    waits: dict[str, Any] = dice.choice([{"delaysSeconds": [0]}, {"delaysSeconds": [1, 0, 3]}, {"backoff": BACKOFF}])
    timeouts: dict[str, int] = {"startToCloseSeconds": STARTS_WITHIN_S}
    timeouts |= dice.choice([{}, {}, {"heartbeatSeconds": SILENT_S}, {"scheduleToStartSeconds": 60}])
    timeouts = dice.choice([timeouts, timeouts, timeouts, {}])
    drawn = Scenario(
        seed=seed,
        program=program,
        parallelism=dice.choice([1, 2, 4, 4, 4, 100]),
        # Mostly so short a tail that a few events are a page: sealing then happens between any other two writes.
        tail_bytes=dice.choice([256, 256, 700, 1500, 32_768]),
        on_end=dice.choice(["Cancel", "Cancel", "Wait", "Abandon"]),
        on_parent_end=dice.choice(["Terminate", "Terminate", "Cancel"]),
        retry={"maxAttempts": MOST_ATTEMPTS, "when": ["Timeout", "ScheduleToStart", "Error"]} | waits,
        timeouts=timeouts,
        jobs={"keepSucceededSeconds": dice.choice([1, 300]), "keepFailedSeconds": dice.choice([1, 50])},
        printed=frozenset(["blow"] if long else [name for name in program.activities if dice.random() < 0.1]),
        elected=elected,
        defined=defined,
        latency_s=dice.choice([0.003, 0.03, 0.03, 0.3]),
        evicted=dice.choice([(2, 0.1)] * 5 + [(7, 0.7)]),
        refusals=_refusals(dice),
        troubles=random_troubles(dice, elected=elected, defined=defined),
        # Where nobody is away, nothing happens in that time; it only has to be gone through.
        ttl_s=dice.choice([1, 5, 5, 60]),
        children_expire=dice.random() < 0.3,
    )
    if dice.random() < CALM:
        # Nothing hampers the operator here, so that it can be held to doing everything at once.
        return replace(drawn, refusals=(), troubles=random_troubles(dice, elected=False, defined=False, kinds=GENTLE))
    shards = random.Random(f"{seed} shards")  # dice of their own: the others' seeds mean what they did
    return sharded(drawn, shards) if elected and shards.random() < SHARDED else drawn


def sharded(scenario: Scenario, dice: random.Random) -> Scenario:
    """The same with shards, whose number changes once or twice, as a rule."""
    troubles = [*scenario.troubles]
    for _ in range(dice.choice([0, 1, 1, 2])):
        troubles.insert(dice.randint(0, len(troubles)), random_reshard(dice))
    return replace(scenario, elected=True, shards=dice.choice([1, 2, 2, 3]), troubles=tuple(troubles))


def only_sharded(seed: int) -> Scenario:
    """Each seed with shards."""
    scenario = scenario_of(seed)
    troubles = tuple(trouble for trouble in scenario.troubles if not isinstance(trouble, Two))
    return sharded(replace(scenario, troubles=troubles), random.Random(f"{seed} shards"))


def only_expiring(seed: int) -> Scenario:
    """Each seed with shards, and children that go as soon as they may."""
    return replace(only_sharded(seed), children_expire=True)


def _refusals(dice: random.Random) -> tuple[Refusals, ...]:
    """What any API server does now and then."""
    choices = [
        Refusals(Refuse(409, "Conflict"), "patch", None, dice.randint(1, 4), 0.3),
        Refusals(Refuse(422, "Invalid", bare=True), "patch", "workflows/status", dice.randint(1, 3), 0.2),
        Refusals(Refuse(500, "InternalError"), None, None, dice.randint(1, 6), 0.1),
        Refusals(
            Refuse(429, "TooManyRequests", retry_after_s=dice.choice([None, 1, 3])),
            "create",
            None,
            dice.randint(1, 4),
            0.2,
        ),
        Refusals(Refuse(429, "TooManyRequests", retry_after_s=1), "list", None, dice.randint(1, 4), 0.2),
        Refusals(Refuse(500), None, "pods/log", dice.randint(1, 4), 0.3),
        Refusals(Refuse(504, "Timeout"), "delete", None, dice.randint(1, 4), 0.3),
        Refusals(LoseAnswer(), "patch", None, dice.randint(1, 4), 0.2),
        Refusals(LoseAnswer(), "create", None, dice.randint(1, 4), 0.2),
        Refusals(LoseAnswer(), "delete", None, dice.randint(1, 4), 0.2),
        Refusals(LoseAnswer(), "list", None, dice.randint(1, 4), 0.2),
    ]
    return tuple(dice.sample(choices, dice.randint(0, 6)))
