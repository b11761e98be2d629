"""Training of a prompt generator from its options to its file: what `icvos train` does."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import nn

from baselines.common.annotations import ANNOTATIONS, Annotation
from baselines.common.encoders import Encoders, frozen_backbone
from baselines.common.episodes import EpisodeBatches, Tube, TubeBatches
from baselines.common.fitting import Fit
from baselines.common.generator_file import GeneratorFile, write_generator
from baselines.common.training import ImageTrainee, Losses, Seeing, TubeTrainee, episode_iou, write_validation
from baselines.common.tuning import Adapters, Tuning
from baselines.common.windows import SupportView
from icvos.errors import DataError, UserInputError, did_you_mean
from icvos.models.backbones import BACKBONES
from icvos.models.checkpoints import load_weights, put_into
from icvos.models.compute import device_named
from icvos.models.sam import build_any_sam
from icvos.models.token_decoding import TokenDecoding, decoding_of
from icvos.training.class_pictures import ClassPictures
from icvos.training.loop import Report, TrainOptions, train
from icvos.training.processes import Team, joined
from icvos.types import Image, Mask
from icvos.weights import is_first_sam

IMAGE_SIZES = {"efficientnet_lite0": 384, "dinov2_s14": 896, "dinov2_b14": 896, "dinov2_l14": 896}  # others: 512, as in both papers
STAGES = ("image", "tube")
RESULT, VALIDATION = "generator.safetensors", "validation.json"


Made = TypeVar("Made")


class Trainable(NamedTuple):
    """A method that can be trained: its options, its network, and what the network is trained by."""

    name: str
    options: Mapping[str, Any]
    network: nn.Module
    image_size: int
    losses: Losses
    adapters: Adapters | None = None
    tube: Callable[[Image, Mask, np.random.Generator], Tube] | None = None
    view: SupportView = "picture"


@dataclass(frozen=True, slots=True)
class Request:
    """What the person who trains wants, beside the method's own options."""

    data: ClassPictures
    categories: tuple[int, ...]
    out: Path
    backbone: str = "efficientnet_lite0"
    sam: str = "sam2_nano"
    sam_weights: str | None = None
    device: str = "auto"
    stage: str = "image"  # or "tube"
    trained: Collection[str] = ("generator",)
    shots: int = 1
    annotation: Annotation = "mask"
    mirror: bool = False
    balance: float = 0.0  # see `icvos.training.episodes.draw_episode`
    cache: float = 0.0  # GiB
    start: GeneratorFile | None = None
    validation: tuple[ClassPictures, int] | None = None  # and how many episodes of it
    augment: str = "none"  # of a head's pictures
    facts: Mapping[str, Any] = field(default_factory=dict)  # to be kept with the weights, and agreed in by a resume


def train_generator(
    request: Request,
    make: Callable[[int], Trainable],
    options: TrainOptions,
    on_report: Callable[[Report], None] | None = None,
    team: Team | None = None,
) -> Path:
    """Train, or go on training, and write the file that `icvos run --weights` takes.

    Args:
        request: what to train on, with and from.
        make: gives the method for a width of tokens.
        options: of the loop.
        on_report: told how it goes.
        team: the processes that train, of which the main one writes; by default those that a launcher has started.

    Raises:
        UserInputError: options that do not go together, a resume with other options, weights that do not fit.
        DataError: data that cannot be read.
        PluginError: a loss or a gradient that is no number.
    """
    check_request(request)
    team = team or joined(cpu=options.cpu, precision=options.precision)  # before a GPU is used: each process has its own
    device = device_named(request.device)
    sam, decoding = drawn(lambda: _sam(request, device), options.seed)
    method = drawn(lambda: make(decoding.width), options.seed)
    tuning = Tuning(request.trained, method.adapters)
    _begin(request, method, sam)
    drawn(lambda: tuning.prepare(method.network, sam, encoding=request.stage == "tube"), options.seed)
    backbone = frozen_backbone(request.backbone).to(device)
    encoders = Encoders(backbone, decoding, method.image_size)
    episodes = episodes_of(request, method.image_size, options.seed, method.view)
    stills = ImageTrainee(method.network.to(device), Seeing(encoders, episodes.image, request.cache), method.losses)
    if request.stage == "image":
        train(stills, episodes, options, request.out, agreed(request, method.name, method.options), on_report=on_report, team=team)
    else:
        trainee, tubes = TubeTrainee(stills, sam), TubeBatches(episodes, _tube_of(method, request))
        train(trainee, tubes, options, request.out, agreed(request, method.name, method.options), on_report=on_report, team=team)
    team.part()
    if not team.main:
        return request.out / RESULT
    content = GeneratorFile(
        method.name, method.options, request.sam, method.network.state_dict(), _changed(request, tuning, sam), dict(request.facts)
    )
    write_generator(request.out / RESULT, content)
    if request.validation:
        data, count = request.validation
        batches = held_back(episodes, data)
        scores = episode_iou(stills, batches, Seeing(encoders, batches.image), count)
        write_validation(request.out / VALIDATION, scores, data.categories)
    return request.out / RESULT


