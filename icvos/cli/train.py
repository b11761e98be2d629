"""`icvos train`: train DC-SAM, VRP-SAM, PFENet, HDMNet or AMNet on episodes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from icvos.cli import options

if TYPE_CHECKING:
    from baselines.common.generator_file import GeneratorFile
    from baselines.common.head import Head
    from baselines.common.schedules import Schedule
    from baselines.common.train_generator import Request, Trainable
    from icvos.training.class_pictures import ClassPictures
    from icvos.training.loop import TrainOptions
    from icvos.training.processes import Team

GENERATORS, HEADS = ("dcsam", "vrp_sam"), ("pfenet", "hdmnet", "amnet")
METHODS = (*GENERATORS, *HEADS)


def presets_told() -> str:
    """The presets of every method, for help."""
    each = ((method, ", ".join(_registered(method).presets)) for method in METHODS)
    return "Options of the method by one name. " + "; ".join(f"{method}: {names}" for method, names in each) + "."


def schedules_told() -> str:
    """The schedules, for help."""
    from baselines.common.schedules import SCHEDULES

    return f"Of a paper: {', '.join(SCHEDULES)} (docs/train.md)."


def augmentations_told() -> str:
    """The augmentations, for help."""
    from baselines.common.augmentation import AUGMENTATIONS, NONE

    return f"Of a head's pictures: {', '.join([NONE, *AUGMENTATIONS])}.  [default: the schedule's, or none]"


@click.command("train")
@click.option("--method", required=True, metavar="NAME", help="dcsam, vrp_sam, pfenet, hdmnet or amnet.")
@click.option("--data", "sources", multiple=True, required=True, metavar="coco|pascal|voc_small=DIR", help="Pictures; may be given again.")
@click.option(
    "--split", type=click.Choice(["train", "val"]), default="train", show_default=True, help="Of the data; val only to try things out."
)
@click.option("--out", type=options.OUT, required=True, help="Checkpoints, log and weights; the same folder goes on with a training.")
@click.option("--stage", default="image", show_default=True, metavar="image|tube", help="Single pictures, or clips made of them.")
@click.option("--schedule", cls=options.Told, metavar="NAME", tell=schedules_told)
@click.option("--steps", type=click.IntRange(1), help="Instead of the schedule's.")
@click.option("--batch", type=click.IntRange(1), help="Episodes a step, over all processes.  [default: the schedule's, or 8]")
@click.option("--rate", type=click.FloatRange(0, min_open=True), help="Learning rate.  [default: the schedule's, or 1e-4]")
@click.option("--weight-decay", type=click.FloatRange(0), help="DC-SAM's release takes 1e-6.  [default: the schedule's, or 1e-5]")
@click.option("--optimizer", metavar="adamw|sgd", help="[default: the schedule's, or adamw]")
@click.option("--decay", metavar="cosine|poly", help="Of the rate.  [default: the schedule's, or cosine]")
@click.option("--warm-up", type=click.IntRange(0), default=0, show_default=True, help="Steps.")
@click.option("--accumulate", type=click.IntRange(1), default=1, show_default=True, help="Parts of a batch, one after the other.")
@click.option("--fold", type=int, help="Leave this fold's classes for testing (COCO-20i, PASCAL-5i: 0 to 3).")
@click.option(
    "--pictures",
    type=click.Choice(["all", "without-fold"]),
    default="all",
    show_default=True,
    help="With --fold: what its classes are in training. all: background (PFENet); without-fold: in no picture (BAM, HDMNet, DC-SAM).",
)
@click.option("--shots", type=click.IntRange(1), default=1, show_default=True, help="Supports an episode.")
@click.option("--annotation", default="mask", show_default=True, metavar="mask|box|scribble|point", help="How supports are marked.")
@click.option("--mirror/--no-mirror", default=False, show_default=True, help="Mirror half of the pictures.")
@click.option("--augment", cls=options.Told, metavar="NAME", tell=augmentations_told)
@click.option("--balance", type=click.FloatRange(0, 1), default=0.0, show_default=True, help="0: classes equally often; 1: pictures.")
@click.option(
    "--train", "trained", default="generator", show_default=True, help="generator, decoder, memory, lora (dcsam's), with commas between."
)
@click.option("--preset", "chosen", cls=options.Told, default="default", show_default=True, metavar="NAME", tell=presets_told)
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
@click.option("--save-every", type=click.IntRange(1), default=100, show_default=True, help="Steps between checkpoints; at most 10 minutes.")
@click.option("--seed", type=int, default=0, show_default=True, help="Names the episodes, and whatever else is drawn by chance.")
@options.as_json
def command(**given: Any) -> None:
    """Train a prompt generator or a few-shot head on episodes: a picture to segment, and others of its class with masks.

    Interrupted, the same command goes on. What comes out, generator.safetensors, is what `icvos run --weights` takes.

    \b
    icvos train --method dcsam --data coco=/data/COCO --schedule ic-vos --sam sam2.1_hiera_l --backbone resnet50_v2 --out dcsam
    icvos train --method dcsam --stage tube --start dcsam/generator.safetensors --train generator,decoder,memory ...
    icvos train --method hdmnet --preset small --data pascal=/data/VOC2012 --steps 1000 --cache 3 --out hdmnet
    icvos train --method vrp_sam --data pascal=/data/VOC2012 --fold 0 --schedule pascal-5i --out vrp-0
    accelerate launch -m icvos train --method dcsam ...
    """
    from icvos.errors import missing_package

    try:
        from icvos.training.processes import joined
    except ModuleNotFoundError as error:
        raise missing_package("training", error, "models,train") from error
    team = joined(cpu=given["device"] == "cpu", precision=given["precision"])
    with _one_voice(team):
        _train(given, team)


@contextmanager
def _one_voice(team: Team) -> Iterator[None]:
    """What ends the training of all processes is said by the main one; the others leave quietly, with its exit code, after it has."""
    import atexit

    from icvos.cli import INTERRUPTED
    from icvos.errors import IcvosError

    try:
        with team.agreed():
            yield
    except (IcvosError, KeyboardInterrupt) as error:
        if team.main:
            atexit.register(team.wait)  # runs when the message is out
            raise
        team.wait()
        raise click.exceptions.Exit(error.exit_code if isinstance(error, IcvosError) else INTERRUPTED) from error


def _train(given: dict[str, Any], team: Team) -> None:
    import json

    from baselines.common.train_generator import train_generator
    from baselines.common.train_head import train_head
    from icvos.cli.progress import bar
    from icvos.cli.weights import fetch_missing
    from icvos.weights import weight_files

    data = _pictures(given, _open(given["sources"], given["split"]))
    options.note_not_data(Path(source.partition("=")[2]) for source in given["sources"])
    start = _read(given["method"], given["start"])
    request, loop = _request(given, data, start), _loop(given, data)
    make_head = head_maker(given) if given["method"] in HEADS else None
    if team.main:  # the others wait for it when they ask for the same files
        known = weight_files()
        needed = (given["backbone"], given["sam"] if given["method"] in GENERATORS and not given["sam_weights"] else "")
        fetch_missing([known[name] for name in needed if name in known], offline=False)
    with bar(given["method"], loop.steps, "steps") if team.main else nullcontext(lambda *said: None) as advance:
        seen = [0]

        def on_report(report: Any) -> None:
            advance(report.step - seen[0], f"loss {report.means['loss']:.4f}" if "loss" in report.means else "")
            seen[0] = report.step

        if make_head:
            path = train_head(request, make_head, given["method"], loop, on_report, team)
        else:
            path = train_generator(request, maker(given), loop, on_report, team)
    if not team.main:
        return
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
    from baselines.common.generator_file import classes_trained_on
    from baselines.common.train_generator import Request
    from icvos.errors import UserInputError
    from icvos.files import sha256_file

    categories, _ = _classes(given, data)
    usable = tuple(category for category in categories if len(data.members(category)) > given["shots"])
    validation = (_open(given["sources"], "val"), given["validate"]) if given["validate"] else None
    facts = {"data": data.name, "pictures": len(data), "stage": given["stage"], "fold": given["fold"]}
    facts |= {"shots": given["shots"], "seed": given["seed"], "pictures of": given["pictures"]}
    facts |= {"seen before": list(classes_trained_on(start))} if start else {}
    facts |= {name: sha256_file(Path(given[name])) for name in ("start", "sam_weights") if given[name] and Path(given[name]).is_file()}
    named = ("out", "backbone", "sam", "sam_weights", "device", "stage", "shots", "annotation", "mirror", "balance", "cache")
    schedule = _schedule(given)
    chosen_augmentation = given["augment"] or (schedule.augment if given["method"] in HEADS else "none")
    if given["method"] in GENERATORS and chosen_augmentation != "none":
        raise UserInputError("no augmentation", given["method"], given["augment"], "none", "leave --augment: its pictures are remembered")
    trained = tuple(part.strip() for part in given["trained"].split(","))
    chosen = {name: given[name] for name in named}
    return Request(data, usable, **chosen, trained=trained, start=start, validation=validation, augment=chosen_augmentation, facts=facts)


def _classes(given: dict[str, Any], data: ClassPictures) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The classes to train on, and those to test on."""
    from icvos.training.episodes import fold_categories

    return fold_categories(data.name, tuple(data.categories), given["fold"])


