"""J and F of two masks, and a clip's statistics: the definitions of DAVIS, to the last bit.

The masks go through the scorer's own engine, so that a score seen in training is the score that the tool will give.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from icvos.kernels import Counts
from icvos.kernels.packed import PackedKernel
from icvos.types import Mask, Size

_KERNEL = PackedKernel()  # counts like every other kernel, and needs no compiling for a single call


def region_similarity(pred: ArrayLike, truth: ArrayLike, *, void: ArrayLike | None = None) -> float:
    """J: intersection over union of two masks, (H, W), where every value but 0 is foreground; 1 if both are empty.

    Args:
        pred: the predicted mask.
        truth: the true mask.
        void: pixels that are taken out of both masks first.

    Raises:
        ValueError: the shapes differ.
    """
    return _counts(pred, truth, 0, void).similarity()


def boundary_f(pred: ArrayLike, truth: ArrayLike, *, tolerance: int, void: ArrayLike | None = None) -> float:
    """F: the harmonic mean of precision and recall of the predicted mask's boundary.

    A boundary pixel differs from its right, lower or lower right neighbour; it is right if the other mask has one at most
    `tolerance` pixels away. A mask that fills the frame has no boundary, like an empty one.

    Args:
        pred: the predicted mask, (H, W); every value but 0 is foreground.
        truth: the true mask.
        tolerance: in pixels; `boundary_tolerance` gives the usual one.
        void: pixels that are taken out of both masks first.

    Raises:
        ValueError: the shapes differ, or the tolerance is negative.
    """
    return _counts(pred, truth, tolerance, void).boundary()


def boundary_tolerance(size: Size, part: float = 0.008) -> int:
    """The tolerance of F in pixels: a part of the diagonal of an image of `size`, rounded up."""
    return int(np.ceil(part * np.linalg.norm(size)))  # DAVIS' own computation


def recall(values: Sequence[float] | NDArray[np.float64]) -> float:
    """The part of the frames whose value is above 0.5.

    Raises:
        ValueError: there is no frame.
    """
    return float(np.mean(_some(values) > 0.5))


def decay(values: Sequence[float] | NDArray[np.float64]) -> float:
    """How much is lost from the first quarter of a clip to the last: the mean of the one minus the mean of the other.

    The quarters share their end frames, as in DAVIS; its code keeps their places in a byte, which is wrong past 256 frames.

    Raises:
        ValueError: there is no frame.
    """
    frames = _some(values)
    ends = (np.round(np.linspace(1, len(frames), 5) + 1e-10) - 1).astype(np.int64)
    return float(np.mean(frames[ends[0] : ends[1] + 1]) - np.mean(frames[ends[3] : ends[4] + 1]))


def _counts(pred: ArrayLike, truth: ArrayLike, tolerance: int, void: ArrayLike | None) -> Counts:
    ours, theirs = _mask("prediction", pred), _mask("truth", truth)
    if ours.shape != theirs.shape:
        raise ValueError(f"a prediction of shape {ours.shape} and a truth of shape {theirs.shape}: expected one shape")
    if void is not None:
        outside = _mask("void", void)
        if outside.shape != theirs.shape:
            raise ValueError(f"a void of shape {outside.shape} and a truth of shape {theirs.shape}: expected one shape")
        ours, theirs = ours & ~outside, theirs & ~outside
    return _KERNEL.count(_KERNEL.pack(ours), _KERNEL.prepare(_KERNEL.pack(theirs), tolerance))


def _mask(name: str, array: ArrayLike) -> Mask:
    mask = np.asarray(array)
    if mask.ndim != 2 or not mask.size:
        raise ValueError(f"a {name} of shape {mask.shape}: expected (height, width), both at least 1")
    return mask.astype(np.bool_, copy=False)


def _some(values: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    frames = np.asarray(values, np.float64)
    if not frames.size:
        raise ValueError("no frames: expected at least one value")
    return frames
