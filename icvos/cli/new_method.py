"""`icvos new-method`: a package with a working method, to begin with."""

from __future__ import annotations

from pathlib import Path

import click

from icvos.cli import options


@click.command("new-method")
@click.argument("name")
@click.option("--out", type=options.OUT, help="The folder to make; it must not be there.  [default: NAME, here]")
@options.as_json
def command(name: str, out: Path | None, as_json: bool) -> None:
    """Write a package with a method called NAME: one that works, its card, its tests and its entry point.

    \b
    icvos new-method my-method
    icvos new-method my-method --out ~/code/my-method
    """
    import json

    from icvos.new_method import write_method

    made = write_method(name, out)
    if as_json:
        said = {"method": name, "path": str(made.folder), "module": made.module, "files": made.files}
        click.echo(json.dumps(said, indent=1, ensure_ascii=False))
        return
    for file in made.files:
        click.echo(made.folder / file)
    click.echo(f"next: pip install -e '{made.folder}[test]', then pytest in {made.folder}, then `icvos run --method {name}`")
