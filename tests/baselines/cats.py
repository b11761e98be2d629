"""Supports of a cat, out of arrays: its head, nothing, and one pixel."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from skimage import data

from icvos.types import Category, Image, Mask

CAT: Image = data.cat()


@dataclass(frozen=True)
class Given:
    """A support out of arrays."""

    image: Image
    mask: Mask
    category: Category = field(default_factory=lambda: Category(17, "cat"))

    def read_image(self) -> Image:
        return self.image

    def read_mask(self) -> Mask:
        return self.mask


def box(top: int, bottom: int, left: int, right: int, image: Image = CAT) -> Given:
    """The picture with a box for its mask."""
    mask = np.zeros(image.shape[:2], np.bool_)
    mask[top:bottom, left:right] = True
    return Given(image, mask)


HEAD, NOTHING, PIXEL = box(40, 290, 120, 400), box(0, 0, 0, 0), box(150, 151, 200, 201)
