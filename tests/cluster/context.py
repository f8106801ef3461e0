"""What goes into an image build, reduced to a hash: the folder without what .dockerignore leaves out, Dockerfile, arguments."""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

ALWAYS_IGNORED = (".git", "**/__pycache__")  # change without any change to the image


def key(folder: Path, dockerfile: Path, build_args: Mapping[str, str], bases: Mapping[str, str]) -> str:
    """Return a name for the image's content; `bases` holds the same for every image it builds on."""
    hashed = hashlib.sha256(repr([sorted(build_args.items()), sorted(bases.items())]).encode())
    hashed.update(dockerfile.read_bytes())
    for path in files(folder):
        relative = path.relative_to(folder)
        if path.is_symlink():
            hashed.update(f"\0link {relative}\0{path.readlink()}".encode())
        else:
            hashed.update(f"\0file {relative}\0{path.stat().st_mode & 0o777:o}\0".encode() + path.read_bytes())
    return hashed.hexdigest()[:32]


def files(folder: Path) -> Iterator[Path]:
    """Yield the files a build may copy, in a fixed order."""
    ignore = folder / ".dockerignore"
    patterns = [*ALWAYS_IGNORED, *(ignore.read_text().splitlines() if ignore.exists() else ())]
    rules = [_rule(line) for line in patterns if line.strip() and not line.startswith("#")]
    may_return = any(not ignored for ignored, _ in rules)
    for parent, names, leaves in os.walk(folder):
        here = Path(parent)
        names.sort()
        if not may_return:  # else a later `!` pattern may bring back something deep inside an ignored folder
            names[:] = [name for name in names if not _ignored((here / name).relative_to(folder), rules)]
        links = [name for name in names if (here / name).is_symlink()]
        for name in sorted([*leaves, *links]):
            path = here / name
            if not _ignored(path.relative_to(folder), rules) and (path.is_symlink() or path.is_file()):
                yield path


def from_lines(dockerfile: str, build_args: Mapping[str, str]) -> list[str]:
    """Return the images that the FROM lines name, arguments filled in, without earlier stages of the same file."""
    values: dict[str, str] = {}
    stages: set[str] = set()
    images: list[str] = []
    for line in dockerfile.replace("\\\n", " ").splitlines():
        words = line.split()
        match [words[0].upper() if words else "", *words[1:]]:
            case ["ARG", declaration] if not images:  # later ARGs belong to a stage and do not act on FROM
                name, _, default = declaration.partition("=")
                values[name] = build_args.get(name, default.strip("\"'"))
            case ["FROM", *rest]:
                rest = [word for word in rest if not word.startswith("--")]
                image = _fill(rest[0], values)
                if image not in stages and image != "scratch" and image not in images:
                    images.append(image)
                if len(rest) > 2:  # FROM image AS stage
                    stages.add(rest[2])
            case _:
                continue
    return images


def _fill(text: str, values: Mapping[str, str]) -> str:
    return re.sub(r"\$\{(\w+)(?::-([^}]*))?\}|\$(\w+)", lambda m: values.get(m[1] or m[3], "") or (m[2] or ""), text)


def _rule(line: str) -> tuple[bool, re.Pattern[str]]:
    """Translate a .dockerignore line: whether it ignores (or, with `!`, takes back), and the paths it means."""
    ignores = not line.startswith("!")
    pattern = line.strip().lstrip("!").strip("/")
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", pattern)
    wild = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return ignores, re.compile("".join(wild.get(part, re.escape(part)) for part in parts) + "(?:/.*)?")


def _ignored(path: Path, rules: list[tuple[bool, re.Pattern[str]]]) -> bool:
    ignored = False
    for ignores, pattern in rules:  # the last one that fits decides
        if pattern.fullmatch(path.as_posix()):
            ignored = ignores
    return ignored
