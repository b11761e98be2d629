"""`icvos labels`: what the objects of clips are, checked, merged, taken over from OVIS, or suggested."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from icvos.cli import options

if TYPE_CHECKING:
    from curation.label_files import LabelBook

FILES = click.argument("files", nargs=-1, required=True, type=options.FOLDER, metavar="FILE...")


@click.group("labels", context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """What the objects of clips are: CSV files of source, clip, object, class (COCO's, or none), who, when, how.

    \b
    icvos labels check ann.csv bob.csv
    icvos labels merge ann.csv bob.csv --out labels.csv
    icvos build --sources mose --data /data --labels labels.csv
    """


@command.command("check")
@FILES
@click.option("--sources", help="Also check that these sources have the clips and objects; separated by commas.")
@options.roots
@options.as_json
def check(
    files: tuple[Path, ...],
    sources: str | None,
    data: Path | None,
    davis: Path | None,
    coco: Path | None,
    named: tuple[str, ...],
    as_json: bool,
) -> None:
    """Check label files: every fault of every file at once, then what they say together and where people disagree.

    \b
    icvos labels check ann.csv bob.csv
    icvos labels check labels.csv --sources davis --data /data
    """
    from curation.label_files import read_labels

    book = read_labels(files)
    if sources:
        from curation.tubes import check_labels
        from icvos.registry import load_source

        names = list(dict.fromkeys(part.strip() for part in sources.split(",") if part.strip()))
        roots = options.source_roots(names, data, davis, coco, named)
        check_labels(book, [load_source(name, roots[name]) for name in names])
    _show(book, as_json)


@command.command("merge")
@FILES
@click.option("--out", type=options.FOLDER, required=True, help="The merged file.")
@options.as_json
def merge(files: tuple[Path, ...], out: Path, as_json: bool) -> None:
    """Merge label files: of each person the latest row about an object. Disagreements stay in, and are listed.

    \b
    icvos labels merge ann.csv bob.csv --out labels.csv

    An object on which people disagree has no label until they agree: its class stays out of a release.
    """
    from curation.label_files import read_labels, to_csv
    from icvos.files import write_text

    book = read_labels(files)
    write_text(out, to_csv(book.rows))
    _show(book, as_json, out)


def _show(book: LabelBook, as_json: bool, out: Path | None = None) -> None:
    import json

    from curation.label_files import in_words

    quarrels = book.disagreements()
    objects = sum(len(rows) for rows in book.by_clip().values())
    if as_json:
        listed = [{"object": rows[0].key, "labels": {row.who: row.class_name for row in rows}} for rows in quarrels]
        report = {"rows": len(book.rows), "objects": objects, "sha256": book.digest, "disagreements": listed, "out": out and str(out)}
        click.echo(json.dumps(report, indent=1, ensure_ascii=False))
        return
    for rows in quarrels:
        click.echo(f"disagree  {rows[0].key}: {in_words(rows)}; no label until they agree")
    people = len({row.who for row in book.rows})
    click.echo(f"{objects} objects labelled by {people}, {len(quarrels)} disagreements" + (f"; {out}" if out else ""))
