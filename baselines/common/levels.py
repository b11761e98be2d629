"""What few-shot heads look at: a frozen backbone's maps by level, and supports' masks on their grids."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

GridLevel: TypeAlias = Literal[2, 3]  # whose grid a head works on; in the papers both have stride 8, but for VGG


class Levels(NamedTuple):
    """Maps of pictures (B, ...); level 4 and 5 where a head does not make them itself."""

    level2: Tensor  # (B, C2, h2, w2)
    level3: Tensor  # (B, C3, h3, w3)
    level4: Tensor | None = None  # (B, C4, h4, w4): the backbone's last
    level5: Tensor | None = None  # (B, C5, h4, w4): what a learner of base classes makes of level 4

    @property
    def deepest(self) -> Tensor:
        """Level 4, where it must be there.

        Raises:
            ValueError: it was not kept.
        """
        if self.level4 is None:
            raise ValueError("these pictures have no level 4: give Levels the backbone's last map")
        return self.level4

    @property
    def parts(self) -> tuple[Tensor, ...]:
        """Every map that is there."""
        return tuple(maps for maps in self if maps is not None)

    def mapped(self, change: Callable[[Tensor], Tensor]) -> Levels:
        """Every map changed."""
        level4, level5 = (None if maps is None else change(maps) for maps in (self.level4, self.level5))
        return Levels(change(self.level2), change(self.level3), level4, level5)

    def size(self, level: GridLevel) -> tuple[int, int]:
        """Height and width in cells of the grid that is worked on."""
        maps = self.level2 if level == 2 else self.level3
        return maps.shape[2], maps.shape[3]


def bilinear(maps: Tensor, size: Sequence[int], *, corners: bool = True) -> Tensor:
    """Maps (B, C, h, w) at a size (H, W), bilinear, corners on corners unless told otherwise."""
    return functional.interpolate(maps, size=tuple(size), mode="bilinear", align_corners=corners)


def soft_on_grid(masks: Tensor, size: Sequence[int]) -> Tensor:
    """Masks (B, 1, H, W) of 0 and 1 on a grid, (B, 1, h, w) in [0, 1], bilinear with corners on corners.

    A mask that has pixels and would lose all of them so keeps the cells that it touches: a small object is no empty one.
    """
    return _kept(bilinear(masks, size), masks, size)


def nearest_on_grid(masks: Tensor, size: Sequence[int]) -> Tensor:
    """The same where the nearest pixel decides: (B, 1, h, w) of 0 and 1."""
    return _kept(functional.interpolate(masks, size=tuple(size), mode="nearest"), masks, size)


def _kept(on: Tensor, masks: Tensor, size: Sequence[int]) -> Tensor:
    lost = (on.flatten(1).sum(1) == 0) & (masks.flatten(1).sum(1) > 0)
    if not lost.any():
        return on
    return on.where(~lost[:, None, None, None], functional.adaptive_max_pool2d(masks, tuple(size)))


def together(seen: Levels, size: Sequence[int]) -> Tensor:
    """Levels 3 and 2 side by side on a grid, (B, C3 + C2, h, w): the released weights of all three heads expect this order."""
    return torch.cat([bilinear(seen.level3, size), bilinear(seen.level2, size)], 1)


def stacked(pictures: Sequence[Levels]) -> Levels:
    """Maps of several pictures as one batch."""
    level2, level3, *rest = zip(*pictures, strict=True)
    level4, level5 = (torch.cat([maps for maps in level if maps is not None]) if level[0] is not None else None for level in rest)
    return Levels(torch.cat(level2), torch.cat(level3), level4, level5)
