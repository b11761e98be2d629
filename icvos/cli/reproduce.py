"""`icvos reproduce`: the paper's tables, printed and measured."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from icvos.cli import options

if TYPE_CHECKING:
    from collections.abc import Callable

    from icvos.reproduce.jobs import Here
    from icvos.reproduce.report import Report

PAGES = {"markdown": "md", "latex": "tex", "html": "html"}
DATA = ("davis", "mose", "lvos2", "coco", "pascal", "voc_small")


@click.command("reproduce")
@click.argument("name", required=False, metavar="table1 ... table14 | fig2 | fig9")
@click.option("--list", "listing", is_flag=True, help="Every table and figure: what is there, what is missing.")
@click.option("--scale", default="full", show_default=True, metavar="full|sample", help="sample: embedded models, a few clips, minutes.")
@click.option("--dry-run", is_flag=True, help="Say what is needed, what it would cost, and every command; do nothing.")
@click.option("--run/--no-run", "running", default=True, show_default=True, help="Do what can be done; or only read what is there.")
@click.option("--format", "form", type=click.Choice([*PAGES]), default="markdown", show_default=True)
@click.option("--out", type=options.OUT, default="reproduce", show_default=True, help="The work folder: trainings, runs, pages.")
@click.option("--page", type=options.FOLDER, metavar="FILE", help="Where the page goes.  [default: in the work folder]")
@click.option("--runs", type=options.FOLDER, help="Runs that are there already: used, and not run again.")
@options.benchmark
@options.roots
@options.as_json
def command(
    name: str | None,
    listing: bool,
    scale: str,
    dry_run: bool,
    running: bool,
    form: str,
    out: Path,
    page: Path | None,
    runs: Path | None,
    benchmark: Path | None,
    where: options.Where,
    as_json: bool,
) -> None:
    """Measure a table or figure of the paper again: paper, ours, difference, and exactly what is missing to fill a row.

    What it needs and costs is said first. Whatever was done is kept: after an interruption, run the same command again.

    \b
    icvos reproduce --list
    icvos reproduce table4 --dry-run
    icvos reproduce table4 --scale sample --davis /data/DAVIS --coco /data/COCO
    icvos reproduce table4 --scale sample --runs runs --benchmark ic-vos --no-run
    icvos reproduce table14 --format latex
    icvos reproduce fig9 --scale sample --root voc_small=/data/VOC
    """
    import json

    from icvos.files import write_text
    from icvos.render.reproduction import overview_text, plan_text, render_report, report_data
    from icvos.reproduce.at_hand import look
    from icvos.reproduce.execute import run_ready
    from icvos.reproduce.recipes import load_recipe, recipe_names
    from icvos.reproduce.report import build_report

    if listing == bool(name):
        raise click.UsageError("name a table or figure, or ask for --list")
    recipe = load_recipe(name) if name else None
    roots = options.all_roots(DATA, where)
    release = benchmark or (_default_release() if scale == "full" else None)
    here = partial(look, scale, out=out, roots=roots, release=release, runs=runs, commands=_commands())
    if recipe is None:
        reports = [build_report(load_recipe(each), here()) for each in recipe_names()]
        listed = json.dumps([report_data(report) for report in reports], indent=1)
        click.echo(listed if as_json else overview_text(reports, min(100, options.width())), nl=as_json)
        return
    report = build_report(recipe, here())
    if dry_run:
        click.echo(json.dumps(report_data(report), indent=1) if as_json else plan_text(report), nl=as_json)
        return
    failed = _run(report, here, run_ready) if running else {}
    report = build_report(recipe, here(), failed)
    text = render_report(report, "json" if as_json else form)
    file = page or out / scale / f"{recipe.name}.{'json' if as_json else PAGES[form]}"
    write_text(file, text)
    click.echo(text if form != "html" or as_json else f"{file}\n", nl=False)


def _run(report: Report, here: Callable[[], Here], run_ready: Callable[..., dict[str, str]]) -> dict[str, str]:
    """Say what it needs and costs, then do what can be done."""
    from icvos.render.reproduction import cost_of, state_of

    click.echo(f"{report.recipe.source}: {state_of(report)}. {cost_of(report)}", err=True)
    return run_ready(report.recipe, here, on_job=lambda job: click.echo(f"icvos: {job.name}", err=True))


def _default_release() -> Path | None:
    """The release that settings name, where it is there."""
    release = options.settings().benchmark
    return release if (release / "manifest.json").is_file() else None


def _commands() -> tuple[str, ...]:
    from icvos.cli import COMMANDS

    return tuple(COMMANDS)