def _pictures(given: dict[str, Any], data: ClassPictures) -> ClassPictures:
    """Those that may be trained on."""
    from icvos.errors import UserInputError
    from icvos.training.class_pictures import without_classes

    if given["pictures"] == "all":
        return data
    if given["fold"] is None:
        raise UserInputError("no fold to be left out", "--pictures", given["pictures"], "--fold 0 to 3", "say --fold, or leave --pictures")
    return without_classes(data, _classes(given, data)[1])


def _schedule(given: dict[str, Any]) -> Schedule:
    from baselines.common.schedules import SCHEDULES, Schedule
    from icvos.errors import UserInputError, did_you_mean

    name = given["schedule"]
    if name is not None and name not in SCHEDULES:
        raise UserInputError("no such schedule", name, fix=did_you_mean(name, SCHEDULES))
    if not (name or given["steps"]):
        raise UserInputError("no length of training", "icvos train", expected="--schedule or --steps", fix="pass one of them")
    return SCHEDULES[name] if name else Schedule(1e-4, steps=given["steps"])


def _loop(given: dict[str, Any], data: ClassPictures) -> TrainOptions:
    from icvos.training.loop import TrainOptions

    schedule = _schedule(given)
    named = ("batch", "rate", "weight_decay", "optimizer", "decay")
    return TrainOptions(
        steps=given["steps"] or schedule.steps_for(len(data)),
        cpu=given["device"] == "cpu",
        **{name: getattr(schedule, name) if given[name] is None else given[name] for name in named},
        **{name: given[name] for name in ("warm_up", "accumulate", "precision", "seed", "workers", "save_every")},
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
        options.tell_coco_faults(getattr(parts[-1], "faults", ()), Path(root))  # VOC trees have none: a faulty mask is refused
    return together(parts)


def _read(method: str, start: Path | None) -> GeneratorFile | None:
    from icvos.errors import UserInputError, did_you_mean

    if method not in METHODS:
        raise UserInputError("no method that can be trained", method, fix=did_you_mean(method, METHODS))
    if start is None:
        return None
    content: GeneratorFile = _registered(method).read(start)
    return content


def _registered(method: str) -> Any:
    """What the method's module says of it, for running and for training."""
    from importlib import import_module

    return import_module("dcsam.method" if method == "dcsam" else f"baselines.{method}").METHOD


def head_maker(given: dict[str, Any]) -> Callable[[], Head]:
    """How to make the head.

    Raises:
        UserInputError: the method has no such preset, or the backbone lacks levels that it needs.
    """
    from baselines.common.head import level_channels

    check_preset(given["method"], given["chosen"])
    method = _registered(given["method"])
    changes = {"backbone": given["backbone"], **dict(_change(entry) for entry in given["changes"])}
    level_channels(changes["backbone"])
    return lambda: cast("Head", method.made(method.parts().preset(given["chosen"], **changes)))


def maker(given: dict[str, Any]) -> Callable[[int], Trainable]:
    """How to make the method for a width of tokens.

    Raises:
        UserInputError: the method has no such preset.
    """
    from baselines import vrp_sam_train
    from dcsam import train as dcsam_train

    changes = dict(_change(entry) for entry in given["changes"])
    check_preset(given["method"], given["chosen"])
    if given["method"] == "vrp_sam":
        return lambda width: vrp_sam_train.trainable(width, given["backbone"], changes)
    return lambda width: dcsam_train.trainable(
        width, given["sam"], given["backbone"], given["chosen"], changes, augmented=not given["plain_tubes"]
    )


def check_preset(method: str, chosen: str) -> None:
    """See that the method has such a preset.

    Raises:
        UserInputError: it has not; says which it has.
    """
    from icvos.errors import UserInputError, did_you_mean

    known = _registered(method).presets
    if chosen not in known:
        close = did_you_mean(chosen, known)
        fix = close if close.startswith("did") else "choose one of them"
        raise UserInputError(f"no such preset of {method}", f"--preset {chosen}", expected=", ".join(known), fix=fix)


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
