"""The simulator: the whole operator in one process, in virtual time, with everything that goes wrong drawn from one seed.

    seed ──▶ Scenario (programs.py, scenario.py) ──▶ run (run.py) on a World (tests/app/world.py), troubled by troubles.py
                  ▲                                     │
                  └── shrink.py: fewer faults, less ◀── watch.py: what may never be; run.py: what must be at the end

`make sim SEEDS=0:10000` runs them, `make mutants` shows that deliberate bugs are found.
"""
