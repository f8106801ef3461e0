"""What the linter finds, where, and what it leaves alone."""

import json
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from flowy.testing import decide
from flowy_cli.linting.findings import Rule
from flowy_cli.linting.linter import lint
from flowy_cli.linting.manifest import Source
from tests.cli.shell import Shell

ROOT = Path(__file__).parents[2]


def found(code: str) -> list[tuple[str, int | None]]:
    """The findings in a source: their rules and lines."""
    return [(finding.rule, finding.line) for finding in lint(Source(code=textwrap.dedent(code).lstrip("\n")))]


def inside(body: str, before: str = "") -> str:
    """A factory `f` with the tasks `a` and `b`, whose workflow has this body, from line 3 on (before what stands above)."""
    return f"{before}def f(a, b):\n    def workflow(x=None):\n{textwrap.indent(textwrap.dedent(body).strip(), ' ' * 8)}\n    return workflow\n"


WORLD = {
    "an import that isn't there": ("import requests", [("import", 1)]),
    "one within a function": (inside("import socket"), [("import", 3)]),
    "from one": ("from os import path", [("import", 1)]),
    "a package's module that isn't there": ("import urllib.request", [("import", 1)]),
    "of a package around it": ("from . import helpers", [("import", 1)]),
    "a name that flowy hasn't": ("from flowy import wait, sleep", [("import", 1)]),
    "a file": (inside("open('x')"), [("forbidden", 3)]),
    "a question": (inside("input()"), [("forbidden", 3)]),
    "sleep": (inside("sleep(1)", "from time import sleep\n"), [("forbidden", 4)]),
    "sleep by another name": (inside("t.sleep(1)", "import time as t\n"), [("forbidden", 4)]),
    "a clock": (inside("datetime.datetime.now()", "import datetime\n"), [("clock", 4)]),
    "a clock that was imported": (inside("now = datetime.now()", "from datetime import datetime\n"), [("clock", 4)]),
    "a stop watch": (inside("time.monotonic()", "import time\n"), [("clock", 4)]),
    "chance": (inside("random.choice([1, 2])", "import random\n"), [("random", 4)]),
    "an id": (inside("uuid.uuid4()", "import uuid\n"), [("random", 4)]),
    "identity": (inside("sorted([a, b], key=lambda o: id(o))"), [("identity", 3)]),
    "a loop over a set": (inside("for y in {1, 2}: a(y)"), [("set-order", 3)]),
    "over a set by name": (inside("s = set(x)\nfor y in s: a(y)"), [("set-order", 4)]),
    "over a difference": (inside("s = set(x)\nreturn [a(y) for y in s - {1}]"), [("set-order", 4)]),
    "a list of a set": (inside("return list(frozenset(x))"), [("set-order", 3)]),
    "text of a set": (inside("return ', '.join({y for y in x})"), [("set-order", 3)]),
    "an unpacked set": (inside("return a(*{1, 2})"), [("set-order", 3)]),
    "a typo in a task's name": (inside("return aa()"), [("undefined", 3)]),
    "a name twice": (inside("y = [nope for z in x]\nreturn nope"), [("undefined", 3)]),
    "a name of another function": ("def g():\n    y = 1\n" + inside("return y"), [("undefined", 5)]),
    "one of a class": ("class K:\n    y = 1\n    def m(self):\n        return y\n", [("undefined", 4)]),
    "one that the module lacks": ("y = nope\n", [("undefined", 1)]),
    "an annotation that is evaluated": ("y: Part = 1\n", [("undefined", 1)]),
    "beside what only looks like making names": (inside("setattr(x, 'y', vars(x))\nreturn y"), [("undefined", 4)]),
    "beside a function of such a name": (
        "def exec(x):\n    return x\n" + inside("exec(1)\nreturn y"),
        [("undefined", 6)],
    ),
    "in a try for something else": (inside("try:\n    str(y)\nexcept KeyError:\n    pass"), [("undefined", 4)]),
    "a syntax error": ("def f(a:\n", [("syntax", 1)]),
}
RESULTS = {
    "is None": (inside("r = a()\nreturn r is None"), [("is", 4)]),
    "a call that is not None": (inside("if a() is not None: return 1"), [("is", 3)]),
    "everything is caught": (inside("try:\n    x()\nexcept:\n    pass"), [("bare-except", 5)]),
    "BaseException": (inside("try:\n    x()\nexcept BaseException:\n    pass"), [("bare-except", 5)]),
    "a call in a try": (inside("try:\n    r = a()\nexcept ValueError:\n    r = b()\nreturn r"), [("try-call", 3)]),
    "one by one": (inside("return sum(a(y) for y in x)"), [("one-by-one", 3)]),
    "one by one with map": (inside("return any(map(a, x))"), [("one-by-one", 3)]),
    "right before the end": (inside("r = a()\nb('done')\nreturn r"), [("never-starts", 4)]),
    "a set as an argument": (inside("return a({1, 2})"), [("not-json", 3)]),
    "bytes by name": (inside("return a(data=b'x')"), [("not-json", 3)]),
    "a function": (inside("return a(lambda: 1)"), [("not-json", 3)]),
    "of a class": (
        """
        class F:
            def __init__(self, a):
                self.a = a
            def __call__(self):
                return sum(self.a(x) for x in range(3))
        """,
        [("one-by-one", 5)],
    ),
    "an async factory": ("async def f(a):\n    return lambda: a()", [("parameters", 1)]),
}
LEFT_ALONE = {
    "what there is": "import json, re, collections.abc\nfrom urllib.parse import quote\nfrom datetime import timedelta\nfrom flowy import *",
    "sorted": inside("s = set(x)\nreturn [a(y) for y in sorted(s)]"),
    "a set for what it is for": inside("s = {1, 2}\nreturn a([y for y in x if y in s], len(s), sum(s), max(s))"),
    "a set out of a set": inside("return a(sorted({y for y in {1, 2}}))"),
    "a name that is a list later": inside("s = set()\ns = [1]\nfor y in s: a(y)"),
    "a method of that name": inside("x.open()\nx.time.sleep()\nx.id(1)"),
    "a parameter of that name": "def f(open, input):\n    return lambda: open(input('x'))",
    "is between plain values": inside("y = None\nreturn y is None or x is None"),
    "a result that may be something else": inside("r = None\nif x: r = a()\nreturn r is None"),
    "a list of calls": inside("return sum([a(y) for y in x])"),
    "a wait in a try": inside("try:\n    r = a()\n    x(r)\nexcept ValueError:\n    r = b()\nreturn r"),
    "try and finally": inside("try:\n    r = a()\nfinally:\n    y = 1\nreturn r"),
    "except Exception": inside("try:\n    x()\nexcept Exception:\n    pass"),
    "a call before the last one": inside("b('begun')\nreturn a()"),
    "a call before a wait": inside("b('begun')\nreturn str(x)"),
    "a name that another function makes": "def g():\n    global y\n    y = 1\n" + inside("return y"),
    "names that are made": inside("return y", "globals()['y'] = 1\n"),
    "names that may not be there": "try:\n    unicode\nexcept NameError:\n    unicode = str\n",
    "an import that is global": "def g():\n    global math\n    import math\n" + inside("return math.pi"),
    "a walrus in a comprehension": "[z := y for y in (1, 2)]\n" + inside("return z"),
    "an annotation that nobody evaluates": inside("y: Part = 1\nreturn y"),
    "all of a module": inside("return sqrt(4)", "from math import *\n"),
    "names of every module": inside("return __name__ + __file__"),
    "names of a class": "class K:\n    y = 1\n    z = y\n    n = __qualname__\n    def m(self):\n        return __class__, super().m()\n",
    "a name that is defined below": inside("return g()") + "\ndef g():\n    return 1\n",
    "what an except and a with name": inside(
        "try:\n    x()\nexcept ValueError as error:\n    return str(error)\nwith x() as y:\n    return y"
    ),
    "a walrus and a match": inside(
        "if (n := x) and True:\n    match x:\n        case [first, *rest]:\n            return n, first, rest"
    ),
    "a helper that is no factory": "def f(x):\n    return sum(x(i) for i in range(3))",
}
CASES = {**WORLD, **RESULTS}


