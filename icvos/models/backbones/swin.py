"""Swin-B, shifted windows of 7 patches of 4 pixels (Liu et al., Swin Transformer, 2021), as torchvision builds it."""

from __future__ import annotations

from torch import Tensor, nn
from torchvision.models import swin_b

from icvos.models.backbones.base import Backbone, BackboneSpec, Dilation


class Swin(Backbone):
    """Levels 1 to 4 are the four stages' outputs, without the LayerNorm that the classifier puts on the last.

    Key names are torchvision's. Maps whose sides are no multiples of 7 are padded inside, and windows shift wherever a
    map holds more than one of them, so that images need not be 224 pixels.
    """

    heads = ("norm.", "head.")

    def __init__(self, spec: BackboneSpec, dilation: Dilation) -> None:
        super().__init__(spec, dilation)
        self.features: nn.Sequential = swin_b(weights=None).features  # patches, stage 1, merging, stage 2, merging, ...

    def stage(self, level: int, features: Tensor) -> Tensor:
        """Stage `level` with the merging before it, or the cutting into patches; see Backbone. Inside, channels stand last."""
        inner = features if level == 1 else features.permute(0, 2, 3, 1)
        maps: Tensor = self.features[2 * level - 2 : 2 * level](inner)
        return maps.permute(0, 3, 1, 2).contiguous()
