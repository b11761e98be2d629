"""`icvos methods`: what can be run."""

from __future__ import annotations

import click

from icvos.cli import options


@click.command("methods")
@options.as_json
def command(as_json: bool) -> None:
    """List the installed methods with their cards.

    \b
    icvos methods
    icvos methods --json
    """
    import json
    from dataclasses import asdict

    from icvos.errors import PluginError
    from icvos.registry import load_method, method_names

    cards, broken = [], {}
    for name in method_names():
        try:
            cards.append(load_method(name).card)
        except PluginError as error:  # one plug-in that fails must not hide the others
            broken[name] = str(error)
    if as_json:
        failed = [{"name": name, "error": error} for name, error in broken.items()]
        click.echo(json.dumps([asdict(card) for card in cards] + failed, indent=1, ensure_ascii=False))
        return
    width = max((len(card.name) for card in cards), default=0)
    for card in cards:
        click.echo(f"{card.name:<{width}}  {card.kind:<7}  {card.summary}")
    for sentence in broken.values():
        click.echo(f"icvos: {sentence}", err=True)