@pytest.mark.parametrize(("code", "expected"), CASES.values(), ids=CASES)
def test_found(code: str, expected: list[tuple[str, int]]) -> None:
    assert found(code) == expected


MIXED = """
import time
import requests

def fetch(url):
    time.sleep(1)
    return open(requests.get(url)).read()

def main(fetch):
    def run(x):
        time.sleep(2)
        return fetch(x)
    return run
"""
RECURSIVE = """
def tree(tree, leaf):
    def run(n):
        open("x")
        return tree(n - 1)
    return run
"""


def test_of_a_file_with_activities_only_the_workflows_are_judged() -> None:
    assert found(MIXED) == [("forbidden", 10)]


def test_a_factory_that_is_a_task_is_no_activity() -> None:
    assert found(RECURSIVE) == [("forbidden", 3)]


MEANT = {
    "gret": "nothing defines 'gret'; do you mean greet?",
    "prnt": "nothing defines 'prnt'; do you mean print?",
    "quite_another": "nothing defines 'quite_another'",
}


@pytest.mark.parametrize("name", MEANT)
def test_what_may_have_been_meant(name: str) -> None:
    code = f"def f(greet):\n    def workflow(x):\n        return {name}(greet(x))\n    return workflow\n"
    (finding,) = lint(Source(code=code))
    assert (finding.message, finding.severity) == (MEANT[name], "error")


