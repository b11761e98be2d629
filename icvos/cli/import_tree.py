"""`icvos import`: a release out of a tree in the official layout that somebody else made."""

from __future__ import annotations

from pathlib import Path

import click

from icvos.cli import options


@click.command("import")
@click.argument("path", type=options.FOLDER)
@click.option("--data", type=options.FOLDER, help="A folder with COCO/ inside.  [default: $ICVOS_DATA]")
@click.option("--coco", type=options.FOLDER, help="The folder of COCO, for the supports.")
@options.release(name="ic-vos-imported")
@options.as_json
def command(
    path: Path,
    data: Path | None,
    coco: Path | None,
    out: Path | None,
    name: str,
    release_version: str,
    seed: str,
    support_split: str | None,
    min_support_area: int,
    as_json: bool,
) -> None:
    """Import PATH, a tree <video>/JPEGImages/*.jpg, <video>/Annotations/<k>/*.png with k = 1..80, and freeze its supports.

    \b
    icvos import IC-VOS --coco /data/COCO --out ic-vos-imported
    """
    import json

    from curation.freeze import Draft, freeze
    from curation.layout import IMPORTED, read_official_tree
    from curation.sources.catalogue import source_record
    from curation.sources.coco import Coco
    from icvos.benchmark import SourceRecord
    from icvos.cli.progress import file_bar
    from icvos.errors import UserInputError

    roots = options.all_roots(["coco"], data, None, coco, ())
    if "coco" not in roots:
        raise UserInputError("nobody said where the data is", "coco", fix="say --coco DIR or --data DIR, or set ICVOS_DATA")
    pool = Coco(roots["coco"], support_split, min_support_area)
    tubes = read_official_tree(path)
    records = {
        IMPORTED: SourceRecord(title="a tree in the official IC-VOS layout", page="", licence="as its sources"),
        "coco": source_record("coco", pool.split),
    }
    rules = {"min-support-area": f"{min_support_area} px", "support-split": pool.split}
    draft = Draft(name, release_version, seed, rules, records, {IMPORTED: path, "coco": roots["coco"]})
    with file_bar("hashing") as on_progress:
        benchmark = freeze(out or options.settings().benchmark, draft, tubes, pool, on_progress)
    if as_json:
        click.echo(
            json.dumps(
                {
                    "release": benchmark.label,
                    "path": str(benchmark.path),
                    "tubes": [tube.id for tube in tubes],
                    "episodes": len(benchmark.records),
                },
                indent=1,
            )
        )
    else:
        click.echo(f"{len(tubes)} tubes imported: {benchmark.label} in {benchmark.path}, {len(benchmark.records)} episodes")
