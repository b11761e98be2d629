"""Training of a head from its options to its file: what `icvos train --method pfenet` and its like do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from baselines.common.augmentation import Augmentation, augmentation, augmented
from baselines.common.episodes import EpisodeBatches, Shown
from baselines.common.generator_file import GeneratorFile, write_generator
from baselines.common.head import Head, head_backbone, looked_at
from baselines.common.levels import Levels, stacked
from baselines.common.memory import Memory
from baselines.common.train_generator import (
    RESULT,
    VALIDATION,
    Request,
    agreed,
    check_request,
    check_start,
    drawn,
    episodes_of,
    held_back,
)
from baselines.common.training import scores_by_class, write_validation
from icvos.errors import UserInputError
from icvos.models.backbones import Backbone
from icvos.models.checkpoints import load_weights
from icvos.models.compute import device_named
from icvos.training.episodes import episode_rng
from icvos.training.loop import Report, TrainOptions, Treatment, train
from icvos.training.losses import mask_iou
from icvos.training.processes import Team, joined
from icvos.types import Image


class HeadBatch(NamedTuple):
    """B episodes with K supports each; pictures by number, or as they were augmented."""

    step: int
    categories: list[int]  # B
    queries: list[Shown]  # B
    supports: list[Shown]  # B * K, the K of one episode together
    truth: NDArray[np.uint8]  # (B, S, S) of 0, 1 and 255
    masks: NDArray[np.uint8]  # (B, K, S, S) of 0 and 1
    pixels: NDArray[np.uint8] | None = None  # (B * (1 + K), S, S, 3): queries, then supports


@dataclass(frozen=True, slots=True)
class HeadBatches:
    """Makes the batch of any step; the same for the same step, whoever makes it."""

    episodes: EpisodeBatches
    how: Augmentation | None = None

    def __call__(self, step: int, items: Sequence[int]) -> HeadBatch:
        """The episodes `items` of a step."""
        drawn, side = self.episodes(step, items), self.episodes.side
        plain = HeadBatch(step, drawn.categories, drawn.queries, drawn.supports, drawn.truth, drawn.masks)
        if self.how is None:
            return plain
        shots, categories = self.episodes.shots, [*drawn.categories, *np.repeat(drawn.categories, self.episodes.shots).tolist()]
        rngs = [episode_rng(self.episodes.seed + 1, step, item) for item in items]
        chance = [*rngs, *(rng for rng in rngs for _ in range(shots))]
        made = [
            augmented(self.episodes.data.image(shown.picture), self.episodes.data.mask(shown.picture, category), side, self.how, rng)
            for shown, category, rng in zip([*drawn.queries, *drawn.supports], categories, chance, strict=True)
        ]
        truth, pixels = np.stack([shot.truth for shot in made]), np.stack([shot.image for shot in made])
        masks = (truth[len(items) :] == 1).astype(np.uint8).reshape(len(items), shots, side, side)
        return plain._replace(truth=truth[: len(items)], masks=masks, pixels=pixels)


class Sight:
    """Pictures as the frozen backbone sees them; as many as there is room for are remembered, so that these are seen once."""

    def __init__(self, head: Head, backbone: Backbone, image: Callable[[Shown], Image], cache: float = 0.0) -> None:
        """Remember nothing yet.

        Args:
            head: what looks.
            backbone: frozen.
            image: reads a picture.
            cache: GiB of maps kept in half precision; 0 for none.
        """
        self.head, self.backbone, self.image, self.memory = head, backbone, image, Memory[Levels](cache)

    def __call__(self, pictures: Sequence[Shown], masks: Tensor | None = None, categories: Sequence[int] | None = None) -> Levels:
        """Maps of pictures; of supports with masks (B, 1, S, S) and the classes that these are of."""
        if not self.memory:
            return self._looked(pictures, masks)
        seen = []
        for place, shown in enumerate(pictures):
            mask = None if masks is None else masks[place : place + 1]
            key = (shown, categories[place] if categories else None)
            seen.append(self.memory(key, partial(self._looked, [shown], mask)))
        return stacked(seen)

    def _looked(self, pictures: Sequence[Shown], masks: Tensor | None) -> Levels:
        return looked_at(self.head, self.backbone, [self.image(shown) for shown in pictures], masks)


class HeadTrainee(nn.Module):
    """What is trained: the head's own losses of a batch."""

    def __init__(self, head: Head, sight: Sight) -> None:
        super().__init__()
        self.head, self.sight = head, sight

    def forward(self, batch: HeadBatch) -> dict[str, Tensor]:
        """The loss, its parts, and the mean IoU."""
        answer, truth = self.answer(batch)
        return {**self.head.losses(answer, truth, batch.step), "iou": self.iou(answer, truth).mean()}

    def answer(self, batch: HeadBatch) -> tuple[object, Tensor]:
        """What the head says of the queries, and the truth (B, S, S)."""
        device = next(self.head.parameters()).device
        truth, masks = (torch.as_tensor(part).to(device) for part in (batch.truth, batch.masks))
        masks = masks.float()
        flat, shots = masks.flatten(0, 1)[:, None], masks.shape[1]
        if batch.pixels is None:
            categories = [category for category in batch.categories for _ in range(shots)]
            query, supports = self.sight(batch.queries), self.sight(batch.supports, flat, categories)
        else:
            images = list(np.asarray(torch.as_tensor(batch.pixels).cpu()))
            query = looked_at(self.head, self.sight.backbone, images[: len(truth)])
            supports = looked_at(self.head, self.sight.backbone, images[len(truth) :], flat)
        return self.head(query, supports, masks, self.head.targets(batch.categories)), truth

    @staticmethod
    def iou(answer: object, truth: Tensor) -> Tensor:
        """(B,) of the masks that answers give."""
        background, target = answer.enlarged((truth.shape[-2], truth.shape[-1])).split(1, 1)  # type: ignore[attr-defined]
        counted = truth[:, None] != 255
        return mask_iou((target > background) & counted, truth[:, None] == 1)[:, 0]


