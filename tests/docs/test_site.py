"""The site: every page is in its navigation, and what pages link to outside of `docs` is on it, too. `make docs` builds it."""

import posixpath
import re
import tomllib
from collections.abc import Iterator

import pytest
import yaml

from tests.docs.pages import DOCS
from tests.repo.pins import ROOT, pins
from website import links

OWN = {str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")}
PAGES = links.pages(OWN)


class _Loader(yaml.SafeLoader):
    """Without the one function that the configuration names."""


_Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda *_: None)


def _navigation(entries: list[dict[str, str | list[dict[str, str]]]]) -> Iterator[str]:
    for entry in entries:
        for place in entry.values():
            if isinstance(place, str):
                yield place
            else:
                yield from _navigation(place)  # type: ignore[arg-type]


def test_every_page_is_in_the_navigation() -> None:
    config = yaml.load((ROOT / "website" / "mkdocs.yml").read_text(), _Loader)
    named = list(_navigation(config["nav"]))
    assert len(named) == len(set(named))
    assert {page for page in OWN if not page.startswith("design/")} <= set(named)
    assert set(named) <= OWN | set(PAGES)


REWRITTEN = {
    "a page beside": ("docs/local.md", "[a](testing.md#x)", "[a](testing.md#x)"),
    "a page of its own": ("docs/local.md", "[a](#here)", "[a](#here)"),
    "an example's folder": ("docs/local.md", "[a](../examples/saga/)", "[a](examples/saga/README.md)"),
    "a source file": ("docs/local.md", "[a](../examples/demo_local.py)", "[a](examples/demo_local.py.md)"),
    "from an example to a page": ("examples/saga/README.md", "[a](../../docs/local.md#b)", "[a](../../local.md#b)"),
    "from an example to its manifest": ("examples/saga/README.md", "[a](workflow.yaml)", "[a](workflow.yaml.md)"),
    "the list of pages is the first page": ("README.md", "[a](docs/README.md)", "[a](README.md)"),
    "from the first page": ("README.md", "![a](docs/images/video.svg)", "![a](images/video.svg)"),
    "a folder without a page stays text": ("examples/README.md", "([a](../tests/examples/))", "(a)"),
    "an address": ("README.md", "[a](https://example.com/b.md)", "[a](https://example.com/b.md)"),
    "code in the words": ("docs/local.md", "[`a[0]`](../SECURITY.md)", "[`a[0]`](SECURITY.md)"),
    "no link in a fence": ("README.md", "```\n[a](docs/local.md)\n```", "```\n[a](docs/local.md)\n```"),
}


@pytest.mark.parametrize(("place", "text", "expected"), REWRITTEN.values(), ids=REWRITTEN)
def test_links_lead_to_their_places_on_the_site(place: str, text: str, expected: str) -> None:
    assert links.rewritten(text, place) == expected


@pytest.mark.parametrize("uri", sorted(OWN | set(PAGES)))
def test_every_link_of_the_site_leads_somewhere(uri: str) -> None:
    place = links.repository_path(uri)
    text = links.rewritten(PAGES.get(uri) or (DOCS / uri).read_text(encoding="utf-8"), place)
    prose = re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)#\s]+)", prose):
        target = posixpath.normpath(posixpath.join(posixpath.dirname(uri), link))
        assert "://" in link or target in OWN | set(PAGES) or (DOCS / target).is_file(), f"{uri}: {link}"


def test_a_source_file_is_shown_as_it_is() -> None:
    manifest = (ROOT / "examples" / "saga" / "workflow.yaml").read_text()
    assert PAGES["examples/saga/workflow.yaml.md"] == f"# examples/saga/workflow.yaml\n\n```yaml\n{manifest}```\n"


def test_the_pins_are_whole_and_agree_with_the_others() -> None:
    found = pins("website/pins.txt")
    assert all(found.values())
    assert "://" not in (ROOT / "website" / "pins.txt").read_text()
    names = {name for name, _ in found}
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]["docs"]
    assert {re.split(r"[<>=]", one)[0] for one in wanted} <= names
    shared = {pin for pin in pins("constraints.txt") if pin[0] in names}
    assert shared <= set(found), "run make pins"