@pytest.mark.parametrize("code", LEFT_ALONE.values(), ids=LEFT_ALONE)
def test_left_alone(code: str) -> None:
    compile(code, "x", "exec")
    assert found(code) == []


# -- code and manifest ----------------------------------------------------------------------------------------------


def manifest(source: str, *tasks: object, **spec: object) -> dict[str, Any]:
    """A Workflow of this source; a task is its name or its whole spec."""
    whole = [task if isinstance(task, dict) else {"name": task, "activity": {"image": "i"}} for task in tasks]
    code = {
        "source": textwrap.dedent(source).lstrip("\n"),
        **({"entrypoint": spec.pop("entrypoint")} if "entrypoint" in spec else {}),
    }
    return {
        "apiVersion": "flowy.dev/v1alpha1",
        "kind": "Workflow",
        "metadata": {"name": "w"},
        "spec": {"code": code, "tasks": whole, **spec},
    }


TWO = "def one(a):\n    return lambda: a()\n\n\ndef two(b):\n    return lambda: b()\n"
CHILD = {"name": "b", "workflow": {"entrypoint": "two"}}
MANIFESTS: dict[str, tuple[dict[str, Any], list[tuple[str, int | None]]]] = {
    "a task that is missing": (manifest("def f(a, b):\n    return lambda: a()", "a"), [("unknown-task", 1)]),
    "a task too many": (manifest("def f(a):\n    return lambda: a()", "a", "b"), [("unused-task", None)]),
    "one that may be missing": (manifest("def f(a, b=None):\n    return lambda: a()", "a"), []),
    "any that come": (manifest("def f(a, **rest):\n    return lambda: a()", "a", "b"), []),
    "positional ones": (
        manifest("def f(a, /, *b):\n    return lambda: a()", "a"),
        [("unused-task", None), ("parameters", 1), ("parameters", 1)],
    ),
    "none that could be meant": (manifest("x = 1", "a"), [("entrypoint", None), ("unused-task", None)]),
    "several that could be meant": (manifest(TWO, "a", "b"), [("entrypoint", None)]),
    "one that isn't there": (manifest(TWO, "a", "b", entrypoint="three"), [("entrypoint", None)]),
    "one of several": (manifest(TWO, "a", "b", entrypoint="one"), []),
    "a sub-workflow": (manifest(TWO.replace("one(a)", "one(a, b)"), "a", CHILD, entrypoint="one"), []),
    "a sub-workflow that isn't there": (
        manifest(TWO, "a", {"name": "b", "workflow": {"entrypoint": "three"}}, entrypoint="one"),
        [("entrypoint", None)],
    ),
    "a class": (
        manifest("class F:\n    def __init__(self, a, b): ...\n    def __call__(self): ...", "a"),
        [("unknown-task", 2)],
    ),
    "a field that isn't there": (
        manifest("def f(a):\n    return a", {"name": "a", "activity": {"image": "i", "comand": ["x"]}}),
        [("spec", None)],
    ),
    "a spec that can't be run": (manifest("def f(a):\n    return a", {"name": "a"}), [("spec", None)]),
}


