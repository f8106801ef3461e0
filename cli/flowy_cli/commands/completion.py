"""`completion`."""

import click

_HELP = """Print a script with which a shell completes commands, options, and the names of Workflows.

\b
bash   echo 'source <(flowy completion bash)' >> ~/.bashrc
zsh    echo 'source <(flowy completion zsh)' >> ~/.zshrc
fish   flowy completion fish > ~/.config/fish/completions/flowy.fish

As `kubectl flowy` it is completed by kubectl's own script.
"""


@click.command(short_help="Print a script with which a shell completes what you type.", help=_HELP)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    root = click.get_current_context().find_root().command
    click.echo(kind(root, {}, "flowy", "_FLOWY_COMPLETE").source())
