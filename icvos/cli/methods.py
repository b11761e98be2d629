"""`icvos methods`: what can be run."""

from __future__ import annotations

import json
from dataclasses import asdict

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
    from icvos.registry import load_method, method_names

    cards = [load_method(name).card for name in method_names()]
    if as_json:
        click.echo(json.dumps([asdict(card) for card in cards], indent=1, ensure_ascii=False))
        return
    width = max(len(card.name) for card in cards)
    for card in cards:
        click.echo(f"{card.name:<{width}}  {card.kind:<7}  {card.summary}")
