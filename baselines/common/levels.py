"""What few-shot heads look at: a frozen backbone's maps by level, and supports' masks on their grids."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

from torch import Tensor
from torch.nn import functional

from baselines.common.features import resized

GridLevel: TypeAlias = Literal[2, 3]  # whose grid a head works on; in the papers both have stride 8, but for VGG


class Levels(NamedTuple):
    """A backbone's maps of pictures (B, ...); level 4 where a head does not compute it itself from a masked level 3."""

    level2: Tensor  # (B, C2, h2, w2)
    level3: Tensor  # (B, C3, h3, w3)
    level4: Tensor | None = None  # (B, C4, h4, w4)

    @property
    def deepest(self) -> Tensor:
        """Level 4, where it must be there.

        Raises:
            ValueError: it was not kept.
        """
        if self.level4 is None:
            raise ValueError("these pictures have no level 4: give Levels the backbone's last map")
        return self.level4

    def grid(self, level: GridLevel) -> Tensor:
        """The map whose grid is worked on."""
        return self.level2 if level == 2 else self.level3


def bilinear(maps: Tensor, size: tuple[int, ...], *, corners: bool = True) -> Tensor:
    """Maps (B, C, h, w) at a size (H, W), bilinear, corners on corners unless told otherwise."""
    return functional.interpolate(maps, size=tuple(size), mode="bilinear", align_corners=corners)


def soft_on_grid(masks: Tensor, like: Tensor) -> Tensor:
    """Masks (B, 1, H, W) of 0 and 1 on a grid, (B, 1, h, w) in [0, 1], bilinear with corners on corners.

    A mask that has pixels and would lose all of them so keeps the cells that it touches: a small object is no empty one.
    """
    soft = resized(masks, like)
    return _kept(soft, masks, like)


def nearest_on_grid(masks: Tensor, like: Tensor) -> Tensor:
    """The same where the nearest pixel decides: (B, 1, h, w) of 0 and 1."""
    return _kept(functional.interpolate(masks, size=like.shape[-2:], mode="nearest"), masks, like)


def _kept(on: Tensor, masks: Tensor, like: Tensor) -> Tensor:
    lost = (on.flatten(1).sum(1) == 0) & (masks.flatten(1).sum(1) > 0)
    if not lost.any():
        return on
    return on.where(~lost[:, None, None, None], functional.adaptive_max_pool2d(masks, like.shape[-2:]))
