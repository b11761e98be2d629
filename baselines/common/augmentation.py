"""Pictures as the released code of PFENet, HDMNet and AMNet shows them in training: scaled, turned, blurred, mirrored, cut."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from icvos.errors import UserInputError, did_you_mean
from icvos.types import Image, Mask

IGNORED = 255  # of a truth: where there is no picture
GREY = (124, 116, 104)  # ImageNet's mean, RGB: what stands where there is no picture
CHANCE = 0.5  # of being turned, of being blurred, of being mirrored
BLUR = 5  # pixels, the side of the kernel


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How pictures are changed."""

    scales: tuple[float, float]
    degrees: float = 10.0
    cut: bool = False  # a square is cut out or padded; otherwise the whole is pressed into one
    kept: float = 0.85  # part of the object that a cut should leave
    tries: int = 31  # to find such a cut; the last one is taken as it is


AUGMENTATIONS = {
    "pfenet-coco": Augmentation((0.8, 1.25), cut=True),
    "pfenet-pascal": Augmentation((0.9, 1.1), cut=True),
    "hdmnet-coco": Augmentation((0.8, 1.25)),
    "hdmnet-pascal": Augmentation((0.9, 1.1)),
}
NONE = "none"


class Shot(NamedTuple):
    """A picture (S, S, 3) RGB and where the class is in it, (S, S) of 0, 1 and 255."""

    image: Image
    truth: NDArray[np.uint8]


def augmentation(name: str) -> Augmentation | None:
    """An augmentation by name; None for "none".

    Raises:
        UserInputError: there is none of that name.
    """
    if name != NONE and name not in AUGMENTATIONS:
        raise UserInputError("no such augmentation", name, fix=did_you_mean(name, [NONE, *AUGMENTATIONS]))
    return AUGMENTATIONS.get(name)


def augmented(image: Image, mask: Mask, side: int, how: Augmentation, rng: np.random.Generator) -> Shot:
    """A picture (H, W, 3) and a mask (H, W), changed by chance: scaled, turned, blurred, mirrored, and made a square of `side` pixels."""
    shot = _scaled(Shot(image, mask.astype(np.uint8)), rng.uniform(*how.scales))
    if rng.random() < CHANCE:
        shot = _turned(shot, rng.uniform(-how.degrees, how.degrees))
    if rng.random() < CHANCE:
        shot = shot._replace(image=np.asarray(cv2.GaussianBlur(shot.image, (BLUR, BLUR), 0), np.uint8))
    if rng.random() < CHANCE:
        shot = Shot(np.ascontiguousarray(shot.image[:, ::-1]), np.ascontiguousarray(shot.truth[:, ::-1]))
    return _cut(shot, side, how, rng) if how.cut else _resized(shot, (side, side))


def _resized(shot: Shot, size: tuple[int, int]) -> Shot:
    """At a height and width."""
    image = cv2.resize(shot.image, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
    truth = cv2.resize(shot.truth, (size[1], size[0]), interpolation=cv2.INTER_NEAREST)
    return Shot(np.asarray(image, np.uint8), np.asarray(truth, np.uint8))


def _scaled(shot: Shot, scale: float) -> Shot:
    height, width = (max(1, round(length * scale)) for length in shot.truth.shape)
    return _resized(shot, (height, width))


def _turned(shot: Shot, degrees: float) -> Shot:
    height, width = shot.truth.shape
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1)
    image = cv2.warpAffine(shot.image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderValue=GREY)
    truth = cv2.warpAffine(shot.truth, matrix, (width, height), flags=cv2.INTER_NEAREST, borderValue=(IGNORED,))
    return Shot(np.asarray(image, np.uint8), np.asarray(truth, np.uint8))


def _cut(shot: Shot, side: int, how: Augmentation, rng: np.random.Generator) -> Shot:
    """A square of it, padded where it is too small."""
    below, right = (max(0, side - length) for length in shot.truth.shape)
    top, left = below // 2, right // 2
    image = cv2.copyMakeBorder(shot.image, top, below - top, left, right - left, cv2.BORDER_CONSTANT, value=GREY)
    truth = cv2.copyMakeBorder(shot.truth, top, below - top, left, right - left, cv2.BORDER_CONSTANT, value=(IGNORED,))
    whole = int((truth == 1).sum())
    for _ in range(how.tries):
        row, column = (int(rng.integers(length - side + 1)) for length in truth.shape)
        window = (slice(row, row + side), slice(column, column + side))
        if (truth[window] == 1).sum() >= how.kept * whole:
            break
    return Shot(np.ascontiguousarray(image[window]), np.ascontiguousarray(truth[window]))
