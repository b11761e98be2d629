"""What `icvos train --method dcsam` trains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

import numpy as np
from torch import Tensor

from baselines.common.encoders import middle_channels_of
from baselines.common.train_generator import Trainable, image_size_of
from dcsam.config import DcSamConfig, preset
from dcsam.lora import add_lora, merged
from dcsam.losses import segmentation_loss
from dcsam.mask_tube import MaskTube, mask_tube, still_tube
from dcsam.model import DcSam
from icvos.errors import UserInputError, did_you_mean
from icvos.types import Image, Mask


def trainable(width: int, sam: str, backbone: str, chosen: str, changes: Mapping[str, Any], *, augmented: bool = True) -> Trainable:
    """DC-SAM, ready to be trained.

    Args:
        width: of the decoder's tokens.
        sam: name of the SAM.
        backbone: name of the backbone.
        chosen: the preset.
        changes: options of `DcSamConfig` by name.
        augmented: False makes tubes of unchanged pictures (Table 8).

    Raises:
        UserInputError: no such preset, option or backbone.
    """
    known = {item.name for item in fields(DcSamConfig)}
    for name in changes:
        if name not in known:
            raise UserInputError("no such option of DC-SAM", name, fix=did_you_mean(name, known))
    kind = {"sam": "sam"} if sam.startswith("sam_vit") else {}
    built_on = {"backbone": backbone, "image_size": image_size_of(backbone), "width": width}
    if backbone.startswith("dinov2"):
        built_on["backbone_fusion"] = False  # a transformer without stages has no levels to fuse; the release has only this variant
    config = preset(chosen, **{**kind, **built_on, **changes})
    network = DcSam(config, middle_channels_of(backbone))

    def losses(logits: Tensor, truth: Tensor) -> dict[str, Tensor]:
        loss = segmentation_loss(logits, truth, config.dice)
        return {"loss": loss.total, "bce": loss.cross_entropy.detach(), "dice": loss.dice.detach()}

    tube = mask_tube if augmented else _still
    return Trainable("dcsam", asdict(config), network, config.image_size, losses, (add_lora, merged), tube, config.support_view)


def _still(image: Image, mask: Mask, rng: np.random.Generator) -> MaskTube:  # nothing is drawn
    return still_tube(image, mask)
