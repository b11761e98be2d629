"""PerSAM-F's two learned numbers: how SAM's masks of three scales are mixed, fitted on the support alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from icvos.training.losses import dice_loss

SCALES = 3
ALPHA, GAMMA = 0.25, 2.0  # of the focal loss
EPSILON = 1e-4  # of AdamW


class Fitted(NamedTuple):
    """What was learned."""

    weights: Tensor  # (3,), their sum is 1
    history: Tensor  # (steps, 5): dice and focal loss of each step, and the weights that they are of
    diverged: bool  # the weights are equal ones, because training ended with a larger loss than it began with, or with none


def focal_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Cross-entropy in which what is right already counts little (Lin et al. 2017): the mean over pixels, for any shape of both."""
    entropy = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    probability = logits.sigmoid()
    missed = probability + truth - 2 * probability * truth  # 1 - p where the object is, p elsewhere
    share = ALPHA * truth + (1 - ALPHA) * (1 - truth)
    return (share * missed**GAMMA * entropy).mean()


def fitted_scales(shown: Sequence[tuple[Tensor, Tensor]], steps: int, rate: float) -> Fitted:
    """Weights (1 - w1 - w2, w1, w2) under which the mixed logits come closest to the masks of the supports.

    Args:
        shown: for each support, SAM's logits (3, H, W) and the mask (H, W) of 0 and 1.
        steps: of AdamW.
        rate: at the first step, then a cosine to nothing.
    """
    with torch.inference_mode(False), torch.enable_grad():
        copied = [(logits.clone(), truth.clone()) for logits, truth in shown]
        free = torch.full((SCALES - 1,), 1 / SCALES, device=copied[0][0].device, requires_grad=True)
        optimizer = torch.optim.AdamW([free], lr=rate, eps=EPSILON)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        history = []
        for _ in range(steps):
            weights = _all(free)
            dice, focal = _losses(copied, weights)
            optimizer.zero_grad()
            (dice + focal).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            history.append(torch.cat([torch.stack([dice, focal]), weights]).detach())
    return _judged(_all(free).detach(), torch.stack(history))


def mixed(logits: Tensor, weights: Tensor) -> Tensor:
    """The weighted sum (h, w) of logits (3, h, w)."""
    return (weights[:, None, None] * logits).sum(0)


def _all(free: Tensor) -> Tensor:
    return torch.cat([1 - free.sum(0, keepdim=True), free])


def _losses(shown: Sequence[tuple[Tensor, Tensor]], weights: Tensor) -> tuple[Tensor, Tensor]:
    """Dice and focal loss, means over supports."""
    answers = [(mixed(logits, weights), truth) for logits, truth in shown]
    dice = torch.stack([dice_loss(logits[None, None], truth[None, None])[0, 0] for logits, truth in answers])
    focal = torch.stack([focal_loss(logits, truth) for logits, truth in answers])
    return dice.mean(), focal.mean()


def _judged(weights: Tensor, history: Tensor) -> Fitted:
    loss = history[:, :2].sum(1)
    finite = bool(torch.isfinite(weights).all() and torch.isfinite(history).all())
    if finite and loss[-1] <= loss[0]:
        return Fitted(weights, history, diverged=False)
    return Fitted(torch.full_like(weights, 1 / SCALES), history, diverged=True)
