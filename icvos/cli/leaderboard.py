"""`icvos leaderboard`: rank scored runs."""

from __future__ import annotations

from pathlib import Path

import click

from icvos.cli import options


@click.command("leaderboard")
@click.argument("paths", type=options.FOLDER, nargs=-1)
@click.option("--format", "form", type=click.Choice(["markdown", "html", "json", "csv", "latex"]), default="markdown", show_default=True)
@click.option("--protocol", help="Which protocol to rank, where the results hold several.")
@click.option("--by", default="J&F", show_default=True, help="The score to rank by: J&F, J, F, J_recall, F_first, ...")
@click.option("--group", metavar="KIND=NAME", help="Rank by one group: class=dog, source=davis, support=s0, ...")
@click.option("--reported/--no-reported", default=True, show_default=True, help="Show the paper's own numbers, apart.")
@click.option("--out", type=options.FOLDER, help="Write to a file instead of the terminal.")
def command(paths: tuple[Path, ...], form: str, protocol: str | None, by: str, group: str | None, reported: bool, out: Path | None) -> None:
    """Rank the results below PATHS (default: runs). Results of two protocols or releases are never ranked together.

    \b
    icvos leaderboard --format markdown
    icvos leaderboard runs --format html --out board.html
    icvos leaderboard runs --format latex --out board.tex
    icvos leaderboard runs --by F --group class=dog
    """
    from icvos.board import Leaderboard
    from icvos.errors import DataError
    from icvos.files import write_text
    from icvos.reported import reported_rows
    from icvos.results import find_results

    roots = list(paths or (options.settings().runs,))
    found = list(find_results(roots))
    if not found:
        raise DataError("no results", ", ".join(map(str, roots)), expected="scored runs", fix="run `icvos score` first")
    board = Leaderboard.load(found, protocol=protocol, reported=reported_rows() if reported else ())
    text = board.render(form, by=by, group=group)
    if out:
        write_text(out, text)
        click.echo(f"{len(found)} results on the board: {out}")
    else:
        click.echo(text, nl=False)
