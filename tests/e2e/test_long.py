"""A longer run on the operator as its chart installs it: its decisions stay in the decider's container, behind all its locks."""

import json
import re

from tests.e2e.installed import Installed
from tests.e2e.kube import Kube, result
from tests.e2e.manifests import shell, workflow

STEP = shell("step", "echo $(($1 + 1)) > $FLOWY_RESULT_FILE", "$(FLOWY_ARG_0)")
WIDE_THEN_LONG = """
def w(step):
    def run(width, length):
        value = sum(map(int, [step(i) for i in range(width)]))
        for _ in range(length):
            value = int(step(value))
        return value
    return run
"""
WIDTH, LENGTH = 20, 4


def went_on(installed: Installed) -> float:
    """How many decisions were made by a process that had stayed."""
    figures = installed.ask(installed.leader(), "metrics")
    found = re.search(r'^flowy_staying_children_total\{fate="went-on"\} (\S+)$', figures, re.MULTILINE)
    return float(found[1]) if found else 0.0


def test_decisions_stay(installed: Installed, served: Kube) -> None:
    before = went_on(installed)
    served.apply(workflow("long", WIDE_THEN_LONG, [STEP], WIDTH, LENGTH))
    assert result(served.wait_end("long")) == sum(range(1, WIDTH + 1)) + LENGTH
    assert went_on(installed) - before >= LENGTH - 1  # the first of all may have to prove that they can


def test_the_status_has_one_owner(served: Kube) -> None:
    """The API server keeps no list of its fields."""
    owned = served.run("get", "workflow", "long", "--show-managed-fields", "-o", "json").stdout
    entries = json.loads(owned)["metadata"]["managedFields"]
    assert [entry["fieldsV1"] for entry in entries if entry.get("subresource") == "status"] == [{"f:status": {}}]
