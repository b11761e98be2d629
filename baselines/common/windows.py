"""Where to look in a support: at the whole picture, as the papers do, or closer where the object is small.

Half of COCO's objects cover less than a twentieth of their picture, which leaves a few cells of a feature map to learn from.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from icvos.types import Mask

Picture = TypeVar("Picture", bound=NDArray[Any])
SupportView: TypeAlias = Literal["picture", "object"]
CONTEXT = 1.5  # a window is as many times as large as the object, in height and width
CLOSEST = 0.2  # of the picture's height and width: a window is no smaller, for there is no more to see


class Window(NamedTuple):
    """Rows and columns of a picture, ends excluded."""

    top: int
    bottom: int
    left: int
    right: int


def seen_through(picture: Picture, window: Window | None) -> Picture:
    """What lies in a window of (H, W) or (H, W, C), contiguous; without one, all."""
    if window is None:
        return picture
    return np.ascontiguousarray(picture[window.top : window.bottom, window.left : window.right])  # type: ignore[return-value]


def support_window(mask: Mask, view: SupportView) -> Window | None:
    """The part of a support to look at.

    Args:
        mask: (H, W) bool.
        view: ``picture``: all of it; ``object``: around the largest connected part of the mask, in the picture's proportions.

    Returns:
        None for the whole picture, which is also the answer where the object is large, or not there.
    """
    if view == "picture" or not mask.any():
        return None
    _, _, boxes, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    left, top, width, height, _ = boxes[1 + int(boxes[1:, cv2.CC_STAT_AREA].argmax())].tolist()
    part = max(CLOSEST, CONTEXT * max(height / mask.shape[0], width / mask.shape[1]))
    if part >= 1:
        return None
    (first, last), (start, end) = (
        _around(corner + extent / 2, round(part * size), size)
        for corner, extent, size in ((top, height, mask.shape[0]), (left, width, mask.shape[1]))
    )
    return Window(first, last, start, end)


def squared(mask: Mask, side: int | tuple[int, int]) -> NDArray[np.uint8]:
    """A mask (H, W) as (side, side), or as a height and a width, of 0 and 1: the nearest pixel decides.

    One that would lose all it has keeps where it lies.
    """
    height, width = side if isinstance(side, tuple) else (side, side)
    resized = np.asarray(cv2.resize(mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST), np.uint8)
    if not resized.any():
        ys, xs = np.nonzero(mask)
        resized[ys * height // mask.shape[0], xs * width // mask.shape[1]] = 1
    return resized


def _around(centre: float, length: int, size: int) -> tuple[int, int]:
    """So many pixels around a place, moved inside."""
    first = min(max(0, round(centre - length / 2)), size - length)
    return first, first + length
