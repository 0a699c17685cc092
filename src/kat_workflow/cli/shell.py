"""Verbs for the shell that `kat` is used from."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

__all__ = ["COMMANDS"]


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    r"""Print the completion script for a shell.

    \b
    Examples:
      eval "$(kat completion bash)"                        # in ~/.bashrc
      eval "$(kat completion zsh)"                         # in ~/.zshrc
      kat completion fish > ~/.config/fish/completions/kat.fish
    """
    complete = get_completion_class(shell)
    assert complete is not None  # click knows all three
    root = ctx.find_root().command
    made = complete(root, {}, "kat", "_KAT_COMPLETE")
    # Without click's look at the bash that happens to run here: the script is for another one.
    click.echo(made.source_template % made.source_vars())


COMMANDS = {"completion": completion}
