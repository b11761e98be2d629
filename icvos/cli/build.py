"""`icvos build`: from data sets on disk to a frozen release."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from icvos.cli import options

if TYPE_CHECKING:
    from curation.sources.coco import Coco
    from curation.tubes import Curated
    from icvos.benchmark import Benchmark


@click.command("build")
@click.option("--sources", default="davis", show_default=True, help="The video data sets, separated by commas.")
@options.roots
@options.resolution
@options.release(name="ic-vos")
@click.option("--materialise", type=options.FOLDER, metavar="DIR", help="Also lay out the official tree of frames and masks.")
@click.option("--dry-run", is_flag=True, help="Show what would be in and out; write nothing.")
@options.as_json
def command(
    sources: str,
    data: Path | None,
    davis: Path | None,
    coco: Path | None,
    named: tuple[str, ...],
    resolution: str | None,
    out: Path | None,
    name: str,
    release_version: str,
    seed: str,
    support_split: str | None,
    min_support_area: int,
    materialise: Path | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Build a release: one binary tube a COCO class and clip, five frozen supports a tube, no pixels.

    \b
    icvos build --sources davis --davis /data/DAVIS --coco /data/COCO --out ic-vos
    icvos build --sources davis,mose,lvos2 --data /data --dry-run
    """
    from curation.freeze import Draft, freeze
    from curation.rules import RULES
    from curation.sources.catalogue import source_record
    from curation.sources.coco import Coco
    from curation.tubes import curate
    from icvos.cli.progress import file_bar
    from icvos.registry import load_sources

    names = list(dict.fromkeys(part.strip() for part in sources.split(",") if part.strip()))
    roots = _all_roots(names, data, davis, coco, named)
    opened = load_sources({source: roots[source] for source in names}, resolution)
    pool = Coco(roots["coco"], support_split, min_support_area)
    with file_bar("scanning", "clips") as on_progress:
        curated = curate(opened, pool, on_progress)
    if dry_run:
        _show(curated, None, as_json)
        return
    rules = {rule.name: rule.summary for rule in RULES} | {"min-support-area": f"{min_support_area} px", "support-split": pool.split}
    records = {source: source_record(source) for source in names} | {"coco": source_record("coco", pool.split)}
    draft = Draft(name, release_version, seed, rules, records, roots)
    with file_bar("hashing") as on_progress:
        benchmark = freeze(out or options.settings().benchmark, draft, curated.tubes, pool, on_progress)
    if materialise:
        _materialise(benchmark, materialise)
    _show(curated, benchmark, as_json)
    _warn_of_repeats(curated, pool)


def _materialise(benchmark: Benchmark, folder: Path) -> None:
    from curation.layout import materialise
    from icvos.cli.progress import file_bar

    with file_bar("laying out") as on_progress:
        written = materialise(benchmark, folder, on_progress)
    click.echo(f"{written} files laid out in {folder}", err=True)


def _all_roots(names: list[str], data: Path | None, davis: Path | None, coco: Path | None, named: tuple[str, ...]) -> dict[str, Path]:
    from icvos.errors import UserInputError, did_you_mean
    from icvos.registry import source_names

    installed = source_names()
    if not names:
        raise UserInputError("no sources", "--sources", fix=f"known: {', '.join(installed)}")
    for name in names:
        if name == "coco":
            raise UserInputError("no video data set", name, expected="coco gives the supports and is always read", fix="leave it out")
        if name not in installed:
            raise UserInputError("unknown source", name, fix=did_you_mean(name, installed))
    wanted = [*names, "coco"]
    roots = options.all_roots(wanted, data, davis, coco, named)
    missing = [name for name in wanted if name not in roots]
    if missing:
        _show_what_to_fetch(wanted)
        fix = "fetch what the table lists, then say --data DIR, --root NAME=DIR, or set ICVOS_DATA"
        raise UserInputError("nobody said where the data is", ", ".join(missing), fix=fix)
    return roots


def _show_what_to_fetch(names: list[str]) -> None:
    from rich.console import Console
    from rich.table import Table

    from curation.sources.catalogue import entry_of

    console = Console(stderr=True)
    console = console if console.is_terminal else Console(stderr=True, width=160)
    table = Table(title="What to fetch")
    for heading in ("data", "page", "size", "licence", "expected below --data DIR"):
        # An address or a path that is cut off, or broken in two where there is room, helps nobody.
        table.add_column(heading, overflow="fold", no_wrap=heading in {"page", "expected below --data DIR"} and console.width >= 140)
    for entry in dict.fromkeys(entry for name in names if (entry := entry_of(name))):
        layout = "\n".join(f"{entry.folder}/{part}" for part in entry.layout.split(", "))
        table.add_row(entry.title, entry.page, entry.download, entry.licence, layout)
    console.print(table)


def _show(curated: Curated, benchmark: Benchmark | None, as_json: bool) -> None:
    import json

    if as_json:
        click.echo(json.dumps(_summary(curated, benchmark), indent=1, ensure_ascii=False))
        return
    for tube in curated.tubes:
        objects = ", ".join(map(str, tube.instances))
        click.echo(f"in   {tube.id}  ({len(tube.clip.frames)} frames, objects {objects})")
    for entry in curated.left_out:
        click.echo(f"out  {entry.clip}/{entry.label}  {entry.rule}: {entry.reason}")
    clips = {tube.clip.key: len(tube.clip.frames) for tube in curated.tubes}
    classes = {tube.category.name for tube in curated.tubes}
    counts = f"{len(curated.tubes)} tubes of {len(classes)} classes in {len(clips)} clips, {sum(clips.values())} frames"
    click.echo(f"{counts}; {len(curated.left_out)} left out")
    click.echo(f"{benchmark.label} in {benchmark.path}, {len(benchmark.records)} episodes" if benchmark else "nothing written")


def _summary(curated: Curated, benchmark: Benchmark | None) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "release": benchmark.label if benchmark else None,
        "path": str(benchmark.path) if benchmark else None,
        "episodes": len(benchmark.records) if benchmark else None,
        "tubes": [
            {"id": tube.id, "class": tube.category.name, "frames": len(tube.clip.frames), "objects": tube.instances}
            for tube in curated.tubes
        ],
        "left_out": [asdict(entry) for entry in curated.left_out],
    }


def _warn_of_repeats(curated: Curated, pool: Coco) -> None:
    from curation.freeze import DRAWS

    few = {tube.category.name: len(pool.candidates(tube.category)[0]) for tube in curated.tubes}
    few = {name: count for name, count in sorted(few.items()) if count < DRAWS}
    if few:
        listed = ", ".join(f"{name} {count}" for name, count in few.items())
        click.echo(f"note: fewer than {DRAWS} usable support images, so that draws repeat: {listed}", err=True)