@pytest.mark.parametrize(("body", "expected"), MANIFESTS.values(), ids=MANIFESTS)
def test_code_and_manifest(body: dict[str, Any], expected: list[tuple[str, int | None]], offline: Shell) -> None:
    text = yaml.safe_dump(body)
    done = offline("lint", "-", "-o", "json", stdin=text)
    told = json.loads(done.stdout)
    lines = [(finding["rule"], finding["sourceLine"]) for finding in told]
    assert sorted(lines, key=str) == sorted(expected, key=str)
    assert done.exit_code == bool(expected)


@pytest.mark.parametrize("name", [name for name, (_, expected) in MANIFESTS.items() if "spec" not in dict(expected)])
def test_what_is_said_of_tasks_is_what_the_decider_says(name: str) -> None:
    body, expected = MANIFESTS[name]
    spec = body["spec"]
    code, tasks = spec["code"], [task["name"] for task in spec["tasks"]]
    decision = decide((code["source"], code.get("entrypoint")), tasks=tasks)
    refused = decision.error is not None and decision.error["type"] in {"TasksMismatch", "EntrypointNotFound"}
    assert refused == (bool(expected) and name != "a sub-workflow that isn't there")


def activity(**fields: object) -> dict[str, Any]:
    return {"name": "a", "activity": {"image": "i"}, **fields}


RETRIES: dict[str, tuple[dict[str, Any], dict[str, Any], bool]] = {
    "of timeouts, of which there is none": (activity(retry={"maxAttempts": 2}), {}, True),
    "by the defaults": (activity(), {"retry": {"maxAttempts": 2}}, True),
    "of a start that isn't timed": (activity(retry={"when": ["ScheduleToStart", "Timeout"]}), {}, True),
    "of failures": (activity(retry={"when": ["Error"]}), {}, False),
    "of failures by the defaults": (activity(retry={"maxAttempts": 2}), {"retry": {"when": ["Error"]}}, False),
    "of a timeout": (activity(retry={"maxAttempts": 2}, timeouts={"startToCloseSeconds": 5}), {}, False),
    "of silence": (activity(retry={"maxAttempts": 2}), {"timeouts": {"heartbeatSeconds": 5}}, False),
    "of a start": (activity(retry={"when": ["ScheduleToStart"]}, timeouts={"scheduleToStartSeconds": 5}), {}, False),
    "of nothing, by word": (activity(retry={"when": []}), {}, False),
    "one attempt": (activity(retry={"maxAttempts": 1}), {}, False),
    "none asked for": (activity(), {}, False),
}


@pytest.mark.parametrize(("task", "defaults", "is_told"), RETRIES.values(), ids=RETRIES)
def test_a_retry_of_what_cannot_happen(
    task: dict[str, Any], defaults: dict[str, Any], is_told: bool, offline: Shell
) -> None:
    body = manifest("def f(a):\n    return a", task, defaults=defaults)
    done = offline("lint", "-", "-o", "json", stdin=yaml.safe_dump(body))
    told = [(finding["rule"], finding["severity"]) for finding in json.loads(done.stdout)]
    assert told == ([("never-retried", "warning")] if is_told else [])
    assert done.exit_code == 0


