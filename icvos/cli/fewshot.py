"""`icvos fewshot`: segmentation of images by supports, on COCO-20i, PASCAL-5i and from the one to the other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from icvos.cli import complete, options
from icvos.cli import foreign as foreign_options
from icvos.cli.run import chosen_methods, download_bytes, folder_name, known_weights

if TYPE_CHECKING:
    from icvos.fewshot.evaluate import Evaluated
    from icvos.fewshot.freeze import ImageDraft
    from icvos.fewshot.pools import Pool
    from icvos.fewshot.release import ImageRelease
    from icvos.registry import LoadedMethod
    from icvos.types import Compute


@click.command("fewshot")
@click.option("--benchmark", required=True, metavar="coco20i|pascal5i|coco2pascal", help="coco2pascal: trained on COCO's fold, Table 11.")
@click.option(
    "--method",
    metavar="NAME[,NAME...] | all-embedded[,...] | FILE.py:CLASS",
    shell_complete=complete.methods,
    help="The method; several share one pass.",
)
@click.option("--fold", default="all", show_default=True, metavar="0|1|2|3|all", help="Which classes; several with commas between.")
@click.option("--shots", type=click.IntRange(1), default=1, show_default=True, help="Supports an episode.")
@click.option("--seed", type=int, default=0, show_default=True, help="Names the episodes.")
@click.option(
    "--seeds", type=click.IntRange(1), default=1, show_default=True, help="So many, from --seed on, for the spread; the field has 5."
)
@click.option(
    "--protocol", default="native", show_default=True, metavar="NAME", help="native, native-10k, hsnet, pfenet, bam, dcsam, matcher."
)
@click.option("--episodes", type=click.IntRange(1), help="Instead of the protocol's number; its name then says so.")
@click.option("--lists", type=options.THERE, help="HSNet's data/splits: these pictures and no others.")
@click.option("--split", metavar="val2014|val2017|train2017", help="Of COCO, without --lists.  [default: val2014, else val2017]")
@click.option("--allow-missing", is_flag=True, help="Leave out listed pictures that are absent, and classes with too few.")
@click.option("--force", is_flag=True, help="Run a method that was trained on the fold's classes; its result says so.")
@click.option("--data", type=options.FOLDER, help="A folder with COCO/ and VOC2012/ inside.  [default: $ICVOS_DATA]")
@click.option("--coco", type=options.FOLDER, help="The folder of COCO (annotations/ and val2014/ inside).")
@click.option("--pascal", type=options.FOLDER, help="The folder of VOC 2012 (JPEGImages/ and SegmentationClassAug/ inside).")
@click.option("--releases", type=options.FOLDER, default="fewshot", show_default=True, help="Where the frozen episodes go.")
@click.option("--out", type=options.OUT, help="The folder of runs; each goes below it, under its release.  [default: runs]")
@click.option("--shard", callback=options.shard, metavar="i/n", help="Do only this part; all parts may write into one --out.")
@click.option("--limit", type=click.IntRange(1), help="Only the first so many episodes; nothing is scored.")
@click.option("--workers", type=click.IntRange(1), help="Processes of a single method.  [default: as it is worth it]")
@click.option("--dry-run", is_flag=True, help="Say what it would take; write nothing.")
@options.compute
@foreign_options.options
@options.as_json
def command(
    method: str | None,
    fold: str,
    seed: int,
    seeds: int,
    data: Path | None,
    coco: Path | None,
    pascal: Path | None,
    releases: Path,
    out: Path | None,
    shard: tuple[int, int],
    limit: int | None,
    workers: int | None,
    force: bool,
    dry_run: bool,
    as_json: bool,
    compute: Compute,
    foreign: foreign_options.Foreign,
    **given: Any,
) -> None:
    """Run METHOD on frozen episodes of images and score it: class-wise mIoU, FB-IoU. Whatever is there already is kept.

    \b
    icvos fewshot --benchmark coco20i --fold 0 --shots 1 --method dcsam --weights fold0.safetensors
    icvos fewshot --benchmark pascal5i --shots 5 --seeds 5 --method persam,matcher --lists hsnet/data/splits
    icvos fewshot --benchmark coco2pascal --method vrp_sam --weights fold0.safetensors --fold 0
    icvos fewshot --benchmark coco20i --method dcsam --protocol pfenet --shard 1/8
    icvos fewshot --benchmark coco20i --fold 0 --program 'python3 segment.py {input} {output}' --workers 4
    icvos leaderboard runs --protocol coco20i-1shot@1
    """
    import json

    from icvos.cli.weights import fetch_missing
    from icvos.fewshot.evaluate import check_folders, check_methods
    from icvos.fewshot.freeze import Setting, draft_images
    from icvos.fewshot.pools import open_pool
    from icvos.fewshot.release import ImageRelease
    from icvos.programs.closed import closed_to_images

    foreign_options.check(method, foreign, compute)
    methods, runs = [] if method is None else chosen_methods(method, compute, workers, images=True), out or options.settings().runs
    root = _root(given["benchmark"], data, coco, pascal)
    settings = [Setting(fold=number, seed=seed + more, **given) for number in _folds(fold) for more in range(seeds)]
    pool = open_pool(given["benchmark"], root, split=given["split"], lists=given["lists"])
    options.note_not_data(filter(None, (root, given["lists"])))
    drafts = [draft_images(setting, pool, releases) for setting in settings]
    _tell_names(pool, as_json)
    options.tell_coco_faults(pool.faults, root)
    if foreign.chosen:
        closed = closed_to_images(root, [draft.folder for draft in drafts])
        methods = [foreign_options.load(foreign, closed, runs, compute, dry_run=dry_run)]
        foreign_options.warn_of_walls(methods[0])
    for one in methods:
        folder_name(one.card.name)
    for draft in drafts:
        check_methods(draft.manifest, methods, force)
    if dry_run:
        plans = [_plan(draft, methods, runs) for draft in drafts]
        click.echo(json.dumps(plans, indent=1) if as_json else "\n".join(map(_plan_text, plans)))
        return
    fetch_missing((file for one in methods for file in known_weights(one.card)), compute.offline)
    for draft in drafts:  # what can be refused is refused before the first of them takes its hours
        check_folders(_frozen(draft, pool, root), methods, runs)
    said = []
    for draft in drafts:
        release = ImageRelease.open(draft.folder)
        for one, done in zip(methods, _evaluated(release, methods, runs, shard, limit, force, workers), strict=True):
            said.append(_as_dict(one, release, done))
            if not as_json:
                _tell(one, release, done)
    if as_json:
        click.echo(json.dumps(said, indent=1, ensure_ascii=False))
    else:
        foreign_options.tell_walls(methods[0])


def _folds(said: str) -> list[int]:
    from icvos.errors import UserInputError
    from icvos.fewshot.folds import FOLDS

    if said == "all":
        return list(range(FOLDS))
    parts = [part.strip() for part in said.split(",")]
    if not all(part.isdecimal() and int(part) < FOLDS for part in parts):
        raise UserInputError("no such fold", "--fold", said, f"0 to {FOLDS - 1}, with commas between, or all", "choose one of them")
    return list(dict.fromkeys(map(int, parts)))


def _root(benchmark: str, data: Path | None, coco: Path | None, pascal: Path | None) -> Path:
    """Where the pictures lie by the options, else by the environment and `icvos.toml`."""
    from icvos.errors import UserInputError, did_you_mean
    from icvos.fewshot.folds import BENCHMARKS
    from icvos.settings import folder_of, roots_below

    if benchmark not in BENCHMARKS:
        raise UserInputError("unknown benchmark of images", benchmark, fix=did_you_mean(benchmark, BENCHMARKS))
    source = BENCHMARKS[benchmark]
    folders = {source: folder_of(source)}
    named = {"coco": coco, "pascal": pascal}[source]
    found = {source: named} if named else roots_below(data, folders) if data else options.settings().known_roots(folders)
    if source not in found:
        raise UserInputError("nobody said where the data is", source, fix=f"say --{source} DIR or --data DIR, or set ICVOS_DATA")
    return found[source]


def _tell_names(pool: Pool, as_json: bool) -> None:
    if getattr(pool, "renamed", False) and not as_json:
        click.echo("icvos: the lists have names of COCO 2014, the tree is of 2017: pictures are found by their numbers", err=True)


def _frozen(draft: ImageDraft, pool: Pool, root: Path) -> ImageRelease:
    from icvos.cli.progress import file_bar
    from icvos.fewshot.freeze import freeze_images

    with file_bar(f"freezing {draft.folder.name}", "pictures") as on_progress:
        return freeze_images(draft, pool, root, on_progress)


def _evaluated(
    release: ImageRelease,
    methods: Sequence[LoadedMethod],
    runs: Path,
    shard: tuple[int, int],
    limit: int | None,
    force: bool,
    workers: int | None,
) -> list[Evaluated]:
    from icvos.cli.progress import bar
    from icvos.fewshot.evaluate import evaluate, left_to_do

    total = sum(left_to_do(release, one, runs, shard, limit) for one in methods)
    with bar(release.path.name, total, "episodes") as advance:
        return evaluate(
            release,
            methods,
            runs,
            shard=shard,
            limit=limit,
            force=force,
            workers=workers,
            on_event=lambda event: advance(event.episodes, event.clip),
        )


def _as_dict(method: LoadedMethod, release: ImageRelease, done: Evaluated) -> dict[str, Any]:
    result = done.result
    return {
        "method": method.card.name,
        "release": release.path.name,
        "run": str(done.report.store),
        "episodes": done.report.episodes_done,
        "kept": done.report.episodes_kept,
        "seconds": round(done.report.seconds, 3),
        "findings": [finding.as_dict() for finding in done.report.findings],
        "path": None if done.path is None else str(done.path),
        "result": None if result is None else result.model_dump(mode="json", exclude={"method"}),
    }


def _tell(method: LoadedMethod, release: ImageRelease, done: Evaluated) -> None:
    from icvos.badges import why_unsealed
    from icvos.fewshot.evaluate import told_once
    from icvos.scored import line_of

    result, report = done.result, done.report
    if done.path and (why := why_unsealed(done.path)):
        click.echo(f"icvos: {why}", err=True)
    if result is None or done.path is None:
        counted = f"{report.episodes_done} episodes predicted, {report.episodes_kept} there before"
        click.echo(f"{method.card.name}  {release.path.name}: {counted}; scored when all {len(release.records)} are there")
    else:
        click.echo(line_of(result, done.path))
    for line in (*(result.notes if result else ()), *told_once(report.findings)):
        click.echo(f"icvos: {line}", err=True)


def _plan(draft: ImageDraft, methods: Sequence[LoadedMethod], runs: Path) -> dict[str, Any]:
    from icvos.fewshot.freeze import protocol_id

    manifest = draft.manifest
    return {
        "release": str(draft.folder),
        "protocol": protocol_id(manifest),
        "classes": list(manifest.classes),
        "left_out": list(manifest.left_out),
        "absent": manifest.absent,
        "unreadable": manifest.unreadable,
        "episodes": manifest.episodes,
        "pictures": len(draft.shown),
        "runs": [str(runs / draft.folder.name / one.card.name) for one in methods],
        "download_bytes": download_bytes(*(one.card for one in methods)),
    } | foreign_options.command_line(methods[0])


def _plan_text(plan: dict[str, Any]) -> str:
    fetched = f", after fetching {plan['download_bytes'] / 1e6:.0f} MB of weights" if plan["download_bytes"] else ""
    left = f", {len(plan['left_out'])} left out" if plan["left_out"] else ""
    return (
        f"{plan['episodes']} episodes of {len(plan['classes'])} classes{left}, over {plan['pictures']} pictures, would be frozen in "
        f"{plan['release']} and predicted in {', '.join(plan['runs'])}{fetched}; nothing written"
        + (f"\neach picture by: {plan['command']}" if "command" in plan else "")
    )
