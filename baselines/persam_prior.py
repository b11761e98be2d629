"""PerSAM's location prior: what the target looks like in SAM's features, and where the picture is like it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from baselines.persam_config import Variant
from baselines.persam_decoding import ClickDecoding, Placement, SeenPicture
from icvos.types import Image, Mask, PointPrompt, Size

UPSAMPLED = 4  # times finer than features, before the picture's size
BACKGROUND, OBJECT = 0, 1  # SAM's labels


class Target(NamedTuple):
    """What is looked for."""

    embedding: Tensor  # (C,): the mean feature under the masks
    direction: Tensor  # (C,) of length 1: what places are compared with


def covered(mask: Mask, placement: Placement, grid: Size) -> Tensor:
    """How much of each cell of a grid over SAM's square a mask (H, W) of the picture covers, (h, w) in [0, 1]."""
    pixels = torch.from_numpy(mask.astype(np.float32))[None, None]
    rows, columns = placement.inside
    # To a single column torch repeats the first row all the way down, so that there are two first.
    inside = functional.interpolate(pixels, size=(rows, max(2, columns)), mode="bilinear", align_corners=False, antialias=True)
    inside = functional.adaptive_avg_pool2d(inside, (rows, columns))
    square = functional.pad(inside, (0, placement.side - columns, 0, placement.side - rows))
    return functional.adaptive_avg_pool2d(square, grid)[0, 0]


def cells_covered(mask: Mask, placement: Placement, grid: Size) -> Tensor:
    """The cells of SAM's grid that are the object's: those covered at least half as much as the one that is covered most.

    Of an object that fills no cell so the cells stay in which it is: one pixel is an object.

    Args:
        mask: (H, W) bool, with a pixel.
        placement: the picture's, in the square.
        grid: height and width of the features.

    Returns:
        (h, w) bool.
    """
    share = covered(mask, placement, grid)
    return share >= share.max() / 2


def cells_of_picture(picture: Image, decoding: ClickDecoding, grid: Size) -> Tensor:
    """The released code's cells (h, w) bool: the mask is resized and normalised like a photograph, and what is positive is object.

    The bright part shrinks by what interpolation mixes with the negative ground; it may vanish.

    Args:
        picture: (H, W, 3) uint8, the mask as a picture; its red counts.
        decoding: which normalises.
        grid: height and width of the features.
    """
    small = functional.interpolate(decoding.pixels(picture), size=grid, mode="bilinear", align_corners=False)
    return small[0, 0] > 0


def target_of(shown: Sequence[tuple[SeenPicture, Tensor]], variant: Variant) -> Target:
    """What the object looks like.

    Args:
        shown: pictures, and for each the cells (h, w) bool of the object; each weighs the same, however large its object is.
        variant: PerSAM compares with the mean feature, PerSAM-F with the middle between mean and largest of each channel.
    """
    features = [seen.features.embedding[0][:, cells.to(seen.features.embedding.device)] for seen, cells in shown]
    means = [found.mean(1) for found in features]
    compared = means if variant == "persam" else [(found.amax(1) + mean) / 2 for found, mean in zip(features, means, strict=True)]
    direction = torch.stack([functional.normalize(vector, dim=0) for vector in compared]).mean(0)
    return Target(torch.stack(means).mean(0), functional.normalize(direction, dim=0))


def likeness_on_grid(seen: SeenPicture, target: Target) -> Tensor:
    """The cosine of each cell's feature with the target, (h, w) in [-1, 1]."""
    embedding = seen.features.embedding[0]
    return torch.einsum("c,chw->hw", target.direction, embedding / embedding.norm(dim=0, keepdim=True))


def at_picture(likeness: Tensor, placement: Placement) -> Tensor:
    """The likeness (h, w) at the picture's size, (H, W)."""
    finer = functional.interpolate(likeness[None, None], scale_factor=UPSAMPLED, mode="bilinear", align_corners=False)
    return placement.at_picture(finer)[0, 0]


def clicks_at(likeness: Tensor, variant: Variant) -> PointPrompt:
    """A click on the place (H, W) that is most like the target and, for PerSAM, one of the background on the least."""
    places = [int(likeness.argmax())] if variant == "persam-f" else [int(likeness.argmax()), int(likeness.argmin())]
    rows, columns = np.divmod(np.array(places), likeness.shape[1])
    return PointPrompt(np.stack([columns, rows], 1), np.array([OBJECT, BACKGROUND][: len(places)]))


def guidance_on_grid(likeness: Tensor, placement: Placement) -> Tensor:
    """Where tokens are drawn to: the standardised likeness (h, w) through a sigmoid, (h * w,); nothing draws into the padding."""
    inside = placement.cells((likeness.shape[0], likeness.shape[1]))
    drawn = torch.zeros_like(likeness)
    drawn[inside] = _standardised(likeness[inside]).sigmoid()
    return drawn.flatten()


def guidance_squashed(likeness: Tensor, grid: Size) -> Tensor:
    """The released code's guidance (h * w,): the map (H, W) of the picture squashed onto the grid of the whole square."""
    squashed = functional.interpolate(_standardised(likeness)[None, None], size=grid, mode="bilinear", align_corners=False)
    return squashed.sigmoid().flatten()


def _standardised(values: Tensor) -> Tensor:
    """Mean 0, deviation 1; zeros where all is alike."""
    spread = values.std() if values.numel() > 1 else values.new_zeros(())
    return (values - values.mean()) / spread if spread > 0 else torch.zeros_like(values)
