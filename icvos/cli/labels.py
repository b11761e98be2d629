"""`icvos labels`: what the objects of clips are, checked, merged, taken over from OVIS, or suggested."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from icvos.cli import complete, options

if TYPE_CHECKING:
    from curation.label_files import LabelBook
    from icvos.types import Source

FILES = click.argument("files", nargs=-1, required=True, type=options.THERE, metavar="FILE...")


@click.group("labels", context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """What the objects of clips are: CSV files of source, clip, object, class (COCO's, or none), who, when, how.

    \b
    icvos labels check ann.csv bob.csv
    icvos labels merge ann.csv bob.csv --out labels.csv
    icvos labels import-ovis annotations_train.json --root mose=/data/MOSE --out ovis.csv
    icvos labels suggest --sources mose --data /data --out suggestions.csv
    icvos build --sources mose --data /data --labels labels.csv --labels ovis.csv
    """


@command.command("check")
@FILES
@click.option(
    "--sources", shell_complete=complete.sources, help="Also check that these sources have the clips and objects; separated by commas."
)
@options.roots
@options.as_json
def check(
    files: tuple[Path, ...],
    sources: str | None,
    where: options.Where,
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

        check_labels(book, _opened(sources, where))
    _show(book, as_json)


@command.command("merge")
@FILES
@click.option("--out", type=options.OUT_FILE, required=True, help="The merged file.")
@options.as_json
def merge(files: tuple[Path, ...], out: Path, as_json: bool) -> None:
    """Merge label files: of each person the latest row about an object. Disagreements stay in, and are listed.

    \b
    icvos labels merge ann.csv bob.csv --out labels.csv

    Until people agree about an object it has no label, and the classes that they call it stay out of its clip.
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


@command.command("import-ovis")
@click.argument("annotations", type=options.THERE)
@click.option("--sources", shell_complete=complete.sources, default="mose", show_default=True, help="The sources whose clips OVIS has too.")
@click.option("--threshold", type=click.FloatRange(0.5, 1), default=0.7, show_default=True, help="The least overlap of a match.")
@click.option("--out", type=options.OUT_FILE, required=True, help="The labels.")
@options.roots
@options.as_json
def import_ovis(
    annotations: Path,
    sources: str,
    threshold: float,
    out: Path,
    where: options.Where,
    as_json: bool,
) -> None:
    """Name objects by OVIS' ANNOTATIONS of the same videos, where masks match; what is not clear is listed, never guessed.

    \b
    icvos labels import-ovis annotations_train.json --root mose=/data/MOSE --out ovis.csv
    """
    import json

    from curation.label_files import to_csv
    from curation.ovis import match_clips, read_ovis
    from curation.sources.tree import whole_clips
    from icvos.files import write_text

    videos = read_ovis(annotations)
    clips = (clip for source in _opened(sources, where) for clip in whole_clips(source))
    matched = match_clips(clips, videos, threshold)
    write_text(out, to_csv(matched.labels))
    if as_json:
        report = {"labels": len(matched.labels), "out": str(out), "unmatched": [finding.as_dict() for finding in matched.findings]}
        click.echo(json.dumps(report, indent=1, ensure_ascii=False))
        return
    for finding in matched.findings:
        click.echo(str(finding))
    click.echo(f"{len(matched.labels)} objects named, {len(matched.findings)} left to a person; {out}")


@command.command("suggest")
@click.option(
    "--sources",
    shell_complete=complete.sources,
    default="davis",
    show_default=True,
    help="The sources whose unnamed objects are looked at.",
)
@click.option("--labels", type=options.THERE, multiple=True, metavar="FILE", help="Objects labelled here are left alone.")
@click.option("--all", "everything", is_flag=True, help="Also objects that have a name.")
@click.option("--per-class", type=click.IntRange(1), default=20, show_default=True, help="COCO objects that stand for a class.")
@click.option("--support-split", help="COCO's split.  [default: val2017, or val2014]")
@click.option("--out", type=options.OUT_FILE, required=True, help="The suggestions; not a file of labels.")
@options.roots
@options.as_json
def suggest(
    sources: str,
    labels: tuple[Path, ...],
    everything: bool,
    per_class: int,
    support_split: str | None,
    out: Path,
    where: options.Where,
    as_json: bool,
) -> None:
    """Suggest classes for unnamed objects: the five of COCO that they look most like, with scores. Needs PyTorch.

    \b
    icvos labels suggest --sources mose --data /data --out suggestions.csv

    A suggestion is never a label: a person looks, and writes a file of labels.
    """
    import json

    from curation.label_files import read_labels
    from curation.sources.coco import Coco
    from curation.tubes import unnamed
    from icvos.categories import CATEGORIES
    from icvos.cli.progress import bar
    from icvos.errors import missing_package
    from icvos.files import write_text

    try:
        from curation.suggest import Looker, class_prototypes, suggestions_csv
        from curation.suggest import suggest as suggest_classes
    except ModuleNotFoundError as error:
        raise missing_package("suggesting classes", error, "models") from error
    opened = _opened(sources, where)
    roots = options.source_roots(["coco"], where)
    looker, book = Looker(), read_labels(labels)
    with bar("looking at COCO's objects", len(CATEGORIES), "classes") as on_class:
        prototypes = class_prototypes(Coco(roots["coco"], support_split), looker, per_class, on_class)
    suggestions = []
    with bar("suggesting", None, "objects") as advance:
        for one in suggest_classes(unnamed(opened, book, everything), prototypes, looker):
            suggestions.append(one)
            advance(1, f"{one.source}/{one.clip}")
    write_text(out, suggestions_csv(suggestions))
    if as_json:
        click.echo(json.dumps({"objects": len(suggestions), "out": str(out)}, indent=1))
        return
    for one in suggestions:
        guesses = ", ".join(f"{name} {score:.2f}" for name, score in one.classes)
        click.echo(f"{one.source}/{one.clip} object {one.object}: {guesses}")
    click.echo(f"{len(suggestions)} objects; suggestions in {out}, for a person to look at")


def _opened(sources: str, where: options.Where) -> list[Source]:
    from icvos.registry import load_sources

    names = options.source_list(sources)
    roots = options.source_roots(names, where)
    return load_sources({name: roots[name] for name in names})
