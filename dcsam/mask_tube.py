"""Mask tubes by augmentation: a picture and its mask become a short clip (Section 4.4, Figure 6)."""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from icvos.types import Image, Mask

FRAMES = 5
MOST_TURN = 10.0  # degrees, either way
BLUR = 5  # pixels, height and width of the kernel


class MaskTube(NamedTuple):
    """Images (5, H, W, 3) uint8 RGB and masks (5, H, W) bool."""

    images: NDArray[np.uint8]
    masks: NDArray[np.bool_]


def mask_tube(image: Image, mask: Mask, rng: np.random.Generator) -> MaskTube:
    """The picture itself, turned, mirrored both ways, and blurred, in an order drawn at random.

    Where a turn leaves the picture, the frame has the picture's mean colour and no object.

    Args:
        image: (H, W, 3) RGB uint8.
        mask: (H, W) bool.
        rng: decides the angle, in -10 to 10 degrees, and the order.
    """
    turned = _turned(image, mask, rng.uniform(-MOST_TURN, MOST_TURN))
    blurred = cv2.GaussianBlur(image, (BLUR, BLUR), 0)
    frames = [(image, mask), turned, (image[:, ::-1], mask[:, ::-1]), (image[::-1], mask[::-1]), (blurred, mask)]
    order = rng.permutation(FRAMES)
    return MaskTube(np.stack([frames[place][0] for place in order]), np.stack([frames[place][1] for place in order]))


def still_tube(image: Image, mask: Mask) -> MaskTube:
    """The same picture five times: what Table 8 compares with."""
    return MaskTube(np.stack([image] * FRAMES), np.stack([mask] * FRAMES))


def _turned(image: Image, mask: Mask, degrees: float) -> tuple[NDArray[Any], Mask]:
    height, width = mask.shape
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
    colour = image.reshape(-1, 3).mean(0).tolist()
    moved = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=colour)
    turned = cv2.warpAffine(mask.astype(np.uint8), matrix, (width, height), flags=cv2.INTER_NEAREST)
    return moved, turned > 0
