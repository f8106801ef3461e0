"""What holds of all commands: help at once, completion, names, exit codes."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import click
import pytest

from flowy_cli import main as module
from flowy_cli.errors import CliError, Cluster, ExitCode, NotThere, TimedOut, Unreadable
from flowy_cli.main import flowy
from tests.cli.shell import Shell


def commands() -> Iterator[tuple[str, click.Command]]:
    yield from flowy.commands.items()


HEAVY = {"aiohttp", "kubernetes", "pydantic", "yaml", "rich", "asyncio", "kopf", "flowy_operator"}


@pytest.mark.parametrize("words", [["--help"], *([name, "--help"] for name, _ in commands())], ids=" ".join)
def test_help_loads_nothing_heavy(words: list[str]) -> None:
    code = (
        "import sys\nfrom flowy_cli.main import flowy\n"
        f"flowy.main({words!r}, prog_name='flowy', standalone_mode=False)\n"
        f"print('loaded', sorted({HEAVY!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "loaded []"


@pytest.mark.parametrize(("name", "command"), list(commands()), ids=[name for name, _ in commands()])
def test_every_command_says_what_it_does(name: str, command: click.Command) -> None:
    assert command.help
    short = command.get_short_help_str(limit=62)
    assert short.endswith(".")
    assert not short.endswith("...")
    for param in command.params:
        if isinstance(param, click.Option):
            assert param.help, f"{name} {param.name}"


EXIT_CODES = {CliError: 1, Unreadable: 2, NotThere: 3, Cluster: 4, TimedOut: 5}


def test_exit_codes_are_never_changed() -> None:
    assert {kind: kind.exit_code for kind in EXIT_CODES} == EXIT_CODES
    assert sorted(ExitCode) == [0, 1, 2, 3, 4, 5, 130]


def test_ctrl_c_has_an_exit_code_of_its_own(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("flowy_cli.connection.in_cluster", interrupted)
    assert shell("list").exit_code == ExitCode.INTERRUPTED


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_completion_scripts(name: str, shell: Shell) -> None:
    text = shell.ok("completion", name)
    assert f"_FLOWY_COMPLETE={name}_complete" in text


def test_the_script_for_bash_is_one(shell: Shell) -> None:
    text = shell.ok("completion", "bash")
    subprocess.run(["bash", "-n"], input=text, text=True, check=True)


def completed(shell: Shell, monkeypatch: pytest.MonkeyPatch, *words: str) -> list[str]:
    """What kubectl is offered."""
    monkeypatch.setenv("KUBECONFIG", str(shell.kubeconfig))
    monkeypatch.setattr(sys, "argv", ["kubectl_complete-flowy", *words])
    told: list[str] = []
    monkeypatch.setattr(click, "echo", told.append)
    module.complete_for_kubectl()
    return told


def test_kubectl_is_offered_commands_options_and_names(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    *offered, directive = completed(shell, monkeypatch, "re")
    assert ([text.partition("\t")[0] for text in offered], directive) == (["report", "replay", "resume", "retry"], ":4")
    assert completed(shell, monkeypatch, "describe", "talk") == ["talk-41", "talk-42", ":4"]
    assert completed(shell, monkeypatch, "get", "-n", "other", "") == [":4"]
    assert completed(shell, monkeypatch, "describe", "./run") == [":0"]
    assert completed(shell, monkeypatch, "start", "vi") == ["video-v1", ":4"]
    assert completed(shell, monkeypatch, "start", "./vi") == [":0"]
    assert completed(shell, monkeypatch, "wait", "--time")[0].startswith("--timeout\t")


def test_a_prompt_shows_no_errors(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = Shell(shell.kubeconfig.with_name("none"), shell.now)
    assert completed(nowhere, monkeypatch, "describe", "") == [":4"]
    assert capsys.readouterr().err == ""


def test_it_calls_itself_as_it_was_typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name, called in (("/usr/bin/flowy", "flowy"), ("/usr/bin/kubectl-flowy", "kubectl flowy")):
        monkeypatch.setattr(sys, "argv", [name, "--help"])
        with pytest.raises(SystemExit):
            module.main()
        assert capsys.readouterr().out.startswith(f"Usage: {called} ")


def test_what_a_locale_cannot_write_is_written_as_its_code() -> None:
    command = [sys.executable, "-c", "from flowy_cli.main import main; main()"]
    arguments = ["graph", "tests/histories/saga.json", "--unlocked"]
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    done = subprocess.run([*command, *arguments], capture_output=True, env=environment, check=True)
    assert b"\\u2714 book-0 " in done.stdout


@pytest.mark.parametrize("words", [["cancel", "run.yaml"], ["logs", "./run"], ["get", "-"]], ids=" ".join)
def test_a_file_where_a_name_is_meant_is_told(words: list[str], shell: Shell) -> None:
    assert f"'{words[1]}' is a file: this is for Workflows in the cluster" in shell.fails(2, *words)


def test_where_no_cluster_is_known(shell: Shell, tmp_path: Path) -> None:
    said = replace(shell, environment={"KUBECONFIG": "", "HOME": str(tmp_path)}).fails(4, "list")
    assert said.startswith("flowy: no cluster is known here: $KUBECONFIG isn't set, and there is no ~/.kube/config\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_told_without_a_traceback() -> None:
    command = [sys.executable, "-c", "from flowy_cli.main import main; main()"]
    with Path("/dev/full").open("w") as full:
        arguments = ["graph", "tests/histories/saga.json", "-o", "dot", "--unlocked"]
        done = subprocess.run([*command, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "flowy: the output can't be written: No space left on device\n"
