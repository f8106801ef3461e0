"""The command line over files that somebody else has written: it says what is wrong in a sentence, and shows nothing that bites."""

import json
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import yaml
from click.testing import CliRunner, Result
from hypothesis import strategies as st

from flowy_cli.errors import ExitCode
from flowy_cli.main import flowy
from flowy_cli.options import Desk
from tests.fuzz.objects import PROGRAMS, events
from tests.fuzz.texts import MARK, json_values, texts

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
_ACTIVE = ("script", "img", "iframe", "object", "embed", "link", "base", "meta", "form", "style", "a", "use", "image")

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

_places = st.sampled_from(
    [[], [2, 0, 2], [2, 0, 3], [2, 0, 4], [2, 1, 4], [2, 0, 3, 0, 0], [2, 0, 4, 0], [2, 0, 4, 10]]
)
"""Where a change begins: spec, status, conditions … of a recorded Workflow."""

_paths = st.builds(lambda place, path: [*place, *path], _places, st.lists(st.integers(0, 12), min_size=1, max_size=6))

_changes = st.fixed_dictionaries(
    {"path": _paths, "op": st.sampled_from(["set", "drop", "twice", "key"])},
    optional={"value": texts | json_values | events | st.sampled_from(PROGRAMS)},
)

commands = st.fixed_dictionaries(
    {"words": st.sampled_from(COMMANDS).map(list)},
    optional={"text": st.sampled_from(YAML) | texts},
) | st.fixed_dictionaries(
    {
        "words": st.sampled_from(COMMANDS).map(list),
        "base": st.sampled_from(BASES),
        "changes": st.lists(_changes, min_size=1, max_size=3),
    }
)
"""A file is `text`, or a recorded run with changes, each at the place where a path ends: the n-th of the n-th of …"""


def check(case: Mapping[str, Any]) -> None:
    """Raises if the command crashes, or shows what it must not."""
    done = _run(case["words"], _file(case))
    said = done.stdout + done.stderr
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code in set(ExitCode), done.exit_code
    assert "Traceback" not in done.stderr, done.stderr
    bad = {c for c in said if not (c.isprintable() or c in "\n\t")}
    if "json" in case["words"] or "yaml" in case["words"] or "report" in case["words"]:
        bad = {c for c in bad if ord(c) < 0xA0}  # what steers a terminal
    assert not bad, f"{bad} in {said!r}"
    if done.exit_code == ExitCode.DONE:
        _check_form(case, done.stdout)


def _check_form(case: Mapping[str, Any], shown: str) -> None:
    match case["words"]:
        case [*_, "json"]:
            json.loads(shown)
        case [*_, "yaml"]:
            yaml.safe_load(shown)
        case [*_, "svg"]:
            _check_svg(shown)
        case ["report", *_]:
            page = _Page(shown)
            assert not page.handlers, page.handlers
            if "base" in case:
                clean = _clean_tags(case["base"])
                for tag in ("script", "img", "iframe", "object", "embed", "base", "meta", "form"):
                    assert page.tags[tag] == clean[tag], f"{tag}: {page.tags[tag]}, not {clean[tag]}"
            assert f"{MARK}()" not in page.code, "a stranger's text is code"


def _check_svg(shown: str) -> None:
    for element in ET.fromstring(shown).iter():  # the file is ours
        tag = element.tag.rpartition("}")[2]
        assert tag not in {"script", "foreignObject", "image", "iframe"}, tag
        assert not [name for name in element.attrib if name.lower().startswith("on")], element.attrib


class _Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.handlers: list[str] = []
        self.code = ""
        self._in_script = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self._in_script = tag == "script"
        self.handlers += [f"{name}={value}" for name, value in attrs if name.startswith("on") or MARK in name]
        self.handlers += [str(value) for _, value in attrs if value and value.strip().lower().startswith("javascript:")]

    def handle_endtag(self, tag: str) -> None:
        self._in_script = False

    def handle_data(self, data: str) -> None:
        if self._in_script:
            self.code += data


@cache
def _clean_tags(base: str) -> Counter[str]:
    return _Page(_run(("report", "--unlocked"), (HISTORIES / f"{base}.json").read_text()).stdout).tags


def _run(words: Sequence[str], text: str) -> Result:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "run.yaml"
        file.write_bytes(text.encode())
        environment = {"HOME": folder, "KUBECONFIG": f"{folder}/none"}
        arguments = [words[0], str(file), *words[1:]]
        return CliRunner(env=environment).invoke(flowy, arguments, obj=Desk(now=lambda: NOW), prog_name="flowy")


def _file(case: Mapping[str, Any]) -> str:
    if "base" not in case:
        return str(case.get("text", ""))
    found = json.loads((HISTORIES / f"{case['base']}.json").read_text())
    for change in case["changes"]:
        _change(found, change)
    return json.dumps(found)


def _change(root: Any, change: Mapping[str, Any]) -> None:
    above: Any = None
    key: Any = None
    here = root
    for number in change["path"]:
        if not isinstance(here, dict | list) or not here:
            break
        keys = list(here) if isinstance(here, dict) else list(range(len(here)))
        above, key = here, keys[number % len(keys)]
        here = here[key]
    if above is None:
        return
    value = change.get("value")
    match change["op"], above:
        case "drop", _:
            del above[key]
        case "twice", list():
            above.insert(key, here)
        case "key", dict():
            above[str(value)] = above.pop(key)
        case _:
            above[key] = value
