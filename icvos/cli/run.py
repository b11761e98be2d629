"""`icvos run`: predict every episode of a release with one method."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from icvos.cli import complete, options
from icvos.cli import foreign as foreign_options

if TYPE_CHECKING:
    from icvos.benchmark import Benchmark
    from icvos.passes import Written
    from icvos.registry import LoadedMethod
    from icvos.runner import RunReport
    from icvos.types import Compute, MethodCard
    from icvos.weights import WeightFile


ALL_EMBEDDED = "all-embedded"


@click.command("run")
@click.option(
    "--method",
    metavar="NAME[,NAME...] | all-embedded[,...] | FILE.py:CLASS[,...]",
    shell_complete=complete.methods,
    help="The method (`icvos methods` lists them). Several share one pass; all-embedded: one of each that needs no download.",
)
@options.benchmark
@options.roots
@click.option("--out", type=options.OUT, help="The folder of runs; this one goes below it, under the method's name.  [default: runs]")
@click.option("--shard", callback=options.shard, metavar="i/n", help="Do only this part; all parts may write into one --out.")
@click.option("--limit", type=click.IntRange(1), help="Only the first so many episodes.")
@click.option("--workers", type=click.IntRange(1), help="Processes.  [default: all cores if the card allows it and it is worth it, else 1]")
@click.option("--dry-run", is_flag=True, help="Say what it would take; predict nothing.")
@options.compute
@foreign_options.options
@options.as_json
def command(
    method: str | None,
    benchmark: Path | None,
    where: options.Where,
    out: Path | None,
    shard: tuple[int, int],
    limit: int | None,
    workers: int | None,
    dry_run: bool,
    as_json: bool,
    compute: Compute,
    foreign: foreign_options.Foreign,
) -> None:
    """Run METHOD on a release. Whatever is there already is kept: after any interruption, run the same command again.

    \b
    icvos run --method support-shape
    icvos run --method my_method.py:MyMethod --limit 5
    icvos run --method support-shape --shard 2/8
    icvos run --method naive-sam2 --sam sam2.1_hiera_l --device cuda --precision bf16
    icvos run --method dcsam --sam sam2.1_hiera_l --weights dcsam/generator.safetensors
    icvos run --method persam,vrp_sam,naive-sam2
    icvos run --method all-embedded,dcsam-mask
    icvos run --program 'python3 segment.py {input} {output}' --time-limit 600
    icvos run --container my-method:1 --device cuda --card card.json
    """
    import json

    from icvos.cli.progress import bar
    from icvos.cli.weights import fetch_missing
    from icvos.programs.closed import closed_folders
    from icvos.runner import open_store, planned, run, run_key, run_together
    from icvos.store import PredictionStore

    foreign_options.check(method, foreign, compute)
    check_memory(compute)
    methods = [] if method is None else chosen_methods(method, compute, workers)
    release = options.open_benchmark(benchmark, where)
    runs = out or options.settings().runs
    methods = methods or [foreign_options.load(foreign, closed_folders(release), runs, compute, dry_run=dry_run)]
    roots = [runs / folder_name(one.card.name) for one in methods]
    keys = [(root, run_key(release, one)) for root, one in zip(roots, methods, strict=True)]
    foreign_options.warn_of_walls(methods[0])
    there = [PredictionStore.resume(*key) for key in keys]  # before anything is written: one folder may hold another run
    asked = [[name for ids in planned(release, store, shard=shard, limit=limit) for name in ids] for store in there]
    plans = [_plan(release, root, ids) for root, ids in zip(roots, asked, strict=True)]
    if dry_run:
        for plan, one in zip(plans, methods, strict=True):
            plan |= {"download_bytes": download_bytes(one.card)} | foreign_options.command_line(one)
        click.echo(json.dumps(plans if len(plans) > 1 else plans[0], indent=1) if as_json else "\n".join(map(_plan_text, plans)))
        return
    fetch_missing((file for one in methods for file in known_weights(one.card)), compute.offline)
    stores = [open_store(release, one, root) for one, root in zip(methods, roots, strict=True)]
    embedded = dict.fromkeys(file.name for one in methods for file in known_weights(one.card) if file.embedded)
    if embedded and not as_json:
        click.echo(f"icvos: {' and '.join(embedded)}: small weights that come along; --sam and --weights take larger ones", err=True)
    title = methods[0].card.name if len(methods) == 1 else f"{len(methods)} methods"
    with bar(title, sum(plan["masks"] for plan in plans), "frames") as advance:

        def on_written(written: Written) -> None:
            advance(written.masks, f"{written.clip} {written.methods}" if len(methods) > 1 else written.clip)

        if len(methods) == 1:
            reports = [run(methods[0], release, stores[0], shard=shard, limit=limit, workers=workers, on_written=on_written)]
        else:
            reports = run_together(list(zip(methods, stores, strict=True)), release, shard=shard, limit=limit, on_written=on_written)
    done = [_done(report) for report in reports]
    said = "\n".join(map(_done_text, reports)) + _rate_text(reports)
    click.echo(json.dumps(done if len(done) > 1 else done[0], indent=1) if as_json else said)
    if not as_json:
        foreign_options.tell_walls(methods[0])
    for finding in [] if as_json else [finding for report in reports for finding in report.findings]:
        click.echo(f"icvos: {finding}", err=True)


def check_memory(compute: Compute) -> None:
    """See that what was chosen can follow a clip.

    Raises:
        UserInputError: the first SAM was chosen.
    """
    from icvos.propagate.chosen import without_memory
    from icvos.weights import is_first_sam

    if is_first_sam(compute.sam):
        raise without_memory(f"--sam {compute.sam}", "clips")


def chosen_methods(said: str, compute: Compute, workers: int | None, *, images: bool = False) -> list[LoadedMethod]:
    """What `--method` names, in that order and each once: methods, files' classes, and groups, with commas between.

    Args:
        said: the option's value.
        compute: for methods that ask.
        workers: as asked for.
        images: for single images, of whose groups ceilings are no part: the truth of the only frame is the answer.

    Raises:
        UserInputError: no such method, or several on more processes than one.
    """
    from icvos.errors import UserInputError, did_you_mean
    from icvos.registry import load_method, method_names

    methods: dict[str, LoadedMethod] = {}
    for name in _listed(said):
        if name == ALL_EMBEDDED:
            for one in _all_embedded(compute, images):
                methods.setdefault(one.spec, one)
        elif ".py" not in name and name not in (known := method_names()):
            raise UserInputError("unknown method", name, fix=did_you_mean(name, [*known, ALL_EMBEDDED]))
        elif name not in methods:
            methods[name] = load_method(name, compute)
    if not methods:
        raise UserInputError("no method", "--method", repr(said), "a name", "see `icvos methods`")
    if len(methods) > 1 and workers not in (None, 1):
        raise UserInputError("several methods share one process", "--workers", workers, "1", "leave --workers, or run them one by one")
    return list(methods.values())


def _listed(said: str) -> list[str]:
    """The names of a list; one file may have commas in its path, and files are not mixed with installed methods."""
    parts = [part.strip() for part in said.split(",") if part.strip()]
    is_one_file = ".py" in said and (Path(said.rpartition(":")[0]).is_file() or not all(".py" in part for part in parts))
    return [said] if is_one_file else parts


def _all_embedded(compute: Compute, images: bool) -> list[LoadedMethod]:
    """One of each that needs no download; those whose packages are not installed are left out, and told."""
    from importlib.util import find_spec

    from icvos.registry import load_method, method_names
    from icvos.types import NeedsTruth

    installed = [load_method(name, compute) for name in method_names()]
    methods = [one for one in installed if not one.card.variant_of and not download_bytes(one.card)]
    methods = [one for one in methods if not (images and isinstance(one.segmenter, NeedsTruth))]
    if find_spec("sam2"):
        return methods
    left_out = [one.card.name for one in methods if one.card.weights != "none"]
    click.echo(f"icvos: left out: {', '.join(left_out)}: they need the models, pip install 'icvos[models]'", err=True)
    return [one for one in methods if one.card.weights == "none"]


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
    return f"{report.store}: {report.episodes_done} episodes predicted, {report.episodes_kept} there before"


def _rate_text(reports: list[RunReport]) -> str:
    masks = sum(report.masks for report in reports)
    rate = f", {masks / reports[0].seconds:.0f} frames/s" if masks else ""
    return rate + (f" after {reports[0].warm_up_seconds:.0f} s of warm-up" if reports[0].warm_up_seconds >= 1 else "")


def folder_name(name: str) -> str:
    """A method's name, if it may be that of a folder.

    Raises:
        PluginError: it may not.
    """
    from icvos.errors import PluginError
    from icvos.handed_in.names import is_folder_name

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


def known_weights(card: MethodCard) -> list[WeightFile]:
    """What the card names of the registry: name and hash together, for a user's file stands behind the model's name alone."""
    from icvos.weights import weight_files

    said = f" {card.weights} "
    return [file for name, file in weight_files().items() if f" {name} {file.public_hash} " in said]


def download_bytes(*cards: MethodCard) -> int:
    """The bytes of weights that would be fetched first, each file once."""
    from icvos.weights import weight_path

    files = {file.name: file for card in cards for file in known_weights(card)}
    return sum(file.size or 0 for file in files.values() if not weight_path(file).is_file())


def _plan_text(plan: dict[str, Any]) -> str:
    fetched = f", after fetching {plan['download_bytes'] / 1e6:.0f} MB of weights" if plan["download_bytes"] else ""
    return (
        f"{plan['episodes']} episodes of {plan['release']} would be predicted: {plan['masks']} masks over {plan['frames']} frames "
        f"of {plan['clips']} clips, about {plan['about_bytes'] / 1e6:.1f} MB in {plan['run']}{fetched}; nothing written"
        + (f"\neach clip by: {plan['command']}" if "command" in plan else "")
    )
