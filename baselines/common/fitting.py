"""How a picture becomes a square: pressed into it as it is, or scaled in proportion and padded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, get_args

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from baselines.common.levels import bilinear
from baselines.common.windows import squared
from icvos.models.backbones.base import Triple
from icvos.types import Image, Mask

# "square": height and width each scaled to the side (HDMNet, AMNet).
# "padded": the longer side scaled to the side, black below or to the right (PFENet).
# "padded to eights": the same with both new sides rounded down to multiples of 8, as PFENet's released code has it; at a
#     side of 641 or 473 the picture is then a thousandth smaller than the mask that is read off it.
Fit: TypeAlias = Literal["square", "padded", "padded to eights"]
FITS: tuple[Fit, ...] = get_args(Fit)


def fitted_size(size: Sequence[int], side: int, fit: Fit) -> tuple[int, int]:
    """Height and width in pixels of a picture of a size inside its square."""
    if fit == "square":
        return side, side
    step = 8 if fit == "padded to eights" else 1
    scale = side / max(size)
    height, width = (max(1, int(length * scale + 1e-6) // step * step) for length in size)
    return height, width


def fitted_image(image: Image, side: int, fit: Fit) -> Image:
    """A picture (H, W, 3) as (side, side, 3)."""
    height, width = fitted_size(image.shape[:2], side, fit)
    resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(_on_canvas(np.asarray(resized), side), np.uint8)


def fitted_mask(mask: Mask, side: int, fit: Fit, outside: int = 0) -> NDArray[np.uint8]:
    """A mask (H, W) as (side, side) of 0 and 1, `outside` where there is no picture.

    The nearest pixel decides; a mask that would lose all it has keeps where it lies.
    """
    size = fitted_size(mask.shape, side, fit)
    return np.asarray(_on_canvas(squared(mask, size), side, outside), np.uint8)


def unfitted(logits: Tensor, size: tuple[int, int], fit: Fit) -> Tensor:
    """Logits (B, C, h, w) of a square at the size (H, W) of the picture in it: (B, C, H, W).

    Padded pictures are read off a square as large as their longer side, as PFENet is scored.
    """
    if fit == "square":
        return bilinear(logits, size)
    return bilinear(logits, (max(size), max(size)))[..., : size[0], : size[1]]


def as_pixels(images: Sequence[Image], mean: Triple, std: Triple) -> Tensor:
    """Pictures of one size, (H, W, 3) RGB uint8, normalised: (B, 3, H, W) float."""
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255
    return (pixels - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]


def _on_canvas(values: NDArray[Any], side: int, outside: int = 0) -> NDArray[Any]:
    """In the upper left corner of a square."""
    if values.shape[:2] == (side, side):
        return values
    canvas = np.full((side, side, *values.shape[2:]), outside, values.dtype)
    canvas[: values.shape[0], : values.shape[1]] = values
    return canvas
