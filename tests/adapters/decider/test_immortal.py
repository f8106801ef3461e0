"""References to what the zygote has made are counted no more, where the interpreter can do without; elsewhere nothing changes."""

import json
import subprocess
import sys
from typing import Any

import pytest

from flowy_operator.adapters.decider import immortal

needs_it = pytest.mark.skipif(sys.version_info < (3, 12), reason="this interpreter counts all references")

# In a process of its own, since it stays so.
PROGRAM = """
import gc, json, sys
from flowy_operator.adapters.decider.immortal import is_possible, make_immortal

class Thing:
    def __init__(self, n): self.n = n
    def twice(self): return self.n + self.n

def of_a_closure(n):
    text = "in " + str(n)
    return lambda: text

things = [Thing(10**20 + n) for n in range(10)]
texts = {("a", n): f"text {n}" for n in range(5)}
inner = of_a_closure(3)
possible = is_possible()
make_immortal()
gc.freeze()
later = [Thing(10**21)]
make_immortal()
known = [
    things, things[3], things[3].n, Thing, Thing.twice, Thing.twice.__code__, later, later[0],
    texts, texts["a", 2], inner, inner(), of_a_closure.__code__.co_consts[1], json.dumps, sys.modules,
]
counts = [sys.getrefcount(one) for one in known]
new = Thing(5)
before = sys.getrefcount(new)
more = [new] * 7
things.append(new)
del things[0]
texts["a", 9] = str(10**18)
gc.collect()
print(json.dumps([possible, counts, sys.getrefcount(new) - before, [t.twice() for t in things[-2:]], len(texts), inner()]))
"""


def _run() -> Any:
    done = subprocess.run([sys.executable, "-c", PROGRAM], check=True, stdout=subprocess.PIPE, timeout=60)
    return json.loads(done.stdout)


@needs_it
def test_references_to_what_there_is_are_not_counted() -> None:
    possible, counts, counted, values, texts, text = _run()
    assert possible
    assert set(counts) == {0xFFFF_FFFF}, counts
    assert counted == 8, "those to what comes later are"
    assert (values, texts, text) == ([2 * (10**20 + 9), 10], 6, "in 3")


def test_an_interpreter_that_counts_otherwise_is_let_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(immortal, "_KNOWN", ((3, 9),))
    assert not immortal.is_possible()
    monkeypatch.setattr(immortal, "_KNOWN", (sys.version_info[:2],))
    assert immortal.is_possible() is (sys.version_info >= (3, 12))
