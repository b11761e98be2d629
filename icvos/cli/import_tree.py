"""`icvos import`: a release out of a tree in the official layout that somebody else made."""

from __future__ import annotations

from pathlib import Path

import click

from icvos.cli import complete, options


@click.command("import")
@click.argument("path", type=options.FOLDER)
@click.option(
    "--sources",
    metavar="NAMES",
    shell_complete=complete.sources,
    help="Look for the frames in these only, separated by commas.  [default: all on disk]",
)
@options.roots
@options.release(name="ic-vos-imported")
@options.as_json
def command(
    path: Path,
    sources: str | None,
    where: options.Where,
    out: Path | None,
    name: str,
    release_version: str,
    seed: str,
    shots: int,
    support_split: str | None,
    min_support_area: int,
    as_json: bool,
) -> None:
    """Import PATH, a tree <video>/JPEGImages/*.jpg, <video>/Annotations/<k>/*.png with k = 1..80, and freeze its supports.

    Clips whose frames are, byte for byte, those of DAVIS, MOSE or LVOS on this disk are named by them.

    \b
    icvos import IC-VOS --coco /data/COCO --out ic-vos-imported
    icvos import IC-VOS --data /data --root mose=/elsewhere/MOSE
    """
    import json

    from curation.freeze import Draft, freeze
    from curation.layout import IMPORTED, read_official_tree
    from curation.matching import describe, match_sources, roots_in_use
    from curation.sources.catalogue import ENTRIES, source_record
    from curation.sources.coco import Coco
    from icvos.benchmark import SourceRecord
    from icvos.cli.progress import file_bar
    from icvos.errors import UserInputError, did_you_mean
    from icvos.registry import load_sources, source_names

    roots = options.all_roots(ENTRIES, where)
    if "coco" not in roots:
        raise UserInputError("nobody said where the data is", "coco", fix="say --coco DIR or --data DIR, or set ICVOS_DATA")
    pool = Coco(roots["coco"], support_split, min_support_area)
    asked = [name for name in roots if name != "coco"] if sources is None else sources.split(",")
    names = {name.strip() for name in asked if name.strip()}
    known = {*roots, *ENTRIES, *source_names()} - {"coco"}
    if unknown := sorted(names - known):
        raise UserInputError("unknown source", unknown[0], fix=did_you_mean(unknown[0], known))
    if missing := sorted(names - set(roots)):
        raise UserInputError("nobody said where the data is", ", ".join(missing), fix="say --root NAME=DIR, or leave it out of --sources")
    # In the catalogue's order, whatever the options' order, and plug-ins after it.
    places = {name: roots[name] for name in sorted(names, key=[*ENTRIES, *sorted(roots)].index)}
    opened = load_sources(places)
    with file_bar("matching", "clips") as on_progress:
        tubes, matches = match_sources(read_official_tree(path), opened, on_progress)
    used = roots_in_use(tubes, {**places, IMPORTED: path})
    records = {source: source_record(source) for source in used} | {"coco": source_record("coco", pool.split)}
    if IMPORTED in used:
        records[IMPORTED] = SourceRecord(title="a tree in the official IC-VOS layout", page="", licence="as its sources")
    rules = {"min-support-area": f"{min_support_area} px", "support-split": pool.split}
    draft = Draft(name, release_version, seed, rules, records, {**used, "coco": roots["coco"]}, shots=shots)
    with file_bar("hashing") as on_progress:
        benchmark = freeze(out or options.settings().benchmark, draft, tubes, pool, on_progress)
    if as_json:
        said = {"release": benchmark.label, "path": str(benchmark.path), "episodes": len(benchmark.records)}
        said |= {"tubes": [tube.id for tube in tubes], "clips": [match.as_dict() for match in matches]}
        click.echo(json.dumps(said, indent=1, ensure_ascii=False))
        return
    for line in describe(matches) if opened else ():
        click.echo(line)
    click.echo(f"{len(tubes)} tubes imported: {benchmark.label} in {benchmark.path}, {len(benchmark.records)} episodes")
