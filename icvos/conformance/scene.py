"""What methods are asked in the kit: a red disc that drifts over a green ground, both speckled, and supports that show such a disc."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from icvos.files import atomic_file
from icvos.masks import encode_rle
from icvos.types import Category, Image, Mask, Size, Support

SUPPORT_SIZE = (60, 80)
CATEGORY = Category(37, "sports ball")


@dataclass(frozen=True, slots=True)
class Scene:
    """A clip that is drawn frame by frame: the same numbers give the same pixels, each time in new arrays."""

    size: Size = (48, 64)
    count: int = 6

    def frames(self) -> Iterator[Image]:
        """The frames, (H, W, 3) RGB uint8, drawn as they are asked for."""
        return (_picture(self.size, self.truth(number), number) for number in range(self.count))

    def truth(self, number: int) -> Mask:
        """Where the disc is on one frame, (H, W) bool; never empty."""
        height, width = self.size
        drift = number / max(self.count - 1, 1)
        return _disc(self.size, (height - 1) / 2, (width - 1) * (0.3 + 0.4 * drift), max(min(height, width) / 4, 1))


@dataclass(frozen=True, slots=True)
class Question:
    """What one episode asks: its supports; and the mask of frame 0, which only a ceiling is told."""

    supports: tuple[Support, ...]
    first: Mask

    @classmethod
    def about(cls, scene: Scene, *supports: Support) -> Question:
        """The question what these supports show in the scene."""
        return cls(supports, scene.truth(0))


def write_support(path: Path, draw: int = 0) -> Support:
    """A support whose picture is written to `path`; another draw has its disc elsewhere, and of another size."""
    mask = _disc(SUPPORT_SIZE, 24 + 4 * draw, 30 + 6 * draw, 12 + 2 * draw)
    with atomic_file(path) as stream:
        PillowImage.fromarray(_picture(SUPPORT_SIZE, mask, 100 + draw)).save(stream, "PNG")
    return Support(path, encode_rle(mask), CATEGORY, str(draw))


def _disc(size: Size, row: float, column: float, radius: float) -> Mask:
    rows, columns = np.ogrid[: size[0], : size[1]]
    disc: Mask = (rows - row) ** 2 + (columns - column) ** 2 <= radius**2
    return disc


def _picture(size: Size, disc: Mask, seed: int) -> Image:
    speckle = np.random.default_rng(seed).integers(0, 120, (*size, 3), dtype=np.uint8)
    ground, ball = np.array([30, 70, 40], np.uint8), np.array([130, 60, 90], np.uint8)
    picture: Image = np.where(disc[..., None], ball, ground) + speckle
    return picture
