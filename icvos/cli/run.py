"""`icvos run`: predict every episode of a release with one method."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from icvos.cli import options

if TYPE_CHECKING:
    from icvos.benchmark import Benchmark
    from icvos.runner import RunReport
    from icvos.types import Compute, MethodCard
    from icvos.weights import WeightFile


@click.command("run")
@click.option("--method", required=True, metavar="NAME | FILE.py:CLASS", help="The method (`icvos methods` lists them).")
@options.benchmark
@options.roots
@click.option("--out", type=options.FOLDER, help="The folder of runs; this one goes below it, under the method's name.  [default: runs]")
@click.option("--shard", callback=options.shard, metavar="i/n", help="Do only this part; all parts may write into one --out.")
@click.option("--limit", type=click.IntRange(1), help="Only the first so many episodes.")
@click.option("--workers", type=click.IntRange(1), help="Processes.  [default: all cores if the card allows it and it is worth it, else 1]")
@click.option("--dry-run", is_flag=True, help="Say what it would take; predict nothing.")
@options.compute
@options.as_json
def command(
    method: str,
    benchmark: Path | None,
    data: Path | None,
    davis: Path | None,
    coco: Path | None,
    named: tuple[str, ...],
    out: Path | None,
    shard: tuple[int, int],
    limit: int | None,
    workers: int | None,
    dry_run: bool,
    as_json: bool,
    compute: Compute,
) -> None:
    """Run METHOD on a release. Whatever is there already is kept: after any interruption, run the same command again.

    \b
    icvos run --method support-shape
    icvos run --method my_method.py:MyMethod --limit 5
    icvos run --method support-shape --shard 2/8
    icvos run --method naive-sam2 --sam sam2.1_hiera_l --device cuda --precision bf16
    icvos run --method dcsam --sam sam2.1_hiera_l --weights dcsam/generator.safetensors
    """
    import json

    from icvos.cli.progress import bar
    from icvos.registry import load_method
    from icvos.runner import open_store, planned, run, run_key
    from icvos.store import PredictionStore

    loaded = load_method(method, compute)
    release = options.open_benchmark(benchmark, data, davis, coco, named)
    root = (out or options.settings().runs) / _folder_name(loaded.card.name)
    store = PredictionStore.resume(root, run_key(release, loaded)) if dry_run else open_store(release, loaded, root)
    plan = _plan(release, root, [name for ids in planned(release, store, shard=shard, limit=limit) for name in ids])
    if dry_run or store is None:
        plan["download_bytes"] = _download(loaded.card)
        click.echo(json.dumps(plan, indent=1) if as_json else _plan_text(plan))
        return
    if not as_json and (embedded := [file.name for file in _known_weights(loaded.card) if file.embedded]):
        click.echo(f"icvos: {' and '.join(embedded)}: small weights that come along; --sam and --weights take larger ones", err=True)
    with bar(loaded.card.name, plan["masks"], "frames") as advance:
        report = run(loaded, release, store, shard=shard, limit=limit, workers=workers, on_event=lambda event: advance(event.masks))
    click.echo(json.dumps(_done(report), indent=1) if as_json else _done_text(report))
    for finding in [] if as_json else report.findings:
        click.echo(f"icvos: {finding}", err=True)


def _done(report: RunReport) -> dict[str, Any]:
    return {
        "run": str(report.store),
        "episodes": report.episodes_done,
        "kept": report.episodes_kept,
        "masks": report.masks,
        "seconds": round(report.seconds, 3),
        "warm_up_seconds": round(report.warm_up_seconds, 3),
        "findings": [finding.as_dict() for finding in report.findings],
    }


def _done_text(report: RunReport) -> str:
    rate = f", {report.masks / report.seconds:.0f} frames/s" if report.masks else ""
    if report.warm_up_seconds >= 1:
        rate += f" after {report.warm_up_seconds:.0f} s of warm-up"
    return f"{report.store}: {report.episodes_done} episodes predicted, {report.episodes_kept} there before{rate}"


def _folder_name(name: str) -> str:
    from icvos.errors import PluginError
    from icvos.store import is_folder_name

    if not is_folder_name(name):
        raise PluginError("the method's name cannot be a folder", repr(name), expected="letters, digits, - and _", fix="mend its card")
    return name


def _plan(release: Benchmark, root: Path, episode_ids: list[str]) -> dict[str, Any]:
    from icvos.benchmark import tube_id

    tubes = [release.tubes[tube_id(name)] for name in episode_ids]
    clips = {tube.clip.key: tube.clip for tube in tubes}
    return {
        "run": str(root),
        "release": release.label,
        "episodes": len(episode_ids),
        "clips": len(clips),
        "frames": sum(len(clip.frames) for clip in clips.values()),
        "masks": sum(len(tube.clip.frames) for tube in tubes),
        # A packed mask is rarely larger than its outline: 1.5 kB at 480p, more as the side grows.
        "about_bytes": sum(len(tube.clip.frames) * (500 + 2 * sum(tube.clip.size)) for tube in tubes) // 2,
    }


def _known_weights(card: MethodCard) -> list[WeightFile]:
    """What the card names of the registry: name and hash together, for a user's file stands behind the model's name alone."""
    from icvos.weights import weight_files

    said = f" {card.weights} "
    return [file for name, file in weight_files().items() if f" {name} {file.public_hash} " in said]


def _download(card: MethodCard) -> int:
    """The bytes of weights that would be fetched first."""
    from icvos.weights import weight_path

    return sum(file.size or 0 for file in _known_weights(card) if not weight_path(file).is_file())


def _plan_text(plan: dict[str, Any]) -> str:
    fetched = f", after fetching {plan['download_bytes'] / 1e6:.0f} MB of weights" if plan["download_bytes"] else ""
    return (
        f"{plan['episodes']} episodes of {plan['release']} would be predicted: {plan['masks']} masks over {plan['frames']} frames "
        f"of {plan['clips']} clips, about {plan['about_bytes'] / 1e6:.1f} MB in {plan['run']}{fetched}; nothing written"
    )
