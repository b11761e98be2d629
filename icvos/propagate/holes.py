"""Small holes in a mask, filled on the CPU: what SAM 2's optional CUDA extension does, without it."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

FILLED = 0.1  # the logit that a hole gets: barely object, as in SAM 2


def fill_holes(logits: Tensor, largest: int) -> Tensor:
    """Turn background components of at most `largest` pixels (8-connected) into object.

    Args:
        logits: (N, 1, H, W), object where above 0.
        largest: in pixels of `logits`; 0 fills nothing.

    Returns:
        Logits of the same shape, 0.1 in the holes; `logits` itself where there is none.
    """
    if largest <= 0:
        return logits
    background = (logits <= 0).cpu().numpy().astype(np.uint8)
    holes = np.stack([_holes(mask[0], largest) for mask in background])[:, None]
    if not holes.any():
        return logits
    return torch.where(torch.from_numpy(holes).to(logits.device), FILLED, logits)


def _holes(background: NDArray[np.uint8], largest: int) -> NDArray[np.bool_]:
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(background, connectivity=8)
    small = statistics[:, cv2.CC_STAT_AREA] <= largest
    small[0] = False  # the object itself
    return np.asarray(small[labels], np.bool_)
