"""The pages of the documentation as tests read them: their fenced blocks and their tables."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

DOCS = Path(__file__).parents[2] / "docs"

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
_CODE = re.compile(r"`([^`]*)`")


class Block(NamedTuple):
    """A fenced block: its language, its text, and the line of the page on which the text begins."""

    language: str
    text: str
    line: int


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def blocks(name: str, language: str) -> Iterator[Block]:
    """The blocks of one language, in their order."""
    text = page(name)
    for found in _FENCE.finditer(text):
        if found[1] == language:
            yield Block(language, found[2], text.count("\n", 0, found.start(2)) + 1)


def section(name: str, heading: str) -> str:
    """The text below a heading, up to the next one of any level."""
    text = _FENCE.sub(lambda block: re.sub("^#", " ", block[0], flags=re.MULTILINE), page(name))
    headings = list(_HEADING.finditer(text))
    for found, following in zip(headings, [*headings[1:], None], strict=True):
        if found[1] == heading:
            return text[found.end() : following.start() if following else None]
    raise AssertionError(f"{name} has no heading {heading!r}")


def rows(text: str) -> list[list[str]]:
    """The rows of all tables in a text, without heads."""
    found: list[list[str]] = []
    lines = text.splitlines()
    for n, line in enumerate(lines):
        if (
            not line.startswith("|")
            or line.startswith("| ---")
            or (n + 1 < len(lines) and lines[n + 1].startswith("| ---"))
        ):
            continue
        found.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return found


def codes(text: str) -> list[str]:
    """What stands between backticks."""
    return _CODE.findall(text)


def table(name: str, heading: str) -> Mapping[str, list[str]]:
    """The tables of a section: the rest of each row by the first backticked word of its first cell."""
    return {codes(first)[0]: rest for first, *rest in rows(section(name, heading)) if codes(first)}
