"""Every link of the pages leads somewhere, and no page speaks of a machine or of what isn't there yet."""

import re

import pytest

from tests.docs.pages import DOCS, page

PAGES = [
    "README.md",
    "activities.md",
    "command-line.md",
    "comparison.md",
    "cookbook.md",
    "following-a-run.md",
    "installing.md",
    "operating.md",
    "reliability.md",
    "runbook.md",
    "security.md",
    "testing.md",
    "tutorial.md",
    "versioning.md",
    "writing-workflows.md",
]

_LINK = re.compile(r"\]\(([^)#]*)(?:#([^)]*))?\)")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


def _anchors(name: str) -> set[str]:
    """As GitHub makes them."""
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in _HEADING.findall(page(name))}


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name: str) -> None:
    for target, anchor in _LINK.findall(page(name)):
        assert (DOCS / (target or name)).exists(), target
        if anchor:
            assert anchor in _anchors(target or name), f"{target}#{anchor}"


@pytest.mark.parametrize("name", PAGES)
def test_no_page_speaks_of_what_is_not_there(name: str) -> None:
    words = r"/work/|LocalWorkflow|retry\.on\b"
    assert re.findall(words, page(name), re.IGNORECASE) == []
