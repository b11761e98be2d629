"""A prompt generator in training: frozen networks look at the pictures, and the mask that its tokens give is judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

import numpy as np
import torch
from sam2.modeling.sam2_base import SAM2Base
from torch import Tensor, nn

from baselines.common.encoders import Encoders, as_batch
from baselines.common.episodes import EpisodeBatch, EpisodeBatches, Shown, TubeBatch
from baselines.common.features import Seen, stacked
from baselines.common.memory import Memory
from icvos.files import to_json, write_text
from icvos.models.backbones.base import IMAGENET_MEAN, IMAGENET_STD
from icvos.models.token_decoding import enlarged
from icvos.training.losses import LOGIT_LIMIT, mask_iou
from icvos.training.tracking import Clips, followed, prompted_by_tokens
from icvos.types import Image

Drawn = TypeVar("Drawn", bound=Any)  # a batch that has `categories`


class Answered(Protocol):
    """What a generator gives: at least the decoder's logits for its tokens."""

    @property
    def tokens(self) -> Tensor:
        """(B, N, C)."""
        ...

    def enlarged(self, size: tuple[int, int]) -> Tensor:
        """Logits (B, H, W) at a size."""
        ...


Losses = Callable[[Tensor, Tensor], Mapping[str, Tensor]]  # logits (B, H, W), truth (B, H, W): "loss", and parts to be logged


class Seeing:
    """Pictures as the frozen networks see them; as many as there is room for are remembered, so that these are encoded once."""

    def __init__(self, encoders: Encoders, image: Callable[[Shown], Image], cache: float = 0.0) -> None:
        """Remember nothing yet.

        Args:
            encoders: frozen.
            image: reads a picture.
            cache: GiB of features kept in half precision; 0 for none.
        """
        self.encoders, self.image, self.memory = encoders, image, Memory[Seen](cache)

    def __call__(self, pictures: Sequence[Shown]) -> Seen:
        """Features of pictures, in their order."""
        if not self.memory:
            return self._looked(pictures)
        return stacked([self.memory(shown, partial(self._looked, [shown])) for shown in pictures])

    def _looked(self, pictures: Sequence[Shown]) -> Seen:
        return self.encoders.see([self.image(shown) for shown in pictures])


class ImageTrainee(nn.Module):
    """The image stage: the loss of a query's mask."""

    def __init__(self, generator: nn.Module, seeing: Seeing, losses: Losses) -> None:
        """Put together what is trained and what is not.

        Args:
            generator: called with features, supports, masks, the backbone's last stage and the decoding; gives an `Answered`.
            seeing: how pictures are looked at; what it looks with is frozen but for the mask decoder, if that requires gradients.
            losses: of logits and truth.
        """
        super().__init__()
        self.generator, self.mask_decoder = generator, seeing.encoders.decoding.mask_decoder
        self.seeing, self.losses = seeing, losses

    def forward(self, batch: EpisodeBatch) -> dict[str, Tensor]:
        """The loss, its parts, and the mean IoU."""
        logits, truth = self.answer(batch)
        iou = mask_iou(logits[:, None] > 0, truth[:, None] > 0).mean()
        return {**self.losses(logits, truth), "iou": iou}

    def answer(self, batch: EpisodeBatch) -> tuple[Tensor, Tensor]:
        """Logits (B, S, S) and truth (B, S, S) of 0 and 1."""
        queries, supports, encoders = self.seeing(batch.queries), self.seeing(batch.supports), self.seeing.encoders
        device = queries.level3.device
        truth, masks = (torch.as_tensor(part).to(device).float() for part in (batch.truth, batch.masks))
        out: Answered = self.generator(queries, supports, masks, encoders.deepen, encoders.decoding)
        return out.enlarged((truth.shape[-2], truth.shape[-1])).float(), truth

    def train(self, mode: bool = True) -> Self:
        """Frozen networks stay in evaluation mode; so does the decoder, which has nothing that differs."""
        super().train(mode)
        self.mask_decoder.eval()
        return self


