"""What a promptable segmenter is trained by: masks, the quality it claims for them, and whether the object is there at all."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

MASK_WEIGHT = 5.0  # of the cross-entropy, beside dice
LOGIT_LIMIT = 32.0  # SAM 2 writes -1024 where it finds no object; no gradient flows through that
PRESENT = 8  # pixels: fewer are no object


class FrameLoss(NamedTuple):
    """The parts of the loss on one frame, means over its objects."""

    mask: Tensor  # 5 x cross-entropy + dice
    quality: Tensor  # claimed against real IoU
    presence: Tensor


def frame_loss(logits: Tensor, claimed: Tensor, score: Tensor, truth: Tensor) -> FrameLoss:
    """The loss of one frame. Where an object is absent, only its score counts.

    With four candidates, as SAM's decoder makes them, the first answers for the object on its own; of the three others,
    which are for ambiguous prompts, only the best is pulled towards the truth (Kirillov et al., "Segment Anything",
    Section 3). All are held to the quality that they claim.

    Args:
        logits: (B, M, h, w) of the candidates, M 1 or 4; compared with the truth at their own size.
        claimed: (B, M) IoU that the model says each has, in [0, 1].
        score: (B, 1) logit that the object is there.
        truth: (B, H, W) bool.
    """
    present = truth.flatten(1).sum(1) >= PRESENT
    target = truth.float()[:, None]
    if logits.shape[-2:] != truth.shape[-2:]:
        target = functional.interpolate(target, size=logits.shape[-2:], mode="area")
    target = target.expand_as(logits)
    limited = logits.clamp(-LOGIT_LIMIT, LOGIT_LIMIT)
    entropy = functional.binary_cross_entropy_with_logits(limited, target, reduction="none").flatten(2).mean(2)
    each = MASK_WEIGHT * entropy + dice_loss(limited, target)  # (B, M)
    mask = each[:, 0] if each.shape[1] == 1 else each[:, 0] + each[:, 1:].min(1).values
    share = present.float() / present.sum().clamp(min=1)
    quality = (claimed.float() - mask_iou(logits > 0, target[:, :1] >= 0.5)).abs().mean(1)
    presence = functional.binary_cross_entropy_with_logits(score[:, 0].float(), present.float())
    return FrameLoss((mask * share).sum(), (quality * share).sum(), presence)


def dice_loss(logits: Tensor, target: Tensor) -> Tensor:
    """1 - dice of probabilities (B, M, H, W) and a target of that shape: (B, M) in [0, 1] (Milletari et al. 2016)."""
    probability, target = logits.sigmoid().flatten(2), target.flatten(2)
    shared = (probability * target).sum(2)
    return 1 - (2 * shared + 1) / (probability.sum(2) + target.sum(2) + 1)


@torch.no_grad()
def mask_iou(masks: Tensor, truth: Tensor) -> Tensor:
    """IoU of bool masks (B, M, H, W) with truth (B, 1, H, W): (B, M) in [0, 1]; two empty masks agree."""
    shared = (masks & truth).flatten(2).sum(2).float()
    either = (masks | truth).flatten(2).sum(2).float()
    return torch.where(either > 0, shared / either.clamp(min=1), torch.ones_like(shared))