def test_lines_are_those_of_the_file(offline: Shell, tmp_path: Path) -> None:
    path = tmp_path / "w.yaml"
    path.write_text("""\
# two of them
apiVersion: v1
kind: List
items:
- apiVersion: flowy.dev/v1alpha1
  kind: Workflow
  metadata: {name: w}
  spec:
    tasks:
    - name: a
      activity: {image: i}
    - activity: {image: i}
      name: surplus
    code:
      source: |

        import requests

        def f(a, b):
            return lambda: a()
---
apiVersion: flowy.dev/v1alpha1
kind: WorkflowDefinition
metadata: {name: d}
spec:
  code: {source: "def f(a):\\n    import os\\n    return a"}
  tasks: [{name: a, activity: {image: i}}]
""")
    assert offline("lint", str(path)).stdout.splitlines() == [
        f"{path}:13: error: the task 'surplus' is given, and no factory of the source asks for it [unused-task]",
        f"{path}:17: error: module 'requests' is not available to workflow code: let a task do what needs it [import]",
        f"{path}:19: error: the factory asks for the task 'b', and spec.tasks has a, surplus [unknown-task]",
        f"{path}: error: module 'os' is not available to workflow code: let a task do what needs it (WorkflowDefinition d, line 2) [import]",
    ]


def test_warnings_alone_are_no_failure(offline: Shell, tmp_path: Path) -> None:
    path = tmp_path / "w.py"
    path.write_text(inside("return sum(a(y) for y in x)"))
    assert "w.py:3: warning: sum() looks at each result" in offline.ok("lint", str(path))


def test_files_without_code(offline: Shell) -> None:
    alone = "apiVersion: flowy.dev/v1alpha1\nkind: Workflow\nmetadata: {name: w}\nspec: {definitionRef: {name: d}}"
    assert offline.ok("lint", "-", stdin=alone) == ""
    for text in ("", "apiVersion: v1\nkind: Pod\nmetadata: {name: p}"):
        said = offline.fails(2, "lint", "-", stdin=text)
        assert "standard input holds no Workflow and no WorkflowDefinition" in said
    assert "can't be read" in offline.fails(2, "lint", "none.yaml")


def test_a_file_that_cannot_be_read_hides_nothing_of_the_others(offline: Shell, tmp_path: Path) -> None:
    path = tmp_path / "w.py"
    path.write_text(inside("return sum(a(y) for y in x)"))
    done = offline("lint", "none.yaml", str(path), "neither.yaml")
    assert done.exit_code == 2
    assert "w.py:3: warning" in done.stdout
    assert "none.yaml can't be read" in done.stderr
    assert "neither.yaml can't be read" in done.stderr


NO_CODE: dict[str, tuple[str, str]] = {
    "of a definition": (
        "{definitionRef: {name: d}, paralelism: 1}",
        "spec.paralelism is unknown: do you mean parallelism?",
    ),
    "a typo in the code's name": ("{code: {sorce: x}}", "spec.code.sorce is unknown: do you mean source?"),
}


@pytest.mark.parametrize(("spec", "told"), NO_CODE.values(), ids=NO_CODE)
def test_a_manifest_without_code_is_looked_at_too(offline: Shell, spec: str, told: str) -> None:
    alone = f"apiVersion: flowy.dev/v1alpha1\nkind: Workflow\nmetadata: {{name: w}}\nspec: {spec}"
    done = offline("lint", "-", stdin=alone)
    assert (done.exit_code, done.stdout) == (1, f"-: error: {told} [spec]\n")


@pytest.mark.parametrize(
    "path", sorted((ROOT / "examples").rglob("*.yaml")), ids=lambda path: path.parent.name + "/" + path.name
)
def test_the_examples_are_clean(path: Path, offline: Shell) -> None:
    if "source:" in path.read_text():
        done = offline("lint", str(path))
        assert (done.stdout, done.stderr, done.exit_code) == ("", "nothing to say\n", 0)


def test_every_rule_is_tried() -> None:
    tables: Sequence[Sequence[tuple[str, Any]]] = [rows for _, rows in CASES.values()] + [
        rows for _, rows in MANIFESTS.values()
    ]
    tried = {rule for rows in tables for rule, _ in rows} | {"never-retried"}  # by the table of retries
    assert tried == {str(rule) for rule in Rule}
