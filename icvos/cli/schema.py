"""`icvos schema`: what the files of others must look like."""

from __future__ import annotations

from pathlib import Path

import click

from icvos.cli import options

SCHEMAS = Path(__file__).parents[1] / "data" / "schemas"


@click.command("schema")
@click.argument("name", type=click.Choice(["result", "card", "record"]))
@options.as_json
def command(name: str, as_json: bool) -> None:
    """Print the JSON Schema of a result file, a method's card, or the record of who scored; a schema is JSON, asked for or not.

    \b
    icvos schema result > result.schema.json
    icvos schema card
    icvos schema record
    """
    click.echo((SCHEMAS / f"{name}.json").read_text(encoding="utf-8"), nl=False)
