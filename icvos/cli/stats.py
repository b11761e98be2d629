"""`icvos stats`: what a release holds, beside the paper's figures."""

from __future__ import annotations

from pathlib import Path

import click

from icvos.cli import options


@click.command("stats")
@click.argument("release", type=options.FOLDER, required=False)
@options.roots
@click.option("--out", type=options.OUT, help="Also write a page, charts (SVG, PNG), JSON and a CSV of all tubes to this folder.")
@click.option("--workers", type=click.IntRange(1), help="Processes that read masks.  [default: all cores if it is worth it]")
@options.as_json
def command(
    release: Path | None,
    where: options.Where,
    out: Path | None,
    workers: int | None,
    as_json: bool,
) -> None:
    """Count and measure RELEASE: Table 1's row, sources, classes, and the size, objects and presence of every tube.

    \b
    icvos stats ic-vos
    icvos stats ic-vos --out statistics
    icvos stats ic-vos --data /other/disk --json
    """
    from curation.published import published
    from curation.report.data import render_json
    from curation.report.text import render_text
    from curation.statistics import frames_to_measure, statistics
    from icvos.cli.progress import bar

    if out:
        from curation.report.files import write_report  # before anything is measured: its packages may be missing
    benchmark = options.open_benchmark(release, where)
    paper = published()
    with bar("measuring", frames_to_measure(benchmark), "frames") as advance:
        found = statistics(benchmark, workers=workers, on_clip=advance)
    page = write_report(out, found, benchmark, paper) if out else None
    click.echo(render_json(found, paper) if as_json else render_text(found, paper), nl=False)
    if page:
        click.echo(f"\n{page}" if not as_json else f"{page}", err=as_json)
