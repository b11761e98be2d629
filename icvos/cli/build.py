"""`icvos build`: from data sets on disk to a frozen release, or to the candidates that people review before one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from icvos.cli import build_report as report
from icvos.cli import options

if TYPE_CHECKING:
    from curation.rules import Limits
    from curation.sources.coco import Coco
    from curation.tubes import Curated
    from icvos.benchmark import Benchmark


@dataclass(frozen=True, slots=True)
class _Chosen:
    """What the options say of clips, labels and rules; None and nothing where they do not."""

    sources: str | None
    labels: tuple[Path, ...]
    min_area: float | None
    min_length: int | None
    resolution: str | None

    @property
    def names(self) -> list[str]:
        """The video data sets."""
        return options.source_list(self.sources or "")

    def limits(self) -> Limits:
        """The numbers in the rules."""
        from curation.rules import Limits

        said = {"min_area": self.min_area, "min_length": self.min_length}
        return Limits(**{name: value for name, value in said.items() if value is not None})  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class _Release:
    """What the options say of the release itself."""

    out: Path | None
    name: str | None
    version: str
    seed: str
    shots: int
    min_support_area: int


@click.command("build")
@options.rules
@options.roots
@options.resolution
@options.release("its sources, as in davis-mose")
@click.option("--candidates", type=options.FOLDER, metavar="DIR", help="Write what the rules leave in here, for review; no release.")
@click.option("--look-for-more", is_flag=True, help="Warn where the first frame shows more of a class outside the masks.")
@click.option("--decisions", type=options.FOLDER, metavar="FILE", help="Freeze what reviewers accepted of the candidates beside it.")
@click.option("--explain", metavar="CLIP", help="Say why each class of one clip is in or out, rule by rule; write nothing.")
@click.option("--materialise", type=options.FOLDER, metavar="DIR", help="Also lay out the official tree of frames and masks.")
@click.option("--dry-run", is_flag=True, help="Show what would be in and out; write nothing.")
@options.strict
@options.as_json
def command(
    sources: str | None,
    labels: tuple[Path, ...],
    min_area: float | None,
    min_length: int | None,
    where: options.Where,
    resolution: str | None,
    out: Path | None,
    name: str | None,
    release_version: str,
    seed: str,
    shots: int,
    support_split: str | None,
    min_support_area: int,
    candidates: Path | None,
    look_for_more: bool,
    decisions: Path | None,
    explain: str | None,
    materialise: Path | None,
    dry_run: bool,
    strict: bool,
    as_json: bool,
) -> None:
    """Build a release: one binary tube a COCO class and clip, five frozen supports a tube, no pixels.

    \b
    icvos build --sources davis --davis /data/DAVIS --coco /data/COCO --out ic-vos
    icvos build --sources davis,mose,lvos2 --data /data --dry-run
    icvos build --sources davis --data /data --shots 5 --out ic-vos-5
    icvos build --sources mose --data /data --labels ann.csv --labels bob.csv --candidates to-review
    icvos build --decisions to-review/decisions.jsonl --out ic-vos
    icvos build --data /data --explain bear
    """
    from curation.sources.coco import Coco

    chosen = _Chosen(sources, labels, min_area, min_length, resolution)
    release = _Release(out, name, release_version, seed, shots, min_support_area)
    if explain:
        _explain(explain, chosen, where, decisions, candidates, support_split, min_support_area, as_json)
        return
    if decisions:
        curated, pool, rules, roots = _reviewed(decisions, candidates, chosen, where, support_split, min_support_area)
        report.refuse_faults(pool.findings, strict)
    else:
        names = chosen.names or ([] if chosen.sources else ["davis"])
        roots = _all_roots(names, where)
        pool = Coco(roots["coco"], support_split, min_support_area)
        curated, rules = _curated(names, roots, pool, chosen)
        report.refuse_faults([*curated.faults, *pool.findings], strict or not (curated.tubes or dry_run))
        if look_for_more:
            curated = _with_look_alikes(curated)
        if candidates and not dry_run:
            _write_candidates(candidates, curated, rules, roots, pool, as_json)
            return
    benchmark = None if dry_run else _freeze(release, curated, pool, rules, roots)
    if benchmark and materialise:
        _materialise(benchmark, materialise)
    report.show(curated, report.release_summary(benchmark), as_json, pool=pool)
    if benchmark:
        report.warn_of_repeats(curated, pool, shots)


def _curated(names: list[str], roots: dict[str, Path], pool: Coco, chosen: _Chosen) -> tuple[Curated, dict[str, str]]:
    from curation.label_files import read_labels
    from curation.rules import rules_with
    from curation.tubes import curate, stated_rules
    from icvos.cli.progress import file_bar
    from icvos.registry import load_sources

    rules, book = rules_with(chosen.limits()), read_labels(chosen.labels)
    sources = load_sources({name: roots[name] for name in names}, chosen.resolution)
    options.note_not_data(roots.values())
    with file_bar("scanning", "clips") as on_progress:
        curated = curate(sources, pool, book, rules, on_progress)
    options.note_orders(tube.clip for tube in curated.tubes)
    return curated, stated_rules(rules, book)


def _with_look_alikes(curated: Curated) -> Curated:
    from icvos.cli.progress import bar
    from icvos.errors import missing_package

    try:
        from curation.look_alikes import with_look_alikes
        from curation.suggest import Looker
    except ModuleNotFoundError as error:
        raise missing_package("--look-for-more", error, "models") from error
    with bar("looking for more", len(curated.tubes), "tubes") as on_tube:
        return with_look_alikes(curated, Looker(), on_tube)


def _reviewed(
    decisions: Path, folder: Path | None, chosen: _Chosen, where: options.Where, support_split: str | None, min_support_area: int
) -> tuple[Curated, Coco, dict[str, str], dict[str, Path]]:
    """What reviewers accepted: tubes, support pool, rules, and where everything lies."""
    from dataclasses import replace

    from curation.candidates import CandidateSet
    from curation.label_files import read_labels
    from curation.reviewed import REVIEWED, accepted, refuse_other_settings, reviews_of
    from curation.rules import EVERY_INSTANCE, rules_with
    from curation.sources.coco import Coco
    from curation.tubes import stated_rules

    opened = CandidateSet.open(folder or decisions.parent)
    said = stated_rules(rules_with(chosen.limits()), read_labels(chosen.labels))
    given = {"labels": chosen.labels, "min-area": chosen.min_area, "min-length": chosen.min_length}
    refuse_other_settings(opened, {name: said.get(name, "none") for name, value in given.items() if value not in (None, ())}, chosen.names)
    settlement = reviews_of(decisions, opened)
    for finding in settlement.findings:
        click.echo(f"note: {finding}", err=True)
    names = sorted({tube.source for tube in opened.tubes})
    roots = options.located([*names, "coco"], opened.roots, where)
    _refuse_missing([*names, "coco"], roots)
    pool = Coco(roots["coco"], support_split, min_support_area)
    curated = accepted(replace(opened, roots=roots), settlement, pool)
    return curated, pool, {**opened.rules, EVERY_INSTANCE: REVIEWED}, {name: roots[name] for name in (*names, "coco")}


def _freeze(release: _Release, curated: Curated, pool: Coco, rules: dict[str, str], roots: dict[str, Path]) -> Benchmark:
    from curation.freeze import Draft, freeze, release_name
    from curation.known_issues import known_issues
    from curation.sources.catalogue import source_record
    from icvos.cli.progress import file_bar

    stated = rules | {"min-support-area": f"{release.min_support_area} px", "support-split": pool.split}
    records = {name: source_record(name, pool.split if name == "coco" else "") for name in roots}
    out = release.out or options.settings().benchmark
    name = release.name or release_name(out, roots, release.shots)
    draft = Draft(name, release.version, release.seed, stated, records, roots, known_issues(), release.shots)
    with file_bar("hashing") as on_progress:
        return freeze(out, draft, curated.tubes, pool, on_progress)


def _write_candidates(folder: Path, curated: Curated, rules: dict[str, str], roots: dict[str, Path], pool: Coco, as_json: bool) -> None:
    from curation.candidates import write_candidates
    from curation.reviewed import candidate_tubes
    from icvos.cli.progress import file_bar

    with file_bar("hashing masks of tubes") as on_progress:
        tubes = candidate_tubes(curated, roots, on_progress)
    written = write_candidates(folder, tubes, rules, roots)
    summary = {"candidates": written.digest, "path": str(folder)}
    last = f"candidates {written.digest[:12]} in {folder}; review them with `icvos review {folder}`"
    report.show(curated, summary, as_json, last, pool)


def _explain(
    clip: str,
    chosen: _Chosen,
    where: options.Where,
    decisions: Path | None,
    folder: Path | None,
    support_split: str | None,
    min_support_area: int,
    as_json: bool,
) -> None:
    from curation.label_files import read_labels
    from curation.reviewed import with_reviews
    from curation.rules import rules_with
    from curation.sources.coco import Coco
    from curation.tubes import explain
    from icvos.registry import load_sources

    names = chosen.names or ["davis"]
    roots = _all_roots(names, where)
    opened = load_sources({name: roots[name] for name in names}, chosen.resolution)
    pool = Coco(roots["coco"], support_split, min_support_area)
    found = explain(opened, pool, clip, read_labels(chosen.labels), rules_with(chosen.limits()))
    report.show_explained(with_reviews(found, decisions, folder), as_json)


def _materialise(benchmark: Benchmark, folder: Path) -> None:
    from curation.layout import materialise
    from icvos.cli.progress import file_bar

    with file_bar("laying out") as on_progress:
        written = materialise(benchmark, folder, on_progress)
    click.echo(f"{written} files laid out in {folder}", err=True)


def _all_roots(names: list[str], where: options.Where) -> dict[str, Path]:
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
    roots = options.all_roots(wanted, where)
    _refuse_missing(wanted, roots)
    return {name: roots[name] for name in wanted}


def _refuse_missing(wanted: list[str], roots: dict[str, Path]) -> None:
    from icvos.errors import UserInputError

    if missing := [name for name in wanted if name not in roots]:
        report.show_what_to_fetch(wanted)
        fix = "fetch what the table lists, then say --data DIR, --root NAME=DIR, or set ICVOS_DATA"
        raise UserInputError("nobody said where the data is", ", ".join(missing), fix=fix)
