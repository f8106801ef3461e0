"""Fuzzes until the time is over: python -m tests.fuzz MINUTES [TARGET …]. Ends with 1 if a case breaks something."""

import json
import secrets
import sys
import time
import traceback
import warnings
from collections import Counter
from itertools import cycle
from pathlib import Path

from hypothesis.errors import HypothesisWarning

from tests.fuzz.hunt import CORPUS, Broken, corpus, hunt
from tests.fuzz.targets import TARGETS

FOUND = Path("build") / "fuzz"
ROUND = 100
"""Cases of one target after those of another, each round with a seed of its own."""


def main() -> int:
    minutes, *names = sys.argv[1:]
    ends_at = time.monotonic() + float(minutes) * 60
    warnings.simplefilter("ignore", HypothesisWarning)
    tried: Counter[str] = Counter()
    for name in names or TARGETS:
        for kept, case in corpus(name):
            print(f"{name}: {kept}", flush=True)
            TARGETS[name].check(case)
    for name in cycle(names or TARGETS):
        if time.monotonic() >= ends_at:
            break
        number = secrets.randbits(32)
        try:
            tried[name] += hunt(TARGETS[name], ROUND, number, goes_on=lambda: time.monotonic() < ends_at)
        except Broken as broken:
            FOUND.mkdir(parents=True, exist_ok=True)
            file = FOUND / f"{name}-{number}.json"
            file.write_text(json.dumps(broken.case, indent=1) + "\n")
            traceback.print_exception(broken.__cause__)
            print(
                f"\n{name}, seed {number}: the smallest case is in {file}.\nOnce mended, keep it under a name that says what"
            )
            print(f"was wrong: mv {file} {CORPUS.relative_to(Path.cwd()) / name}/<what-was-wrong>.json")
            return 1
    print(", ".join(f"{count:,} cases of {name}" for name, count in tried.items()), "- all as they must be")
    return 0


if __name__ == "__main__":
    sys.exit(main())
