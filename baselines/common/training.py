"""A prompt generator in training: frozen networks look at the pictures, and the mask that its tokens give is judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, Self

import numpy as np
import torch
from sam2.modeling.sam2_base import SAM2Base
from torch import Tensor, nn

from baselines.common.encoders import Encoders, as_batch
from baselines.common.episodes import EpisodeBatch, EpisodeBatches, Shown, TubeBatch
from baselines.common.features import Seen
from icvos.models.backbones.base import IMAGENET_MEAN, IMAGENET_STD
from icvos.models.token_decoding import SamFeatures, enlarged
from icvos.training.losses import LOGIT_LIMIT, mask_iou
from icvos.training.tracking import Clips, followed, prompted_by_tokens
from icvos.types import Image

GIBIBYTE = 1 << 30


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
        self.encoders, self.image = encoders, image
        self.room, self.known = int(cache * GIBIBYTE), dict[Shown, Seen]()
        self.remembers = self.room > 0

    def __call__(self, pictures: Sequence[Shown]) -> Seen:
        """Features of pictures, in their order."""
        if not self.remembers:
            return self.encoders.see([self.image(shown) for shown in pictures])
        return _stacked([self._recalled(shown) for shown in pictures])

    def _recalled(self, shown: Shown) -> Seen:
        """From memory, or now; rounded either way, so that what is remembered makes no difference."""
        seen = self.known.get(shown)
        if seen is None:
            seen = _mapped(self.encoders.see([self.image(shown)]), lambda maps: maps.to(torch.float16))
            size = sum(part.numel() * 2 for part in _parts(seen))
            if self.room >= size:
                self.room -= size
                self.known[shown] = seen
        return _mapped(seen, lambda maps: maps.float())


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


def _parts(seen: Seen) -> tuple[Tensor, ...]:
    sam = seen.sam_features
    return (seen.level2, seen.level3, sam.embedding, *sam.fine)


def _mapped(seen: Seen, change: Callable[[Tensor], Tensor]) -> Seen:
    return _built([change(part) for part in _parts(seen)])


def _stacked(pictures: list[Seen]) -> Seen:
    return _built([torch.cat(part) for part in zip(*map(_parts, pictures), strict=True)])


def _built(parts: list[Tensor]) -> Seen:
    level2, level3, embedding, *fine = parts
    return Seen(level2, level3, SamFeatures(embedding, tuple(fine)))


@torch.no_grad()
def episode_iou(trainee: ImageTrainee, batches: EpisodeBatches, seeing: Seeing, episodes: int, batch: int = 8) -> dict[int, list[float]]:
    """IoU of episodes that are drawn for measuring, in order of their number, by class.

    The trainee answers as at inference; its own way of seeing is left alone.
    """
    kept, scores = trainee.seeing, dict[int, list[float]]()
    trainee.seeing = seeing
    trainee.eval()
    try:
        for first in range(0, episodes, batch):
            drawn = batches(0, range(first, min(first + batch, episodes)))
            logits, truth = trainee.answer(drawn)
            ious = mask_iou(logits[:, None] > 0, truth[:, None] > 0)[:, 0]
            for category, iou in zip(drawn.categories, ious.tolist(), strict=True):
                scores.setdefault(category, []).append(iou)
    finally:
        trainee.seeing = kept
        trainee.train()
    return scores


def class_means(scores: Mapping[int, Sequence[float]], names: Mapping[int, str]) -> dict[str, float]:
    """Mean IoU of each class by name, in order of ids."""
    return {names[category]: float(np.mean(values)) for category, values in sorted(scores.items())}