class TubeTrainee(nn.Module):
    """The tube stage: the generator prompts the first frame of a tube, SAM 2 follows, and every frame's mask is judged."""

    def __init__(self, stills: ImageTrainee, sam2: SAM2Base) -> None:
        """Take the trainee of the image stage, and the SAM 2 whose decoder it speaks to."""
        super().__init__()
        self.stills, self.sam2 = stills, sam2

    def forward(self, batch: TubeBatch) -> dict[str, Tensor]:
        """The loss of whole tubes, its parts, and the mean IoU over frames."""
        stills, encoders, device = self.stills, self.stills.seeing.encoders, self.sam2.no_mem_embed.device
        images = [stills.seeing.image(shown) for shown in batch.supports]  # not remembered: what encodes them may be in training
        truth, masks = (torch.as_tensor(part).to(device).float() for part in (batch.truth, batch.masks))
        frames = np.asarray(torch.as_tensor(batch.frames).cpu())
        query, supports = encoders.see(list(frames[:, 0])), encoders.see(images)
        out: Answered = stills.generator(query, supports, masks, encoders.deepen, encoders.decoding)
        pixels = as_batch(list(frames.reshape(-1, *frames.shape[2:])), encoders.decoding.side, IMAGENET_MEAN, IMAGENET_STD)
        clips = Clips(self.sam2, pixels.view(*frames.shape[:2], *pixels.shape[1:]).to(device))
        which, times = torch.arange(len(truth), device=device), range(truth.shape[1])
        first, memory = prompted_by_tokens(clips, which, out.tokens)
        answers = [first, *followed(clips, which, memory, times)]
        limited = [answer.chosen.float().clamp(-LOGIT_LIMIT, LOGIT_LIMIT) for answer in answers]
        logits = torch.cat([enlarged(frame, (truth.shape[-2], truth.shape[-1])) for frame in limited], 1)
        iou = mask_iou(logits.flatten(0, 1)[:, None] > 0, truth.flatten(0, 1)[:, None] > 0).mean()
        return {**stills.losses(logits.flatten(1, 2), truth.flatten(1, 2)), "iou": iou}

    def train(self, mode: bool = True) -> Self:
        """SAM 2's parts stay in evaluation mode (batch norms, dropout); it itself learns, and then leaves masks in memory soft."""
        super().train(mode)
        self.sam2.eval()
        self.sam2.training = mode
        return self


@torch.no_grad()
def episode_iou(trainee: ImageTrainee, batches: EpisodeBatches, seeing: Seeing, episodes: int, batch: int = 8) -> dict[int, list[float]]:
    """IoU of episodes that are drawn for measuring, in order of their number, by class.

    The trainee answers as at inference; its own way of seeing is left alone.
    """
    kept = trainee.seeing
    trainee.seeing = seeing
    trainee.eval()

    def judge(drawn: EpisodeBatch) -> Tensor:
        logits, truth = trainee.answer(drawn)
        return mask_iou(logits[:, None] > 0, truth[:, None] > 0)[:, 0]

    try:
        return scores_by_class(batches, episodes, judge, batch)
    finally:
        trainee.seeing = kept
        trainee.train()


def scores_by_class(
    batches: Callable[[int, Sequence[int]], Drawn], episodes: int, judge: Callable[[Drawn], Tensor], batch: int = 8
) -> dict[int, list[float]]:
    """What `judge` gives for each of the episodes that are drawn as step 0, in order of their number, by class."""
    scores = dict[int, list[float]]()
    for first in range(0, episodes, batch):
        drawn = batches(0, range(first, min(first + batch, episodes)))
        for category, score in zip(drawn.categories, judge(drawn).tolist(), strict=True):
            scores.setdefault(category, []).append(score)
    return scores


def class_means(scores: Mapping[int, Sequence[float]], names: Mapping[int, str]) -> dict[str, float]:
    """Mean IoU of each class by name, in order of ids."""
    return {names[category]: float(np.mean(values)) for category, values in sorted(scores.items())}


def write_validation(path: Path, scores: Mapping[int, Sequence[float]], names: Mapping[int, str]) -> None:
    """Keep IoUs of held-back episodes as JSON: how many, the mean over classes, and each class."""
    by_class = {name: round(mean, 4) for name, mean in class_means(scores, names).items()}
    miou = round(float(np.mean(list(by_class.values()))), 4)
    write_text(path, to_json({"episodes": sum(map(len, scores.values())), "miou": miou, "classes": by_class}))
