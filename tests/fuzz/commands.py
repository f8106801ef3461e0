"""The command line over files that somebody else has written: it says what is wrong in a sentence, and shows nothing that bites."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result
from hypothesis import strategies as st

from flowy_cli.main import flowy
from flowy_cli.options import Desk
from tests.fuzz import shown
from tests.fuzz.changes import change, changes
from tests.fuzz.texts import texts

HISTORIES = Path(__file__).parents[1] / "histories"
BASES = ("video-open", "nested", "saga", "quorum")
NOW = datetime(2026, 1, 1, 12, 5, tzinfo=UTC)

COMMANDS: Sequence[Sequence[str]] = (
    ("describe",),
    ("history",),
    ("history", "-o", "json"),
    ("history", "-o", "yaml"),
    ("graph", "--unlocked"),
    ("graph", "--unlocked", "-o", "svg"),
    ("graph", "--unlocked", "-o", "dot"),
    ("graph", "--unlocked", "-o", "mermaid"),
    ("timeline", "--unlocked"),
    ("timeline", "--unlocked", "-o", "svg"),
    ("report", "--unlocked"),
    ("replay", "--unlocked"),
    ("replay", "--unlocked", "-o", "json"),
    ("lint",),
    ("lint", "-o", "json"),
)
_BOMB = "args: [&a0 [x, x], " + ", ".join(f"&a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 60)) + "]"
"""A list that YAML writes in a line, and that has 2**60 items when it is written otherwise."""

YAML = (
    "&a [*a]",
    "&a {metadata: *a, kind: Workflow, apiVersion: flowy.dev/v1alpha1}",
    _BOMB,
    f"apiVersion: flowy.dev/v1alpha1\nkind: Workflow\nmetadata: {{name: w}}\nspec: {{input: {{{_BOMB}}}}}",
    "!!python/object/apply:os.system [echo evil]",
    "? [a, b]\n: {1: 2, null: 3, 2026-01-01: 4}",
    "apiVersion: flowy.dev/v1alpha1\nkind: Workflow\nmetadata: {name: 1, uid: 2, labels: 3}\nspec: 4\nstatus: 5\n",
    "apiVersion: flowy.dev/v1alpha1\nkind: Workflow\nmetadata: {}\n",
    "kind: List\nitems: {a: 1}\n",
    "kind: List\nitems: [[], 1, null, {kind: List, items: [{metadata: {}}]}]\n",
    "9" * 5000,
    "0x" + "f" * 5000,
    "\x00",
    "- " * 500,
)

_PLACES: Sequence[Sequence[int]] = (
    [],
    [2, 0, 2],
    [2, 0, 3],
    [2, 0, 4],
    [2, 1, 4],
    [2, 0, 3, 0, 0],
    [2, 0, 4, 0],
    [2, 0, 4, 10],
)
"""Where a change begins: spec, status, conditions … of a recorded Workflow."""

commands = st.fixed_dictionaries(
    {"words": st.sampled_from(COMMANDS).map(list)},
    optional={"text": st.sampled_from(YAML) | texts},
) | st.fixed_dictionaries(
    {
        "words": st.sampled_from(COMMANDS).map(list),
        "base": st.sampled_from(BASES),
        "changes": st.lists(changes(_PLACES), min_size=1, max_size=3),
    }
)
"""A file is `text`, or a recorded run with changes, each at the place where a path ends."""


def check(case: Mapping[str, Any]) -> None:
    """Raises if the command crashes, or shows what it must not."""
    shown.check(case["words"], _run(case["words"], _file(case)))


def _run(words: Sequence[str], text: str) -> Result:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "run.yaml"
        file.write_bytes(text.encode())
        environment = {"HOME": folder, "KUBECONFIG": f"{folder}/none"}
        arguments = [words[0], str(file), *words[1:]]
        return CliRunner(env=environment).invoke(
            flowy, arguments, obj=Desk(now=lambda: NOW), prog_name="flowy", color=True
        )


def _file(case: Mapping[str, Any]) -> str:
    if "base" not in case:
        return str(case.get("text", ""))
    found = json.loads((HISTORIES / f"{case['base']}.json").read_text())
    for wanted in case["changes"]:
        change(found, wanted)
    return json.dumps(found)
