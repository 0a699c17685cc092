"""Verbs for the shell that `kat` is used from."""

from __future__ import annotations

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

__all__ = ["COMMANDS"]

SHELLS: dict[str, type[ShellComplete]] = {
    "bash": BashComplete,
    "zsh": ZshComplete,
    "fish": FishComplete,
}


@click.command()
@click.argument("shell", type=click.Choice(list(SHELLS)))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script for a shell.

    \b
    Examples:
      eval "$(kat completion bash)"                        # in ~/.bashrc
      eval "$(kat completion zsh)"                         # in ~/.zshrc
      kat completion fish > ~/.config/fish/completions/kat.fish
    """
    made = SHELLS[shell](ctx.find_root().command, {}, "kat", "_KAT_COMPLETE")
    # Without click's look at the bash that happens to run here: the script is for another one.
    click.echo(made.source_template % made.source_vars())


COMMANDS = {"completion": completion}