def train_head(
    request: Request,
    make: Callable[[], Head],
    name: str,
    options: TrainOptions,
    on_report: Callable[[Report], None] | None = None,
    team: Team | None = None,
) -> Path:
    """Train, or go on training, and write the file that `icvos run --weights` takes.

    Args:
        request: what to train on, with and from.
        make: gives the head.
        name: of the method.
        options: of the loop.
        on_report: told how it goes.
        team: see `train_generator`.

    Raises:
        UserInputError: options that do not go together, a resume with other options, weights that do not fit.
        DataError: data that cannot be read.
        PluginError: a loss or a gradient that is no number.
    """
    check_request(request)
    team = team or joined(cpu=options.cpu, precision=options.precision)
    how = _augmentation(request)
    head = drawn(make, options.seed)
    config = head.config
    said = asdict(config)
    _check_stage(request, name, said)
    backbone = head_backbone(config.backbone, request.start.backbone if request.start else {})
    if request.start is not None:
        check_start(request.start.options, said)
        load_weights(head, request.start.generator, "--start")
    device = device_named(request.device)
    episodes = episodes_of(request, config.image_size, options.seed, config.support_view, config.fit)
    sight = Sight(head, backbone.to(device), episodes.image, request.cache)
    trainee = HeadTrainee(head.to(device), sight)
    batches, facts = HeadBatches(episodes, how), agreed(request, name, said)

    def treat(full: str) -> Treatment:
        return head.treatment(full.removeprefix("head."))

    train(trainee, batches, options, request.out, facts, treat=treat, on_report=on_report, team=team)
    team.part()
    if not team.main:
        return request.out / RESULT
    own = request.start.backbone if request.start else {}
    write_generator(request.out / RESULT, GeneratorFile(name, said, "", head.state_dict(), facts=dict(request.facts), backbone=own))
    if request.validation:
        data, count = request.validation
        scores = _measured(trainee, held_back(episodes, data), count)
        write_validation(request.out / VALIDATION, scores, data.categories)
    return request.out / RESULT


def _augmentation(request: Request) -> Augmentation | None:
    how = augmentation(request.augment)
    if how is not None and (request.cache or request.annotation != "mask"):
        found = "--cache" if request.cache else f"--annotation {request.annotation}"
        raise UserInputError(
            "augmented pictures are new each time, with masks", f"--augment {request.augment}", found, fix=f"leave {found}"
        )
    return how


def _check_stage(request: Request, name: str, options: dict[str, object]) -> None:
    if request.stage != "image":
        raise UserInputError("no tube stage", name, request.stage, "--stage image", "train on single images")
    if set(request.trained) != {"generator"}:
        raise UserInputError("a head trains nothing of SAM 2", "--train", ", ".join(request.trained), "generator", "leave --train")
    if request.shots != options["shots"]:
        fix = f"write --set shots={request.shots} as well"
        raise UserInputError("a head made for other supports", "--shots", request.shots, f"{options['shots']}, its option shots", fix)
    if options.get("base_map", "none") != "none" and request.start is None:
        fix = "--start with a checkpoint that has one, or train without: --preset small, or --set base_map=none"
        raise UserInputError("no base learner", name, "no weights of one", "those of a network trained on base classes", fix)


@torch.no_grad()
def _measured(trainee: HeadTrainee, episodes: EpisodeBatches, count: int) -> dict[int, list[float]]:
    """IoUs of so many episodes, by class."""
    trainee.sight = Sight(trainee.head, trainee.sight.backbone, episodes.image)
    trainee.eval()
    return scores_by_class(HeadBatches(episodes), count, lambda batch: trainee.iou(*trainee.answer(batch)))
