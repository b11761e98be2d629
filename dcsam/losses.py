"""What DC-SAM is trained by: Equations 21 to 23."""

from __future__ import annotations

from typing import Literal, NamedTuple

from torch import Tensor
from torch.nn import functional

from icvos.training.losses import dice_loss

TINY = 1e-8  # keeps Equation 22 finite where prediction and truth are both empty


class Loss(NamedTuple):
    """The two parts; their sum is what is minimised (Equation 23)."""

    cross_entropy: Tensor
    dice: Tensor

    @property
    def total(self) -> Tensor:
        """Equation 23."""
        return self.cross_entropy + self.dice


def segmentation_loss(logits: Tensor, truth: Tensor, dice: Literal["linear", "squared"] = "linear") -> Loss:
    """The loss of masks; a tube handed in as one tall mask (B, T * H, W) counts as one.

    Args:
        logits: (B, H, W).
        truth: (B, H, W) bool or 0 and 1.
        dice: ``squared`` is Equation 22; ``linear`` is the released code's: no squares, and 1 added above and below.
    """
    wanted = truth.to(logits.dtype)
    entropy = functional.binary_cross_entropy_with_logits(logits, wanted)  # Equation 21
    if dice == "linear":
        return Loss(entropy, dice_loss(logits[:, None], wanted[:, None]).mean())
    probability, target = logits.sigmoid().flatten(1), wanted.flatten(1)
    shared = (probability * target).sum(1)
    return Loss(entropy, (1 - 2 * shared / (probability.square().sum(1) + target.square().sum(1) + TINY)).mean())
