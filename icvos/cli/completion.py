"""`icvos completion`: the script by which a shell completes commands, options, methods and protocols."""

from __future__ import annotations

import click

from icvos.cli import options


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@options.as_json
def command(shell: str, as_json: bool) -> None:
    """Print the completion script of a SHELL, to be read by it when it starts.

    \b
    icvos completion bash >> ~/.bash_completion
    icvos completion zsh > ~/.zfunc/_icvos
    icvos completion fish > ~/.config/fish/completions/icvos.fish
    """
    import json

    from click.shell_completion import get_completion_class

    from icvos.cli import group

    chosen = get_completion_class(shell)
    if chosen is None:
        raise click.UsageError(f"this version of click has no completion for {shell}")
    script = chosen(group, {}, "icvos", "_ICVOS_COMPLETE").source()
    click.echo(json.dumps({"shell": shell, "script": script}, indent=1) if as_json else script, nl=as_json)
