"""`icvos train`: train DC-SAM or VRP-SAM on episodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from icvos.cli import options

if TYPE_CHECKING:
    from baselines.common.generator_file import GeneratorFile
    from baselines.common.train_generator import Request, Trainable
    from icvos.training.class_pictures import ClassPictures
    from icvos.training.loop import TrainOptions

METHODS = ("dcsam", "vrp_sam")


@click.command("train")
@click.option("--method", required=True, metavar="dcsam|vrp_sam", help="What to train.")
@click.option("--data", "sources", multiple=True, required=True, metavar="coco|pascal|voc_small=DIR", help="Pictures; may be given again.")
@click.option("--split", default="train", show_default=True, metavar="train|val", help="Of the data; val only to try things out.")
@click.option("--out", type=options.FOLDER, required=True, help="Checkpoints, log and weights; the same folder goes on with a training.")
@click.option("--stage", default="image", show_default=True, metavar="image|tube", help="Single pictures, or clips made of them.")
@click.option("--schedule", metavar="NAME", help="Steps, batch and rate of a paper: coco-20i, pascal-5i, ic-vos, ic-vos-tube.")
@click.option("--steps", type=click.IntRange(1), help="Instead of the schedule's.")
@click.option("--batch", type=click.IntRange(1), help="Episodes a step, over all processes.  [default: the schedule's, or 8]")
@click.option("--rate", type=click.FloatRange(0, min_open=True), help="Learning rate.  [default: the schedule's, or 1e-4]")
@click.option("--weight-decay", type=click.FloatRange(0), default=1e-5, show_default=True, help="The release takes 1e-6.")
@click.option("--warm-up", type=click.IntRange(0), default=0, show_default=True, help="Steps.")
@click.option("--accumulate", type=click.IntRange(1), default=1, show_default=True, help="Parts of a batch, one after the other.")
@click.option("--fold", type=int, help="Leave this fold's classes for testing (COCO-20i, PASCAL-5i: 0 to 3).")
@click.option("--shots", type=click.IntRange(1), default=1, show_default=True, help="Supports an episode.")
@click.option("--annotation", default="mask", show_default=True, metavar="mask|box|scribble|point", help="How supports are marked.")
@click.option("--mirror/--no-mirror", default=False, show_default=True, help="Mirror half of the pictures.")
@click.option("--balance", type=click.FloatRange(0, 1), default=0.0, show_default=True, help="0: classes equally often; 1: pictures.")
@click.option("--train", "trained", default="generator", show_default=True, help="generator, decoder, memory, lora, with commas between.")
@click.option("--preset", "chosen", default="default", show_default=True, metavar="NAME", help="Of DC-SAM: default, paper, release.")
@click.option("--set", "changes", multiple=True, metavar="OPTION=VALUE", help="One option of the method; may be given again.")
@click.option("--plain-tubes", is_flag=True, help="Tubes of unchanged pictures (Table 8).")
@click.option("--backbone", default="efficientnet_lite0", show_default=True, metavar="NAME", help="The frozen backbone.")
@click.option("--sam", default="sam2_nano", show_default=True, metavar="NAME", help="The SAM or SAM 2 that is prompted.")
@click.option("--sam-weights", metavar="FILE", help="Weights of your own for --sam.")
@click.option("--start", type=click.Path(path_type=Path), help="Begin with these weights, as the tube stage does with the image stage's.")
@click.option("--cache", type=click.FloatRange(0), default=0.0, show_default=True, metavar="GIB", help="Keep so much of frozen features.")
@click.option("--validate", type=click.IntRange(0), default=0, show_default=True, help="Episodes of the validation split, afterwards.")
@click.option("--precision", default="fp32", show_default=True, metavar="fp32|bf16", help="What is computed in.")
@click.option("--device", default="auto", show_default=True, metavar="auto|cpu|cuda", help="Where it is computed.")
@click.option("--workers", type=click.IntRange(0), default=1, show_default=True, help="Processes that make batches.")
@click.option("--seed", type=int, default=0, show_default=True, help="Names the episodes.")
@options.as_json
def command(**given: Any) -> None:
    """Train a prompt generator on episodes: a picture to segment, and others of its class with masks.

    Interrupted, the same command goes on. What comes out, generator.safetensors, is what `icvos run --weights` takes.

    \b
    icvos train --method dcsam --data coco=/data/COCO --schedule ic-vos --sam sam2.1_hiera_l --backbone resnet50_v2 --out dcsam
    icvos train --method dcsam --stage tube --start dcsam/generator.safetensors --train generator,decoder,memory ...
    icvos train --method vrp_sam --data pascal=/data/VOC2012 --fold 0 --schedule pascal-5i --out vrp-0
    accelerate launch -m icvos train --method dcsam ...
    """
    import json

    from icvos.cli.progress import bar
    from icvos.errors import missing_package

    try:
        from baselines.common.train_generator import train_generator
    except ModuleNotFoundError as error:
        raise missing_package("training", error, "models,train") from error
    data = _open(given["sources"], given["split"])
    start = _read(given["method"], given["start"])
    request, loop = _request(given, data, start), _loop(given, data)
    with bar(given["method"], loop.steps, "steps") as advance:
        seen = [0]

        def on_report(report: Any) -> None:
            advance(report.step - seen[0])
            seen[0] = report.step

        path = train_generator(request, _maker(given), loop, on_report)
    said = {"weights": str(path), "steps": loop.steps, "log": str(request.out / "log.jsonl")}
    validation = request.out / "validation.json"
    if request.validation and validation.is_file():
        said["validation"] = json.loads(validation.read_text())
    click.echo(json.dumps(said, indent=1) if given["as_json"] else _said(said))


def _said(said: dict[str, Any]) -> str:
    found = said.get("validation")
    more = f"\nmIoU {100 * found['miou']:.1f} over {len(found['classes'])} classes, {found['episodes']} held-back episodes" if found else ""
    return f"{said['weights']}: {said['steps']} steps, log in {said['log']}{more}"


def _request(given: dict[str, Any], data: ClassPictures, start: GeneratorFile | None) -> Request:
    from baselines.common.train_generator import Request
    from icvos.files import sha256_file
    from icvos.training.episodes import fold_categories

    categories, _ = fold_categories(data.name, tuple(data.categories), given["fold"])
    usable = tuple(category for category in categories if len(data.members(category)) > given["shots"])
    validation = (_open(given["sources"], "val"), given["validate"]) if given["validate"] else None
    facts = {"data": data.name, "pictures": len(data), "stage": given["stage"], "fold": given["fold"]}
    facts |= {"shots": given["shots"], "seed": given["seed"]}
    facts |= {name: sha256_file(Path(given[name])) for name in ("start", "sam_weights") if given[name] and Path(given[name]).is_file()}
    named = ("out", "backbone", "sam", "sam_weights", "device", "stage", "shots", "annotation", "mirror", "balance", "cache")
    trained = tuple(part.strip() for part in given["trained"].split(","))
    chosen = {name: given[name] for name in named}
    return Request(data, usable, **chosen, trained=trained, start=start, validation=validation, facts=facts)


def _loop(given: dict[str, Any], data: ClassPictures) -> TrainOptions:
    from baselines.common.train_generator import SCHEDULES, Schedule
    from icvos.errors import UserInputError, did_you_mean
    from icvos.training.loop import TrainOptions

    name = given["schedule"]
    if name is not None and name not in SCHEDULES:
        raise UserInputError("no such schedule", name, fix=did_you_mean(name, SCHEDULES))
    schedule = SCHEDULES[name] if name else Schedule(given["rate"] or 1e-4, steps=given["steps"] or 0)
    if not (name or given["steps"]):
        raise UserInputError("no length of training", "icvos train", expected="--schedule or --steps", fix="pass one of them")
    return TrainOptions(
        steps=given["steps"] or schedule.steps_for(len(data)),
        batch=given["batch"] or schedule.batch,
        rate=given["rate"] or schedule.rate,
        cpu=given["device"] == "cpu",
        **{name: given[name] for name in ("weight_decay", "warm_up", "accumulate", "precision", "seed", "workers")},
    )


def _open(sources: Sequence[str], split: str) -> ClassPictures:
    from icvos.errors import UserInputError
    from icvos.training.class_pictures import open_class_pictures, together

    parts = []
    for source in sources:
        name, equals, root = source.partition("=")
        if not (equals and root):
            raise UserInputError("not a data set", f"--data {source}", expected="NAME=DIR", fix="write --data coco=/data/COCO")
        parts.append(open_class_pictures(name, Path(root), split))
    return together(parts)


def _read(method: str, start: Path | None) -> GeneratorFile | None:
    from baselines import vrp_sam
    from dcsam import method as dcsam
    from icvos.errors import UserInputError, did_you_mean

    if method not in METHODS:
        raise UserInputError("no method that can be trained", method, fix=did_you_mean(method, METHODS))
    return (dcsam if method == "dcsam" else vrp_sam).METHOD.read(start) if start else None


def _maker(given: dict[str, Any]) -> Callable[[int], Trainable]:
    """How to make the method for a width of tokens."""
    from baselines import vrp_sam_train
    from dcsam import train as dcsam_train

    changes = dict(_change(entry) for entry in given["changes"])
    if given["method"] == "vrp_sam":
        return lambda width: vrp_sam_train.trainable(width, given["backbone"], changes)
    return lambda width: dcsam_train.trainable(
        width, given["sam"], given["backbone"], given["chosen"], changes, augmented=not given["plain_tubes"]
    )


def _change(entry: str) -> tuple[str, Any]:
    """OPTION=VALUE, the value read as JSON where it is any."""
    import json

    from icvos.errors import UserInputError

    name, equals, text = entry.partition("=")
    if not equals:
        raise UserInputError("not an option", f"--set {entry}", expected="OPTION=VALUE", fix="write --set queries=10")
    try:
        return name, json.loads(text)
    except ValueError:
        return name, text
