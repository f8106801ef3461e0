"""What must hold of the repository itself."""

import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


def _tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / line for line in listed.splitlines() if (ROOT / line).is_file()]


def test_operator_folder_is_no_package() -> None:
    """It would shadow the standard library's `operator` for every Python started in the root."""
    assert not (ROOT / "operator" / "__init__.py").exists()


def test_readme_manifest_is_the_example() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    assert block == (ROOT / "examples" / "hello" / "workflow.yaml").read_text()
    assert yaml.safe_load(block)["kind"] == "Workflow"


def _targets_in(text: str) -> Iterator[str]:
    yield from re.findall(r"(?:`|\$ )make ([a-z][a-z-]*)", text)
    for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
        yield from re.findall(r"^make ([a-z][a-z-]*)", block, re.MULTILINE)


def test_what_is_said_of_make_is_a_target() -> None:
    """Wherever it is said: pages, comments, messages. In a page's text it stands in code, for "make" is a word, too."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        target: str(path.relative_to(ROOT))
        for path in _tracked()
        if path.suffix in {".md", ".py", ".yml", ".yaml", ".toml", ".tpl", ".txt", ""}
        for target in _targets_in(path.read_text(errors="replace"))
    }
    assert {"demo", "test", "bench"} <= named.keys()
    assert {target: where for target, where in named.items() if target not in targets} == {}


def test_make_help_tells_what_each_target_is_for() -> None:
    """All but two, which others need."""
    told = subprocess.run(["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    phony = set(re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert phony - {line.split()[0] for line in told.splitlines()} == {"chromium", "image-pins"}


def test_ci_runs_the_readmes_test_command() -> None:
    assert "make test" in (ROOT / ".ci" / "run").read_text()


@pytest.mark.parametrize("page", [p for p in _tracked() if p.suffix == ".md"], ids=lambda p: str(p.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```|`[^`]*`", "", page.read_text(), flags=re.DOTALL)
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text)]
    missing = [link for link in links if link and "://" not in link and not (page.parent / link).exists()]
    assert not missing


def test_pins_name_no_address() -> None:
    text = (ROOT / "constraints.txt").read_text()
    assert "://" not in text
    assert "--index-url" not in text
    requirements = [line for line in text.splitlines() if re.match(r"[a-z0-9].*==", line)]
    assert len(requirements) > 20
    assert text.count("--hash=sha256:") > len(requirements)


def test_the_commands_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["name"] == "flowy-operator"
    assert set(project["scripts"]) == {"flowy", "flowy-operator", "kubectl-flowy", "kubectl_complete-flowy"}
    needed = {re.split(r"[<>=]", requirement)[0] for requirement in project["dependencies"]}
    assert {"kopf", "kubernetes", "pydantic"} <= needed
