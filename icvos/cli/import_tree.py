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
@options.release("its sources, as in davis-imported")
@options.strict
@options.as_json
def command(
    path: Path,
    sources: str | None,
    where: options.Where,
    out: Path | None,
    name: str | None,
    release_version: str,
    seed: str,
    shots: int,
    support_split: str | None,
    min_support_area: int,
    strict: bool,
    as_json: bool,
) -> None:
    """Import PATH, a tree <video>/JPEGImages/*.jpg, <video>/Annotations/<k>/*.png with k = 1..80, and freeze its supports.

    Clips whose frames are, byte for byte, those of DAVIS, MOSE or LVOS on this disk are named by them.

    \b
    icvos import IC-VOS --coco /data/COCO --out ic-vos-imported
    icvos import IC-VOS --data /data --root mose=/elsewhere/MOSE
    """
    import json

    from curation.freeze import Draft, freeze, release_name
    from curation.layout import IMPORTED, read_official_videos
    from curation.matching import describe, match_sources, roots_in_use
    from curation.sources.catalogue import ENTRIES, source_record
    from curation.sources.coco import Coco
    from curation.tubes import in_short
    from icvos.benchmark import SourceRecord
    from icvos.cli.build_report import refuse_faults, tell_supports
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
    read, faulty = read_official_videos(path)
    options.note_not_data([path, *places.values(), roots["coco"]])
    options.note_orders(tube.clip for tube in read)
    with file_bar("matching", "clips") as on_progress:
        tubes, matches = match_sources(read, opened, on_progress)
    used = roots_in_use(tubes, {**places, IMPORTED: path})
    records = {source: source_record(source) for source in used} | {"coco": source_record("coco", pool.split)}
    if IMPORTED in used:
        records[IMPORTED] = SourceRecord(title="a tree in the official IC-VOS layout", page="", licence="as its sources")
    rules = {"min-support-area": f"{min_support_area} px", "support-split": pool.split}
    place = out or options.settings().benchmark
    name = name or release_name(place, used, shots, how="imported")
    draft = Draft(name, release_version, seed, rules, records, {**used, "coco": roots["coco"]}, shots=shots)
    for tube in tubes:
        pool.candidates(tube.category)  # so that all that is left out of COCO is known
    faults = [*(fault for found in faulty.values() for fault in found), *pool.findings]
    refuse_faults(faults, strict)
    with file_bar("hashing") as on_progress:
        benchmark = freeze(place, draft, tubes, pool, on_progress)
    if as_json:
        said = {"release": benchmark.label, "path": str(benchmark.path), "episodes": len(benchmark.records)}
        said |= {"tubes": [tube.id for tube in tubes], "clips": [match.as_dict() for match in matches]}
        said |= {"left_out": sorted(faulty), "faults": [fault.as_dict() for fault in faults]}
        click.echo(json.dumps(said, indent=1, ensure_ascii=False))
        return
    for line in describe(matches) if opened else ():
        click.echo(line)
    for name, found in sorted(faulty.items()):
        click.echo(f"out  {name}  files: {in_short(found)}")
    tell_supports(pool.findings)
    if faults:
        click.echo(f"left out: videos with faulty files {len(faulty)}, faulty annotations and images of COCO {len(pool.findings)}")
    click.echo(f"{len(tubes)} tubes imported: {benchmark.label} in {benchmark.path}, {len(benchmark.records)} episodes")
