"""What few-shot methods make of frozen features: masked averages, and a first guess of where the class is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from baselines.common.levels import bilinear, nearest_on_grid
from icvos.models.token_decoding import SamFeatures

Deepen: TypeAlias = Callable[[Tensor], Tensor]  # a backbone's last stage: level 3 (B, C3, h, w) to level 4 (B, C4, h', w')
AREA_FLOOR = 5e-4  # added to a mask's area, so that an empty one divides by something (VRP-SAM's value, which DC-SAM kept)
NORM_FLOOR = 1e-7  # added to the product of two norms, likewise
MIN_MAX_FLOOR = 1e-7


class Seen(NamedTuple):
    """What frozen networks say of pictures (B, ...): the backbone's levels 2 and 3, and SAM's features where a method uses them."""

    level2: Tensor  # (B, C2, h2, w2)
    level3: Tensor  # (B, C3, h, w): the grid on which prompts are made
    sam: SamFeatures | None = None

    @property
    def sam_features(self) -> SamFeatures:
        """SAM's, where it must be there.

        Raises:
            ValueError: it was not computed.
        """
        if self.sam is None:
            raise ValueError("these pictures were not shown to SAM: give Seen its features")
        return self.sam

    @property
    def parts(self) -> tuple[Tensor, ...]:
        """Every map."""
        sam = self.sam_features
        return (self.level2, self.level3, sam.embedding, *sam.fine)

    def mapped(self, change: Callable[[Tensor], Tensor]) -> Seen:
        """Every map changed."""
        return _seen(map(change, self.parts))

    def picked(self, which: Tensor) -> Seen:
        """Of these pictures only, by index (N,)."""
        sam = self.sam and SamFeatures(self.sam.embedding[which], tuple(level[which] for level in self.sam.fine))
        return Seen(self.level2[which], self.level3[which], sam)


def stacked(pictures: Sequence[Seen]) -> Seen:
    """Maps of several pictures as one batch."""
    return _seen(torch.cat(part) for part in zip(*(seen.parts for seen in pictures), strict=True))


def _seen(parts: Iterable[Tensor]) -> Seen:
    level2, level3, embedding, *fine = parts
    return Seen(level2, level3, SamFeatures(embedding, tuple(fine)))


def resized(maps: Tensor, like: Tensor) -> Tensor:
    """Maps (B, C, h, w) on the grid of others, bilinear with corners on corners; untouched where they are on it."""
    return maps if maps.shape[-2:] == like.shape[-2:] else bilinear(maps, like.shape[-2:])


def middle_levels(seen: Seen) -> Tensor:
    """Levels 2 and 3 side by side, (B, C2 + C3, h, w), on the grid of level 3."""
    return torch.cat([resized(seen.level2, seen.level3), seen.level3], 1)


def on_grid(masks: Tensor, like: Tensor) -> Tensor:
    """Masks (B, H, W) of 0 and 1 on the grid of others, (B, 1, h, w); see `nearest_on_grid`."""
    return nearest_on_grid(masks[:, None].to(like.dtype), like.shape[-2:])


def mean_over_shots(values: Tensor, count: int) -> Tensor:
    """(B * K, ...), the K of one episode together, to the means (B, ...) of B = `count` episodes."""
    return values.view(count, -1, *values.shape[1:]).mean(1)


def masked_average(maps: Tensor, masks: Tensor) -> Tensor:
    """The mean feature under a mask: maps (B, C, h, w) and masks (B, 1, h, w) give (B, C)."""
    return (maps * masks).sum((2, 3)) / (masks.sum((2, 3)) + AREA_FLOOR)


def prior_mask(query: Tensor, support: Tensor, masks: Tensor) -> Tensor:
    """How much each place of the query looks like some place of the support's object: the largest cosine.

    Args:
        query: (B, C, h, w) of the deepest level.
        support: (B, C, h, w) of the same level, computed from what the mask left of the level before.
        masks: (B, 1, H, W) of 0 and 1.

    Returns:
        (B, 1, h, w); in [0, 1] where features are not negative, as after a ReLU.
    """
    shown = (support * resized(masks, support)).flatten(2)  # (B, C, L)
    asked = query.flatten(2)
    norms = shown.norm(dim=1)[:, :, None] * asked.norm(dim=1)[:, None, :]
    likeness = torch.einsum("bcl,bcm->blm", shown, asked) / (norms + NORM_FLOOR)
    nearest: Tensor = likeness.amax(1)
    return nearest.view(len(query), 1, *query.shape[-2:])


def similarity_map(query: Tensor, supports: Tensor, masks: Tensor) -> Tensor:
    """The same for supports (B * K, C, h, w) with masks (B * K, 1, H, W), the K of one episode together: the mean over them."""
    each = prior_mask(query.repeat_interleave(len(supports) // len(query), 0), supports, masks)
    return mean_over_shots(each, len(query))


def min_max(maps: Tensor) -> Tensor:
    """Each map (B, 1, h, w) moved and scaled into [0, 1]."""
    low, high = maps.amin((2, 3), keepdim=True), maps.amax((2, 3), keepdim=True)
    return (maps - low) / (high - low + MIN_MAX_FLOOR)
