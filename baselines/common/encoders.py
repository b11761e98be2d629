"""The two frozen networks through which prompt generators look at pictures: a backbone, and SAM's image encoder."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image as PilImage
from torch import Tensor

from baselines.common.features import Seen
from baselines.common.fitting import as_pixels
from icvos.errors import UserInputError, did_you_mean
from icvos.models.backbones import BACKBONES, Backbone, Dilation, load_backbone
from icvos.models.backbones.base import IMAGENET_MEAN, IMAGENET_STD, Triple
from icvos.models.token_decoding import TokenDecoding
from icvos.types import Image


class Encoders:
    """Shows pictures to both, each at its own size."""

    def __init__(self, backbone: Backbone, decoding: TokenDecoding, image_size: int) -> None:
        """Take both; `image_size` is the height and width in pixels that the backbone sees."""
        self.backbone, self.decoding, self.image_size = backbone, decoding, image_size

    @property
    def channels(self) -> int:
        """Of the backbone's levels 2 and 3 together."""
        return middle_channels_of(self.backbone.spec.name)

    @torch.no_grad()
    def see(self, images: Sequence[Image]) -> Seen:
        """Features of pictures, whatever their sizes; proportions are not kept."""
        spec, device = self.backbone.spec, next(self.backbone.parameters()).device
        shown = as_batch(images, self.image_size, spec.mean, spec.std).to(device)
        maps = self.backbone(shown)
        middle, last = (4, 4) if 3 not in maps else (2, 3)  # a transformer without stages gives its last map for all of them
        sam = self.decoding.features(as_batch(images, self.decoding.side, IMAGENET_MEAN, IMAGENET_STD).to(device))
        return Seen(maps[middle], maps[last], sam)

    @torch.no_grad()
    def deepen(self, maps: Tensor) -> Tensor:
        """The backbone's last stage, for maps of level 3 (B, C3, h, w)."""
        return maps if 3 not in self.backbone.spec.levels else self.backbone.stage(4, maps)


def frozen_backbone(name: str, *, offline: bool = False) -> Backbone:
    """The backbone as VRP-SAM and DC-SAM build it: a residual network keeps stride 8 by torchvision's rule, not by PFENet's.

    Raises:
        UserInputError: no such backbone, or its weights are not there.
        DataError: its weights cannot be read.
    """
    return load_backbone(name, dilation=generator_dilation(name), offline=offline)


def generator_dilation(backbone: str) -> Dilation | None:
    """How a backbone keeps stride 8 for prompt generators; None also where there is no such backbone."""
    spec = BACKBONES.get(backbone)
    return "later-blocks" if spec and "later-blocks" in spec.dilations else None


def middle_channels_of(backbone: str) -> int:
    """How many channels levels 2 and 3 of a backbone have together.

    Raises:
        UserInputError: no such backbone.
    """
    if backbone not in BACKBONES:
        raise UserInputError("no such backbone", backbone, fix=did_you_mean(backbone, BACKBONES))
    spec = BACKBONES[backbone]
    channels = dict(zip(spec.levels, spec.channels, strict=True))
    return channels[2] + channels[3] if 3 in channels else 2 * channels[4]


def as_batch(images: Sequence[Image], side: int, mean: Triple, std: Triple) -> Tensor:
    """Pictures (H, W, 3) RGB uint8 resized and normalised: (B, 3, side, side) float."""
    resized = [np.asarray(PilImage.fromarray(image).resize((side, side), PilImage.Resampling.BILINEAR)) for image in images]
    return as_pixels(resized, mean, std)
