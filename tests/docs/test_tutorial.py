"""The tutorial, typed by a test: its files are written, its commands are run, what they print is what it shows."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.docs.pages import DOCS, page

PAGE = "tutorial.md"
_BLOCK = re.compile(r"^```(python|yaml|console)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SLEEP = "time.sleep(1)", "time.sleep(0.01)"


class Desk:
    """A folder in which somebody follows the page."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        programs = Path(sys.executable).parent
        self.environment = os.environ | {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        }

    def write(self, text: str) -> None:
        head, _, body = text.partition("\n")
        name, _, part = head.removeprefix("# ").partition(": ")
        path = self.folder / name
        if not part:
            path.write_text(body.replace(*_SLEEP).replace("sleep 1", "sleep 0.01"))
            return
        before = path.read_text()
        if part == "resize":  # "let `resize` begin with"
            changed = re.sub(rf"(?m)^(def {part}\(.*\n)", lambda found: found[0] + body, before)
        else:  # a function instead of the one that is there; imports go to the top
            imports, _, function = body.partition("\n\n\n")
            changed = f"{imports}\n" + re.sub(
                rf"(?ms)^def {part}\(.*?^    return workflow\n", lambda _: function, before
            )
        assert changed != before
        path.write_text(changed)

    def type(self, command: str) -> tuple[int, str]:
        done = subprocess.run(
            shlex.split(command), cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout + done.stderr


def _typed(text: str) -> Iterator[tuple[str, str]]:
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, shown = part.partition("\n")
        yield command, shown.strip()


def test_whoever_follows_it_sees_what_it_shows(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    commands = 0
    for language, text in _BLOCK.findall(page(PAGE)):
        if language != "console":
            desk.write(text)
            continue
        for command, shown in _typed(text):
            commands += 1
            status, printed = desk.type(command)
            if command.startswith("pytest"):
                assert re.search(rf"^{shown} in [\d.]+s$", printed, re.MULTILINE), printed
            else:
                pattern = re.escape(shown).replace("…", ".*")  # the rest of a traceback
                assert re.fullmatch(pattern, printed.strip(), re.DOTALL), f"{command}\n{printed}"
            assert status == (1 if "Traceback" in shown else 0)
    assert commands == 9


def test_the_manifest_and_the_code_are_the_examples() -> None:
    manifest = (DOCS.parent / "examples" / "album" / "workflow.yaml").read_text()
    assert f"```yaml\n# workflow.yaml\n{manifest}```" in page(PAGE)
    code = next(text for _, text in _BLOCK.findall(page(PAGE)) if text.startswith("# album.py: album\n"))
    indented = "".join(f"      {line}".rstrip() + "\n" for line in code.splitlines()[1:])
    assert indented in manifest


def test_the_commands_for_the_cluster_are_there() -> None:
    from flowy_cli.main import flowy  # noqa: PLC0415

    named = re.findall(r"`?flowy (start|describe|timeline|logs|report|replay) ", page(PAGE))
    assert set(named) <= set(flowy.commands)
    assert len(set(named)) == 6


def test_readme_leads_here() -> None:
    assert "(docs/tutorial.md)" in (DOCS.parent / "README.md").read_text()
