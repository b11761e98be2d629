"""What `icvos train --method vrp_sam` trains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from typing import Any

from torch import Tensor
from torch.nn import functional

from baselines.common.encoders import middle_channels_of
from baselines.common.train_generator import Trainable, image_size_of
from baselines.vrp_sam_network import VrpSam, VrpSamConfig
from icvos.errors import UserInputError, did_you_mean
from icvos.training.losses import dice_loss


def trainable(width: int, backbone: str, changes: Mapping[str, Any]) -> Trainable:
    """VRP-SAM, ready to be trained.

    Args:
        width: of the decoder's tokens.
        backbone: name of the backbone.
        changes: options of `VrpSamConfig` by name.

    Raises:
        UserInputError: no such option or backbone.
    """
    known = {item.name for item in fields(VrpSamConfig)}
    for name in changes:
        if name not in known:
            raise UserInputError("no such option of VRP-SAM", name, fix=did_you_mean(name, known))
    config = replace(VrpSamConfig(backbone, image_size_of(backbone), width), **changes)

    def losses(logits: Tensor, truth: Tensor) -> dict[str, Tensor]:
        entropy = functional.binary_cross_entropy_with_logits(logits, truth)
        dice = dice_loss(logits[:, None], truth[:, None]).mean()
        return {"loss": entropy + dice, "bce": entropy.detach(), "dice": dice.detach()}

    network = VrpSam(config, middle_channels_of(backbone))
    return Trainable("vrp_sam", asdict(config), network, config.image_size, losses, view=config.support_view)
