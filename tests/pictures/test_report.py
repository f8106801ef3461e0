"""The page: complete, escaped, and allowed nothing but its own style and script."""

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest

from flowy_cli.pictures.execution import Execution
from flowy_cli.pictures.report import SHOWN_CHARS, report
from tests.pictures.recordings import NAMES, call, execution, recording, wide
from tests.pictures.test_svg import HOSTILE, hostile


class Page(HTMLParser):
    """What a browser would make of the page, as far as tests ask."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.raw: dict[str, str] = {}
        self.texts: list[str] = []
        self._inside: str | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = None

    def handle_data(self, data: str) -> None:
        if self._inside in {"style", "script"}:
            self.raw[self._inside] = self.raw.get(self._inside, "") + data
        else:
            self.texts.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def hash_of(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@pytest.mark.parametrize("run", [hostile(), recording("nested"), wide(20)], ids=["hostile", "nested", "wide"])
def test_the_policy_allows_the_own_style_and_script_alone(run: Execution) -> None:
    page = Page(report(run))
    policy = next(meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    script, style = hash_of(page.raw["script"]), hash_of(page.raw["style"])
    expected = f"default-src 'none'; style-src {style}; script-src {script}; base-uri 'none'; form-action 'none'"
    assert policy == expected
    assert len(page.all("script")) == len(page.all("style")) == 1
    for tag, attributes in page.tags:
        assert tag not in {"img", "iframe", "object", "embed", "base", "form"}
        assert tag != "link" or attributes.get("rel") == "expect"  # which loads nothing
        assert not [name for name in attributes if name.startswith("on") or name in {"style", "src"}], tag
        assert (attributes.get("href") or "#").startswith("#")


def test_nothing_of_a_run_becomes_markup() -> None:
    assert report(hostile()).encode().isascii() is False  # and it can be encoded at all
    harmless = report(execution(hostile().calls, reason="r", source="s", flow="f", arguments="1", result="2"))
    assert len(Page(report(hostile())).all("script")) == 1
    assert "<script>alert" not in report(hostile())
    assert {tag for tag, _ in Page(report(hostile())).tags} == {tag for tag, _ in Page(harmless).tags}
    assert any("<script>alert(1)</script>" in text for text in Page(report(hostile())).texts)


@pytest.mark.parametrize("name", NAMES)
def test_each_call_has_its_task_with_what_is_known(name: str) -> None:
    run = recording(name)
    page = Page(report(run))
    tasks = [each["data-calls"] for each in page.all("details")]
    assert tasks == [f"{below.name}/{each.key}" for below in run.everything() for each in below.calls]
    text = "\n".join(page.texts)
    for below in run.everything():
        for each in below.calls:
            for attempt in each.attempts:
                assert attempt.name in text
            assert each.reason in text
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_what_is_left_out_is_said() -> None:
    run = execution([call("a-0", end=1, result="x" * (SHOWN_CHARS + 1234))])
    assert "… 1,234 further characters are not in this page" in report(run)


def test_the_command_of_an_attempt_is_fit_for_a_shell() -> None:
    text = report(recording("video"))
    assert re.search(r"kubectl logs -n ns job/tour-shoot-0-[a-z0-9]{10} --tail=-1", text)
    assert HOSTILE not in text
