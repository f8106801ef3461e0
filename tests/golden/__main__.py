"""Records what isn't there yet: python -m tests.golden. What is there is never touched."""

import json

from tests.fakes.clock import run_virtual
from tests.golden.recording import HISTORIES, beside, decision, names, recorded, story
from tests.golden.runs import RUNS

if __name__ == "__main__":
    HISTORIES.mkdir(exist_ok=True)
    for name, run in RUNS.items():
        file = HISTORIES / f"{name}.json"
        if not file.exists():
            file.write_text(json.dumps(run_virtual(recorded(run)), indent=1, ensure_ascii=False) + "\n")
            print(file)
    for name in names():
        for suffix, told in (("decision", decision), ("story", story)):
            if not beside(name, suffix).exists():
                beside(name, suffix).write_text(told(name))
                print(beside(name, suffix))
