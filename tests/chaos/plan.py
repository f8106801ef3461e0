"""What is run, and what is done to it: all by the seed, drawn before anything begins."""

import random
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any

from tests.cluster.fake_nodes import POD_TEMPLATE
from tests.e2e.manifests import shell, workflow
from tests.sim.programs import Program, name_of, random_program
from tests.sim.scenario import Scenario

MOST_ATTEMPTS = 8
OUTAGE_S = 12.0
FROZEN_S = 9.0
"""Longer than the Lease: the other replica has taken over when the one that was frozen goes on."""


class Blow(StrEnum):
    """One kind of fault; the value is its row in the table."""

    LEADER_KILLED = "kill -9 of the operator that leads"
    OTHER_KILLED = "kill -9 of the operator that waits"
    BOTH_KILLED = "kill -9 of both operators at once"
    API_SERVER_KILLED = "kill -9 of the API server"
    ETCD_KILLED = "kill -9 of etcd"
    CONTROLLERS_KILLED = "kill -9 of the controller manager"
    WATCHES_CUT = "all connections to the API server cut"
    STORM = "429 for all that the operators ask"
    STORM_OF_OBJECTS = "429 for all but the Lease"
    ETCD_FULL = "etcd full: its quota alarm"
    FROZEN = "leader frozen, and thawed beside its successor"


KILLS = (Blow.LEADER_KILLED, Blow.OTHER_KILLED, Blow.BOTH_KILLED)
ALONE = 30
"""Kills of operators that come alone. The others come in salvos, which hit whoever is just starting."""

MOST_IN_SALVO = 12
MOST_CALLS = 10
"""Of activities in one workflow, sub-workflows included: at 5 attempts a second 500 workflows have to end."""


