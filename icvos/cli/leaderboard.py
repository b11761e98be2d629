"""`icvos leaderboard`: rank scored runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from icvos.cli import complete, options

if TYPE_CHECKING:
    from icvos.benchmark import Benchmark
    from icvos.board import Leaderboard
    from icvos.entries import Entry
    from icvos.render.pictures import Pictures


@click.command("leaderboard")
@click.argument("paths", type=options.FOLDER, nargs=-1)
@click.option(
    "--format",
    "form",
    type=click.Choice(["markdown", "html", "json", "csv", "latex"]),
    help="[default: a short table on a terminal, markdown into a pipe or file]",
)
@click.option("--verbose", is_flag=True, help="The short table, and where each number comes from: signatures and hashes.")
@click.option(
    "--protocol",
    shell_complete=complete.protocols,
    help="Which protocol to rank, where the results hold several; a page shows each apart.",
)
@click.option("--by", default="J&F", show_default=True, help="The score to rank by: J&F, J, F, J_recall, F_first, ...")
@click.option("--group", metavar="KIND=NAME", help="Rank by one group: class=dog, source=davis, support=s0, ...")
@click.option("--reported/--no-reported", default=True, show_default=True, help="Show the paper's own numbers, apart.")
@click.option("--rescore", is_flag=True, help="First score the masks that lie beside results again, so that you vouch for the numbers.")
@click.option("--out", type=options.OUT_FILE, help="Write to a file instead of the terminal.")
@click.option(
    "--episodes", type=click.IntRange(0), default=0, show_default=True, help="Pictures of each method's N worst episodes, beside the page."
)
@click.option(
    "--figure", type=options.OUT_FILE, metavar="FILE.png", help="Of images: --episodes, where methods differ most, as one picture."
)
@click.option(
    "--benchmark", type=options.FOLDER, help="The release's folder; of images, also the one they lie in.  [default: the runs' own]"
)
@options.pascal
@options.roots
@options.as_json
def command(
    paths: tuple[Path, ...],
    form: str | None,
    verbose: bool,
    protocol: str | None,
    by: str,
    group: str | None,
    reported: bool,
    rescore: bool,
    out: Path | None,
    episodes: int,
    figure: Path | None,
    benchmark: Path | None,
    where: options.Where,
    as_json: bool,
) -> None:
    """Rank the results below PATHS (default: runs). Results of two protocols or releases are never ranked together.

    \b
    icvos leaderboard
    icvos leaderboard runs --verbose
    icvos leaderboard runs --format markdown
    icvos leaderboard runs --format html --out board.html
    icvos leaderboard runs --format html --out board.html --episodes 3 --benchmark ic-vos
    icvos leaderboard runs --format latex --out board.tex
    icvos leaderboard runs --by F --group class=dog
    icvos leaderboard theirs --rescore --benchmark ic-vos
    icvos leaderboard runs --protocol coco20i-1shot@1
    icvos leaderboard runs --protocol pascal5i-1shot@1 --format html --out images.html --episodes 4 --figure images.png
    """
    import json

    from icvos.board import Leaderboard
    from icvos.entries import Entry
    from icvos.errors import DataError
    from icvos.files import write_text
    from icvos.reported import reported_rows
    from icvos.results import find_results

    if figure and not episodes:
        raise click.UsageError("--figure draws episodes: say how many with --episodes N")
    if episodes and not (form == "html" and out) and not figure:
        raise click.UsageError("--episodes draws pictures beside a page: give --format html and --out FILE, too")
    if as_json and not out and form not in (None, "json"):
        raise click.UsageError(f"--json prints JSON, and not {form}: leave one of them out, or give --out FILE")
    form = form or _default_format(as_json, out, verbose)
    if verbose and form != "table":
        raise click.UsageError(f"--verbose is of a table, and {form} has it all: leave one of them out")
    roots = list(paths or (options.settings().runs,))
    found = list(find_results(roots))
    if not found:
        raise DataError("no results", ", ".join(map(str, roots)), expected="scored runs", fix="run `icvos score` first")
    if rescore:
        from icvos.cli.rescoring import rescore_all

        rescore_all(found, benchmark, where)
    found, images = _parted(found, protocol)
    entries, rows = [Entry.load(path) for path in found], reported_rows() if reported else ()
    if figure and not images:
        raise click.UsageError("--figure is of results on images, and these are on clips")
    if images:
        from icvos.cli.leaderboard_images import Drawing, board_text

        if group or by != "J&F":
            raise click.UsageError("results on images are ranked by mIoU: leave --by and --group out")
        text = board_text(images, form, protocol, Drawing(episodes, out, figure, benchmark, where), verbose)
    elif form == "html":
        from icvos.render.html import boards_of

        boards = boards_of(entries, protocol, rows)
        release = options.open_benchmark(_release_path(entries, benchmark), where) if episodes else None
        pictures = _pictures(boards, entries, episodes, release, out) if release and out else None
        text = _page(boards, entries, by, group, pictures)
    elif form == "table":
        from icvos.render.table import render_table

        board = Leaderboard.collect(entries, protocol=protocol, reported=rows)
        text = render_table(board, by, group, width=options.width(), verbose=verbose)
    else:
        text = Leaderboard.collect(entries, protocol=protocol, reported=rows).render(form, by=by, group=group)
    if out:
        write_text(out, text)
        said = {"board": str(out), "format": form, "results": len(images or found)}
        click.echo(json.dumps(said, indent=1, ensure_ascii=False) if as_json else f"{said['results']} results on the board: {out}")
    else:
        click.echo(text, nl=False)


def _default_format(as_json: bool, out: Path | None, verbose: bool) -> str:
    """A table is for eyes: what is piped or written to a file is markdown, so that scripts and README files stay as they are."""
    if as_json and not out:
        return "json"
    return "markdown" if out or not (verbose or sys.stdout.isatty()) else "table"


def _parted(paths: Sequence[Path], protocol: str | None) -> tuple[list[Path], list[Path]]:
    """Results on clips, or those on images: one of them is empty, for the two never share a board."""
    from icvos.results import is_image_result

    images = [path for path in paths if is_image_result(path)]
    clips = [path for path in paths if path not in images]
    if not clips or any(path.name == f"{protocol}.json" for path in images):
        return [], images
    if images:
        click.echo(f"icvos: results on images left out: {len(images)}; --protocol NAME shows them", err=True)
    return clips, []


def _page(boards: Sequence[Leaderboard], entries: Sequence[Entry], by: str, group: str | None, pictures: Pictures | None) -> str:
    """The page with all that can be had here: curves where there are frame scores, charts where the extra is installed."""
    from importlib.util import find_spec

    from icvos.render.html import render_page
    from icvos.render.over_time import curves_beside

    curves = {entry.result.signature: curves_beside(entry.path) for entry in entries if entry.path}
    if not (find_spec("altair") and find_spec("vl_convert")):
        return render_page(boards, by, group, curves=curves, pictures=pictures)
    from icvos.render.charts import board_charts

    return render_page(boards, by, group, curves=curves, charts=board_charts, pictures=pictures)


def _pictures(boards: Sequence[Leaderboard], entries: Sequence[Entry], count: int, release: Benchmark, out: Path) -> Pictures:
    """Pictures of each method's worst episodes in a folder beside the page."""
    from icvos.cli.progress import bar
    from icvos.render.pictures import draw_pictures, runs_behind, worst_episodes

    wanted = worst_episodes(boards, count)
    with bar("drawing episodes", len(wanted), "episodes") as advance:
        folder = out.with_name(f"{out.stem}-images")
        return draw_pictures(release, wanted, runs_behind(entries, release), folder, on_event=advance)


def _release_path(entries: Sequence[Entry], benchmark: Path | None) -> Path | None:
    """The release that was named, or the one that the first run remembers."""
    from icvos.store import PredictionStore

    for path in (entry.path for entry in entries if entry.path and not benchmark):
        if (store := PredictionStore.behind(path)) and (remembered := store.remembered):
            return remembered
    return benchmark
