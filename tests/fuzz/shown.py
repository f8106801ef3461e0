"""What a command may leave behind, whatever it was given: an exit code that means something, and nothing that bites."""

import json
from collections import Counter
from collections.abc import Sequence
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import yaml
from click.testing import Result

from flowy_cli.errors import ExitCode
from tests.fuzz.texts import MARK

_ASKED = frozenset((ExitCode.USAGE, ExitCode.NOT_THERE, ExitCode.CLUSTER, ExitCode.TIMED_OUT))
"""It didn't do what it was asked, and says why in a sentence. Of 1 that is no matter of course: it worked, and says no."""

_ACTIVE = ("script", "img", "iframe", "object", "embed", "base", "meta", "form")
_OWN = {"meta": 3, "script": 1}
"""Of the former what a report has by itself."""


def check(words: Sequence[str], done: Result) -> None:
    """Raise if the command crashed, or shows what it must not."""
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code in set(ExitCode), done.exit_code
    assert "Traceback" not in done.stderr, done.stderr
    for shown, is_for_programs in ((done.stdout, _is_for_programs(words)), (done.stderr, False)):
        bad = {c for c in shown if not (c.isprintable() or c in "\n\t")}
        if is_for_programs:
            bad = {c for c in bad if ord(c) < 0xA0}  # what steers a terminal
        assert not bad, f"{bad} in {shown!r}"
    if done.exit_code in _ASKED:
        _check_sentence(done.stderr)
    if done.exit_code == ExitCode.DONE:
        _check_form(words, done.stdout)


def _is_for_programs(words: Sequence[str]) -> bool:
    return not {"json", "yaml", "report", "export", "wait", "run"}.isdisjoint(words)


def _check_sentence(said: str) -> None:
    """One line says what is wrong; what stands below it is indented, so that no stranger's text looks like ours."""
    lines = said.split("\n")
    first = [n for n, line in enumerate(lines) if line.startswith(("flowy: ", "Error: "))]
    assert len(first) == 1, said
    assert all(not line or line.startswith("  ") for line in lines[first[0] + 1 :]), said


def _check_form(words: Sequence[str], shown: str) -> None:
    match words:
        case [*_, "json"]:
            json.loads(shown)
        case [*_, "yaml"] | ["export", *_]:
            yaml.safe_load(shown)
        case [*_, "svg"]:
            _check_svg(shown)
        case ["report", *_]:
            page = _Page(shown)
            assert not page.handlers, page.handlers
            assert {tag: page.tags[tag] for tag in _ACTIVE if page.tags[tag]} == _OWN, page.tags
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