class Deed(StrEnum):
    """What a person does to a workflow while it runs."""

    CANCEL = "Cancel"
    TERMINATE = "Terminate"
    SUSPEND = "Suspend"
    DELETE = "Delete"


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much of each, and for how many seconds blows fall. `alone` of the kills are no part of a salvo."""

    fake: int
    real: int
    operator_kills: int
    alone: int
    others: dict[Blow, int]
    strike_s: float
    ends_within_s: float = 210.0


FULL = Size(
    fake=500,
    real=20,
    operator_kills=200,
    alone=ALONE,
    others={
        Blow.API_SERVER_KILLED: 5,
        Blow.ETCD_KILLED: 5,
        Blow.CONTROLLERS_KILLED: 5,
        Blow.WATCHES_CUT: 10,
        Blow.STORM: 2,
        Blow.STORM_OF_OBJECTS: 3,
        Blow.ETCD_FULL: 1,
        Blow.FROZEN: 4,
    },
    strike_s=780.0,
    ends_within_s=300.0,
)
SLICE = Size(
    fake=10, real=0, operator_kills=3, alone=1, others={Blow.API_SERVER_KILLED: 1}, strike_s=12.0, ends_within_s=60.0
)


def share_of(whole: Size, share: float) -> Size:
    """A smaller run with as much of everything a second; of what there is once, one."""
    return Size(
        fake=round(whole.fake * share),
        real=round(whole.real * share),
        operator_kills=round(whole.operator_kills * share),
        alone=round(whole.alone * share),
        others={blow: max(round(count * share), 1) for blow, count in whole.others.items()},
        strike_s=whole.strike_s * share,
        ends_within_s=whole.ends_within_s,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """One workflow. `at` is the share of the salvos after which it is created."""

    name: str
    at: float
    manifest: dict[str, Any]
    outcome: str
    """`Completed` or `Failed`, as the sequential run ends."""
    value: Any
    """Its result, or type and message of its error."""
    scenario: Scenario | None = None
    """What its containers do, where the node is a fake one."""
    deed: Deed | None = None
    deed_after_s: float = 0.0
    deed_lasts_s: float = 0.0


@dataclass(frozen=True)
class Plan:
    seed: int
    size: Size
    loads: tuple[Load, ...]
    salvos: tuple[tuple[Blow, ...], ...]
    """Blows one after the other; most salvos are of one."""

    @cached_property
    def scenarios(self) -> dict[str, Scenario]:
        return {load.name: load.scenario for load in self.loads if load.scenario is not None}


def plan_of(seed: int, size: Size) -> Plan:
    dice = random.Random(seed)
    loads = [_fake(random.Random(f"{seed} fake {n}"), n, seed) for n in range(size.fake)]
    loads += [_real(random.Random(f"{seed} real {n}"), n) for n in range(size.real)]
    kills = dice.choices(KILLS, weights=[45, 45, 10], k=size.operator_kills)
    salvos: list[tuple[Blow, ...]] = [(blow,) for blow in kills[: size.alone]]
    salvos += [(blow,) for blow, count in size.others.items() for _ in range(count)]
    rest = kills[size.alone :]
    while rest:
        count = dice.randint(2, MOST_IN_SALVO)
        salvos.append(tuple(rest[:count]))
        rest = rest[count:]
    dice.shuffle(salvos)
    return Plan(seed, size, tuple(sorted(loads, key=lambda load: load.at)), tuple(salvos))


def _moment(dice: random.Random) -> float:
    """A third at the very beginning, at half and near the end: then many are open. The others all the time."""
    return dice.choice([0.0, 0.45, 0.8]) if dice.random() < 0.35 else dice.random() * 0.95


def _short(dice: random.Random) -> Program:
    """One that is over soon, and whose results fit into a termination message: on a fake node there is no log."""
    while True:
        program = random_program(dice)
        if "blow" not in program.activities and _calls(program, 0) <= MOST_CALLS:
            return program


def _calls(program: Program, n: int) -> int:
    """About so many activities a flow calls, all in all."""
    flow = program.flows[n]
    one_run = sum(step.width * (_calls(program, step.sub) if step.sub else 1) + 1 for step in flow.steps)
    return one_run * (flow.again + 1)


def _fake(dice: random.Random, n: int, seed: int) -> Load:
    name = f"fake-{n:03}"
    program = _short(dice)
    retry = {
        "maxAttempts": MOST_ATTEMPTS,
        "when": ["Timeout", "ScheduleToStart", "Error"],
        **dice.choice([{"delaysSeconds": [0]}, {"delaysSeconds": [1, 0, 3]}]),
    }
    scenario = Scenario(
        seed=seed * 1000 + n,
        program=program,
        retry=retry,
        evicted=(0, 0.0),
        on_parent_end=dice.choice(["Terminate", "Cancel"]),
    )
    manifest = workflow(
        name,
        program.source,
        scenario.tasks,
        parallelism=dice.choice([1, 2, 4, 4, 100]),
        onEnd=dice.choice(["Cancel", "Cancel", "Wait", "Abandon"]),
        jobs={"keepSucceededSeconds": dice.choice([1, 1, 1, 3600]), "keepFailedSeconds": dice.choice([1, 30])},
        defaults={"template": POD_TEMPLATE},
    )
    manifest["spec"]["code"]["entrypoint"] = name_of(0)
    outcome, value = program.oracle()
    deed = dice.choices([None, *Deed], weights=[78, 6, 3, 8, 5])[0]
    return Load(
        name=name,
        at=_moment(dice),
        manifest=manifest,
        outcome=outcome,
        value=value,
        scenario=scenario,
        deed=deed,
        deed_after_s=dice.uniform(0.1, 6),
        deed_lasts_s=dice.uniform(0.5, 10),
    )


MIXED = """
def mixed(step, add):
    def run(chain, width):
        value = step(0)
        for _ in range(chain - 1):
            value = step(value)
        return add(value, [step(n) for n in range(width)])
    return run
"""
_LOGGED = 'echo "$FLOWY_WORKFLOW 1 $FLOWY_TASK $FLOWY_ATTEMPT $(hostname)" >> /log/real; '
_NEXT = (
    # The first attempt of one task in five fails.
    _LOGGED
    + 'if [ "$FLOWY_ATTEMPT" = 1 ] && [ $(($1 % 5)) = 4 ]; then exit 1; fi; echo $(($1 + 1)) > $FLOWY_RESULT_FILE'
)
_SUM = _LOGGED + "echo $1 | tr -d '[]' | tr ',' '\\n' | awk -v s=\"$2\" '{s+=$1} END {print s}' > $FLOWY_RESULT_FILE"


def _real(dice: random.Random, n: int) -> Load:
    name = f"real-{n:02}"
    retry = {"maxAttempts": MOST_ATTEMPTS, "delaysSeconds": [0]}
    tasks = [
        shell("step", _NEXT, "$(FLOWY_ARG_0)", retry=retry),
        shell("add", _SUM, "$(FLOWY_ARG_1)", "$(FLOWY_ARG_0)", retry=retry),
    ]
    chain, width = dice.randint(1, 4), dice.randint(1, 4)
    return Load(
        name=name,
        at=dice.random() * 0.9,
        manifest=workflow(name, MIXED, tasks, chain, width, jobs={"keepSucceededSeconds": 30}),
        outcome="Completed",
        value=chain + sum(k + 1 for k in range(width)),
    )
