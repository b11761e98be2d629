"""Residual networks of 50 and 101 layers, with torchvision's stem or the deep one of few-shot segmentation ("v2").

He et al., Deep Residual Learning, 2016. The deep stem and its weights come from PSPNet's author (Zhao et al., 2017).
Blocks are torchvision's; stages are laid out here, because the two ways to dilate them differ in first blocks only.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck

from icvos.models.backbones.base import Backbone, BackboneSpec, Dilation

# What the stem's modules are called where the network stands by itself, and their places in layer0.
STOCK_STEM = {"conv1": 0, "bn1": 1}
DEEP_STEM = {"conv1": 0, "bn1": 1, "conv2": 3, "bn2": 4, "conv3": 6, "bn3": 7}


class ResNet(Backbone):
    """Levels 0 to 4 are ``layer0`` (the stem with its max-pooling) to ``layer4``, which are also its key names.

    Weights may name the stem ``conv1``, ``bn1``, ... as torchvision and the v2 file do, or ``layer0.0``, ``layer0.1``, ...
    as few-shot methods do; ``fc`` is left out.
    """

    heads = ("fc.",)

    def __init__(self, spec: BackboneSpec, dilation: Dilation) -> None:
        super().__init__(spec, dilation)
        self.layer0 = deep_stem() if spec.deep_stem else stock_stem()
        width = spec.channels[0]
        for level, count in enumerate(spec.blocks, start=1):
            self.add_module(f"layer{level}", residual_stage(width, level, count, dilation))
            width = spec.channels[level]

    def stage(self, level: int, features: Tensor) -> Tensor:
        """``layer<level>``; see Backbone."""
        maps: Tensor = self.get_submodule(f"layer{level}")(features)
        return maps

    def own_names(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The stem's modules under ``layer0``, classifier left out."""
        places = DEEP_STEM if self.spec.deep_stem else STOCK_STEM

        def place(name: str) -> str:
            module, _, rest = name.partition(".")
            return f"layer0.{places[module]}.{rest}" if module in places else name

        return {place(name): value for name, value in super().own_names(state).items()}


def stock_stem() -> nn.Sequential:
    """7x7 convolution of stride 2, max-pooling: (B, 3, H, W) to (B, 64, ceil(H / 4), ceil(W / 4))."""
    return nn.Sequential(nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1))


def deep_stem() -> nn.Sequential:
    """Three 3x3 convolutions, the first of stride 2, max-pooling: (B, 3, H, W) to (B, 128, ceil(H / 4), ceil(W / 4))."""
    modules: list[nn.Module] = []
    for wide_in, wide_out, stride in ((3, 64, 2), (64, 64, 1), (64, 128, 1)):
        modules += [nn.Conv2d(wide_in, wide_out, 3, stride, 1, bias=False), nn.BatchNorm2d(wide_out), nn.ReLU(inplace=True)]
    return nn.Sequential(*modules, nn.MaxPool2d(3, 2, 1))


def residual_stage(width_in: int, level: int, count: int, dilation: Dilation) -> nn.Sequential:
    """Stage `level` (1 to 4) of `count` bottlenecks: `width_in` channels to ``128 * 2 ** level``.

    Stage 1 keeps its input's size. The others halve it, but for dilated stages 3 and 4, which keep it as well.
    """
    planes = 32 * 2**level
    dilated = dilation != "none" and level > 2
    spread = 2 ** (level - 2) if dilated else 1  # 2 in stage 3, 4 in stage 4
    first_spread = spread // 2 if dilated and dilation == "later-blocks" else spread
    stride = 1 if level == 1 or dilated else 2
    wide = planes * Bottleneck.expansion
    shortcut = nn.Sequential(nn.Conv2d(width_in, wide, 1, stride, bias=False), nn.BatchNorm2d(wide))
    first = Bottleneck(width_in, planes, stride, shortcut, dilation=first_spread)
    return nn.Sequential(first, *(Bottleneck(wide, planes, dilation=spread) for _ in range(count - 1)))
