"""The page of the command line: what it shows is what is printed, and what it names is there."""

import json
import re
import shlex
from pathlib import Path

import pytest

from flowy_cli.arguments import argument
from flowy_cli.errors import ExitCode, Unreadable
from flowy_cli.linting.findings import Finding, Rule
from flowy_cli.main import flowy
from flowy_cli.reference import page as reference
from tests.cli.conftest import played, server, shell, store
from tests.cli.scene import VIDEO
from tests.cli.shell import Shell
from tests.docs.pages import DOCS, blocks, codes, page, rows, section

__all__ = ["played", "server", "shell", "store"]  # fixtures

PAGE = "command-line.md"

NEW_YAML = """\
apiVersion: flowy.dev/v1alpha1
kind: WorkflowDefinition
metadata: {name: news-v2}
spec:
  code:
    source: |

      def news(fetch, store, notify):
          def workflow(urls):
              if (first := fetch(urls[0])) is None or fetch(urls[1]) is None:
                  return None

              return [store(url) for url in set(urls)], notify(first)

          return workflow
  tasks:
  - {name: fetch, activity: {image: fetch}}
  - {name: store, activity: {image: store}}
"""


def typed() -> list[tuple[str, str]]:
    """The commands of the console blocks, and what is shown below each."""
    found: list[tuple[str, str]] = []
    for block in blocks(PAGE, "console"):
        for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
            command, _, shown = part.partition("\n")
            found.append((command, shown))
    return found


@pytest.mark.parametrize(("command", "shown"), typed(), ids=[command for command, _ in typed()])
def test_what_is_shown_is_printed(
    command: str, shown: str, shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("new.py").write_text(VIDEO.replace("encode(master, f)", "encode(master, f, 2)"))
    Path("new.yaml").write_text(NEW_YAML)
    program, *words = shlex.split(command)
    assert program == "flowy"
    assert shell(*words).output == shown


def _commands_in(text: str) -> list[list[str]]:
    return [
        shlex.split(found.split("|")[0].split(">")[0], comments=True)
        for found in re.findall(r"\bflowy ([a-z][^`\n)]*)", text)
    ]


def test_every_command_and_option_that_is_named_is_there() -> None:
    shown = "\n".join(block.text for block in blocks(PAGE, "sh")) + "\n".join(
        code for code in codes(re.sub(r"```.*?```", "", page(PAGE), flags=re.DOTALL)) if code.startswith("flowy ")
    )
    found = _commands_in(shown)
    assert len(found) > 20
    for name, *words in found:
        command = flowy.commands[name]
        options = {option for param in command.params for option in param.opts}
        assert {word for word in words if word.startswith("-") and word != "-"} <= options


def test_every_command_is_named() -> None:
    named = {words[0] for words in _commands_in(page(PAGE).replace("flowy COMMAND", ""))}
    assert set(flowy.commands) <= named


def test_the_exit_codes() -> None:
    listed = [int(row[0]) for row in rows(section(PAGE, "Start and wait")) if row[0].isdigit()]
    assert listed == sorted(ExitCode)


def test_the_rules_of_the_linter() -> None:
    listed = {rule: row[1] for row in rows(section(PAGE, "Lint")) for rule in codes(row[0])}
    assert listed == {rule: Finding(rule=rule, line=None, message="").severity for rule in Rule}


def test_the_reference_is_what_the_commands_say() -> None:
    assert (DOCS / "reference/command-line.md").read_text() == reference()
    assert [name for name in flowy.commands if f"## `{name}`" not in reference()] == []


def test_the_arguments() -> None:
    for typed_words, given in rows(section(PAGE, "Start and wait"))[:4]:
        for (text,) in map(shlex.split, codes(typed_words.partition(", and all")[0])):
            if "refused" in given:
                with pytest.raises(Unreadable):
                    argument(text)
            elif "text" in given:
                assert isinstance(argument(text), str)
            else:
                assert argument(text) == json.loads(text)