def drawn(make: Callable[[], Made], seed: int) -> Made:
    """What `make` makes, with all that it draws from torch's generator coming from `seed`; numbers that others draw are left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def episodes_of(request: Request, side: int, seed: int, view: SupportView, fit: Fit = "square") -> EpisodeBatches:
    """What is trained on, in squares of `side` pixels; see `EpisodeBatches`."""
    asked = (request.mirror, request.annotation, request.balance)
    return EpisodeBatches(request.data, request.categories, request.shots, side, seed, *asked, view, fit)


def held_back(trained_on: EpisodeBatches, data: ClassPictures) -> EpisodeBatches:
    """The same of pictures that were not trained on, as they are, for measuring."""
    return replace(trained_on, data=data, categories=able_classes(data, trained_on.shots), seed=0, mirror=False, balance=0.0)


def check_request(request: Request) -> None:
    """See that there is such a stage and annotation, and that the data can be trained on.

    Raises:
        UserInputError: there is not.
        DataError: no class has enough pictures.
    """
    for what, given, known in (("stage", request.stage, STAGES), ("annotation of supports", request.annotation, ANNOTATIONS)):
        if given not in known:
            raise UserInputError(f"no such {what}", given, fix=did_you_mean(given, known))
    if not request.categories:
        raise _too_few(request.data, request.shots)
    if request.validation and not able_classes(request.validation[0], request.shots):
        raise _too_few(request.validation[0], request.shots)


def able_classes(data: ClassPictures, shots: int) -> tuple[int, ...]:
    """The classes that an episode can be drawn of."""
    return tuple(category for category in data.categories if len(data.members(category)) > shots)


def _too_few(data: ClassPictures, shots: int) -> DataError:
    found, expected = f"{len(data)} pictures", f"a class with {shots + 1} pictures"
    return DataError("no class with enough pictures", data.name, found, expected, "lower --shots, leave --validate, or add pictures")


def image_size_of(backbone: str) -> int:
    """Height and width in pixels of what this backbone is shown.

    Raises:
        UserInputError: no such backbone.
    """
    if backbone not in BACKBONES:
        raise UserInputError("no such backbone", backbone, fix=did_you_mean(backbone, BACKBONES))
    return IMAGE_SIZES.get(backbone, 512)


def _sam(request: Request, device: torch.device) -> tuple[Any, TokenDecoding]:
    if is_first_sam(request.sam) and (request.stage == "tube" or "memory" in request.trained):
        raise UserInputError("no memory in the first SAM", request.sam, request.stage, "--stage image", "choose a SAM 2 for tubes")
    if is_first_sam(request.sam) and "lora" in request.trained:
        raise UserInputError("no adapters for the first SAM", request.sam, "--train lora", "a SAM 2", "choose one, or train the decoder")
    model = build_any_sam(request.sam, request.sam_weights, device)
    return model, decoding_of(model)


def _begin(request: Request, method: Trainable, sam: nn.Module) -> None:
    """Load what training starts from."""
    if request.start is None:
        return
    check_start({"sam": request.start.sam, **request.start.options}, {"sam": request.sam, **method.options})
    load_weights(method.network, request.start.generator, "--start")
    put_into(sam, request.start.sam_state, "--start")


def check_start(then: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """See that training starts from weights with the same options; lists stand for tuples, which a file does not have.

    Raises:
        UserInputError: it does not; says which differ.
    """
    before, after = ({name: list(value) if isinstance(value, tuple) else value for name, value in given.items()} for given in (then, now))
    differing = [
        f"{name} {before.get(name)!r} (now {after.get(name)!r})" for name in {**after, **before} if before.get(name) != after.get(name)
    ]
    if differing:
        fix = "change them, or leave --start"
        raise UserInputError("a start with other options", "--start", ", ".join(differing), "the same options", fix)


def _tube_of(method: Trainable, request: Request) -> Callable[[Image, Mask, np.random.Generator], Tube]:
    if method.tube is None:
        raise UserInputError("no tube stage", method.name, request.stage, "--stage image", "train on single images")
    return method.tube


def _changed(request: Request, tuning: Tuning, sam: nn.Module) -> dict[str, Any]:
    """What is no longer the registry's: what a start had changed, and what was trained now."""
    before = request.start.sam_state if request.start else {}
    return {**before, **tuning.changed(sam)}


def agreed(request: Request, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """What a resume of a method with these options must agree in."""
    return {
        **request.facts,
        "method": name,
        **{f"options.{option}": value for option, value in options.items()},
        "data": request.data.name,
        "pictures": len(request.data),
        "categories": list(request.categories),
        "backbone": request.backbone,
        "sam": request.sam,
        "stage": request.stage,
        "trained": sorted(request.trained),
        "shots": request.shots,
        "annotation": request.annotation,
        "mirror": request.mirror,
        "balance": request.balance,
        "augment": request.augment,
    }
