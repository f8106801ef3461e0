"""What the site has beside the pages in `docs`: whatever they link to, such as examples and their manifests.

A hook of MkDocs. On GitHub the pages link to files of the repository; here those become pages, too: a source file is shown
as it is, a folder is its README. What can't be a page stays text.
"""

import posixpath
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

_FENCE = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!\\)(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s#]*)(#[^)\s]*)?\)")
_LANGUAGES = {".go": "go", ".py": "python", ".yaml": "yaml", ".yml": "yaml", ".sh": "sh", ".json": "json"}


def on_files(files: Any, config: Any) -> Any:
    """Add what the pages lead to (MkDocs calls this)."""
    from mkdocs.structure.files import File  # noqa: PLC0415 - of the site's own environment

    own = {file.src_uri for file in files}
    for uri, text in pages(own).items():
        if uri in own:
            files.remove(files.get_file_from_path(uri))
        files.append(File.generated(config, uri, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Let the links of a page lead to where their targets are on the site (MkDocs calls this)."""
    return rewritten(markdown, repository_path(page.file.src_uri))


def pages(own: set[str]) -> Mapping[str, str]:
    """The pages that come from outside of `docs`, by their place on the site. The repository's README is the first page."""
    found = {"README.md": (ROOT / "README.md").read_text(encoding="utf-8")}
    ahead = [
        (repository_path(uri), found.get(uri) or (ROOT / "docs" / uri).read_text(encoding="utf-8"))
        for uri in sorted(own | set(found))
        if uri.endswith(".md")
    ]
    while ahead:
        place, text = ahead.pop()
        for _, _, link, _ in _links(text):
            target = _target(place, link)
            if target is None or target.startswith("docs/") or site_path(target) in found:
                continue
            content = (ROOT / target).read_text(encoding="utf-8")
            found[site_path(target)] = content if target.endswith(".md") else _shown(target, content)
            if target.endswith(".md"):
                ahead.append((target, content))
    return found


def repository_path(uri: str) -> str:
    """Where a page of the site stands in the repository."""
    if uri == "README.md":
        return uri
    is_elsewhere = (ROOT / uri).is_file() or (ROOT / uri.removesuffix(".md")).is_file()
    return uri if is_elsewhere else f"docs/{uri}"


def site_path(target: str) -> str:
    """Where a file of the repository stands on the site."""
    if target == "docs/README.md":
        return "README.md"
    place = target.removeprefix("docs/")
    return place if place != target or target.endswith(".md") else f"{target}.md"


def rewritten(markdown: str, place: str) -> str:
    """The text of a page that stands at `place` in the repository, with links for the site."""
    return _outside_of_fences(markdown, lambda text: _LINK.sub(lambda found: _link(found, place), text))


def _link(found: re.Match[str], place: str) -> str:
    mark, words, link, anchor = found[1], found[2], found[3], found[4] or ""
    if not link or "://" in link or link.startswith("mailto:"):
        return found[0]
    target = _target(place, link)
    if target is None:
        return words
    to = posixpath.relpath(site_path(target), posixpath.dirname(site_path(place)) or ".")
    return f"{mark}[{words}]({to}{anchor})"


def _target(place: str, link: str) -> str | None:
    """The file of the repository that a link means; None if it is none that a page can show."""
    if not link or "://" in link or link.startswith("mailto:"):
        return None
    target = posixpath.normpath(posixpath.join(posixpath.dirname(place), link))
    if (ROOT / target / "README.md").is_file():
        return f"{target}/README.md"
    return target if (ROOT / target).is_file() else None


def _links(text: str) -> list[tuple[str, str, str, str]]:
    return [found for part in _FENCE.split(text)[::2] for found in _LINK.findall(part)]


def _outside_of_fences(text: str, change: Callable[[str], str]) -> str:
    return "".join(part if n % 2 else change(part) for n, part in enumerate(_FENCE.split(text)))


def _shown(target: str, content: str) -> str:
    language = _LANGUAGES.get(Path(target).suffix, "text")
    return f"# {target}\n\n```{language}\n{content.rstrip()}\n```\n"
