"""A seed's plan: as much as was asked for, and the same each time."""

from collections import Counter

from tests.chaos.plan import FULL, KILLS, SLICE, Blow, plan_of


def test_the_whole_run_holds_what_it_claims() -> None:
    plan = plan_of(1, FULL)
    blows = Counter(blow for salvo in plan.salvos for blow in salvo)
    assert sum(blows[kill] for kill in KILLS) == 200
    assert blows[Blow.API_SERVER_KILLED] == blows[Blow.ETCD_KILLED] == blows[Blow.CONTROLLERS_KILLED] == 5
    assert blows[Blow.WATCHES_CUT] == 10
    assert set(blows) == set(Blow)
    assert (len(plan.scenarios), len(plan.loads)) == (500, 520)
    assert len({load.name for load in plan.loads}) == 520


def test_a_seed_is_one_plan() -> None:
    assert plan_of(3, SLICE) == plan_of(3, SLICE)
    assert plan_of(3, SLICE).loads != plan_of(4, SLICE).loads
