"""The page about runs without a cluster: its blocks are one program, its tables are complete."""

import inspect
import json

import pytest
from click.testing import CliRunner

from flowy.local import LocalWorkflow
from flowy_cli.commands.local import run
from flowy_cli.main import flowy
from tests.docs.pages import DOCS, blocks, codes, rows, section

PAGE = "local.md"


def test_the_blocks_run_from_top_to_bottom() -> None:
    scope: dict[str, object] = {"__name__": "page"}
    for block in blocks(PAGE, "python"):
        # With the page's own line numbers, so that a failed claim is found at once.
        code = compile("\n" * (block.line - 1) + block.text, PAGE, "exec")
        exec(code, scope)


def test_the_table_names_every_setting_with_its_default() -> None:
    listed = {codes(row[0])[0]: row[1] for row in rows(section(PAGE, "With functions as activities"))[:10]}
    parameters = inspect.signature(LocalWorkflow).parameters
    assert set(listed) == set(parameters) - {"factory"}
    for name, shown in listed.items():
        default = parameters[name].default
        text = f'`"{default}"`' if isinstance(default, str) else "none" if default is None else str(default)
        assert shown == ("0" if name == "durations" else text)


def test_the_table_names_every_field_of_a_trace() -> None:
    workflow = LocalWorkflow(lambda: lambda: 1, clock="virtual")
    workflow.run()
    assert workflow.trace is not None
    listed = {name for row in rows(section(PAGE, "What happened")) for name in codes(row[0])}
    assert listed == set(workflow.trace)


def test_the_command_does_what_the_page_types(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(DOCS.parent)
    (block,) = blocks(PAGE, "console")
    prompt, program, *words = block.text.split()
    assert (prompt, program) == ("$", "flowy")
    done = CliRunner().invoke(flowy, [*words, "--in", "process", "--quiet"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == 11


def test_the_table_names_every_option() -> None:
    listed = {code.split()[0] for row in rows(section(PAGE, "A manifest")) for code in codes(row[0])}
    options = {max(option.opts, key=len) for option in run.params if option.param_type_name == "option"}
    shown = {"--kwarg" if option == "-k" else option for option in listed}
    assert shown - {"ARGUMENT…"} == options - {"--activities"}
    assert "`--activities steps.py`" in section(PAGE, "A manifest")
