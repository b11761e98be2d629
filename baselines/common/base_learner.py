"""What HDMNet and AMNet have from BAM (Lang et al., CVPR 2022): a frozen classifier of base classes says what is none of the target."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines.common.features import NORM_FLOOR
from baselines.common.levels import bilinear
from baselines.common.mixer import FrozenNorm

# What of the base classes counts as background.
#   "drop target": all but the class that is asked for. With all folds trained together, that one is a base class too.
#   "all": in training all but that one, afterwards all (the released code).
#   "none": there is no base learner.
BaseMap: TypeAlias = Literal["drop target", "all", "none"]

POOLED = (1, 2, 3, 6)  # sides of the pooled maps
LEARNED = 512  # channels of what the classifier reads, level 5
SHOTS_HIDDEN = 2  # between the two layers that weigh shots


class Pooling(nn.Module):
    """Maps beside what they are on average in 1, 4, 9 and 36 parts (PSPNet's pyramid): (B, C, h, w) to (B, 2 C, h, w)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        part = channels // len(POOLED)
        self.features = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(side), nn.Conv2d(channels, part, 1, bias=False), FrozenNorm(part), nn.ReLU())
            for side in POOLED
        )

    def forward(self, maps: Tensor) -> Tensor:
        """See the class."""
        return torch.cat([maps, *(bilinear(pooled(maps), maps.shape[-2:]) for pooled in self.features)], 1)


def level5(channels: int) -> nn.Sequential:
    """What the classifier reads, not yet cut by a ReLU: (B, 2 * channels, h, w) to (B, 512, h, w)."""
    return nn.Sequential(nn.Conv2d(2 * channels, LEARNED, 3, padding=1, bias=False), FrozenNorm(LEARNED))


def base_classifier(classes: int) -> nn.Sequential:
    """Level 5 to logits of background and so many base classes."""
    return nn.Sequential(nn.ReLU(), nn.Dropout2d(0.1), nn.Conv2d(LEARNED, 1 + classes, 1))


def base_background(logits: Tensor, targets: Tensor | None) -> Tensor:
    """How likely each place is of some base class.

    Args:
        logits: (B, 1 + classes, h, w).
        targets: (B,) of numbers from 1 to classes: these do not count; 0 for a target that is no base class. None: all count.

    Returns:
        (B, 1, h, w) in [0, 1].
    """
    chances = logits.softmax(1)[:, 1:]
    if targets is not None:
        places = torch.arange(1, chances.shape[1] + 1, device=chances.device)
        chances = chances * (places != targets.to(chances.device)[:, None])[:, :, None, None]
    return chances.sum(1, keepdim=True)


def style_distance(query: Tensor, supports: Tensor) -> Tensor:
    """How differently the channels of two pictures go together: the distance of their Gram matrices, (B, K).

    Args:
        query: (B, C, h, w) of level 2, on the grid of level 3: Gram matrices of other grids are others.
        supports: (B * K, C, h, w), on theirs.
    """
    asked, shown = _gram(query), _gram(supports)
    apart = asked.repeat_interleave(len(shown) // len(asked), 0) - shown
    distances: Tensor = apart.flatten(1).norm(dim=1) / asked.shape[1]  # the norm of a matrix of ones is its side
    return distances.view(len(asked), -1)


def _gram(maps: Tensor) -> Tensor:
    """(B, C, C): cosines of channels."""
    flat = maps.flatten(2)
    norms = flat.norm(dim=2)
    cosines: Tensor = flat @ flat.transpose(1, 2) / (norms[:, :, None] * norms[:, None] + NORM_FLOOR)
    return cosines


def shot_weights(shots: int) -> nn.Sequential:
    """What weighs so many shots by their distances, sorted."""
    return nn.Sequential(nn.Conv2d(shots, SHOTS_HIDDEN, 1), nn.ReLU(), nn.Conv2d(SHOTS_HIDDEN, shots, 1))


def over_shots(distances: Tensor, weigh: nn.Module | None, *, ordered: bool) -> Tensor:
    """Distances (B, K) as one a query, (B,).

    Args:
        distances: of the K supports.
        weigh: of `shot_weights`; None for the mean.
        ordered: the weight of the i-th smallest distance goes to the i-th support; otherwise to the one whose it is.
    """
    if weigh is None:
        return distances.mean(1)
    by_size, places = distances.sort(1)
    weights = weigh(by_size[:, :, None, None])[:, :, 0, 0]
    if not ordered:
        weights = weights.gather(1, places.argsort(1))
    weighed: Tensor = weights.softmax(1) * distances
    return weighed.sum(1)


class Merged(NamedTuple):
    """A prediction with what the base learner says of the background."""

    maps: Tensor  # (B, 2, h, w) of background and object: probabilities merged, read as logits
    backgrounds: Tensor  # (B, 1 or 2, h, w): what the background is merged of


def merged(logits: Tensor, distance: Tensor, base_map: Tensor | None, gram_merge: nn.Module, cls_merge: nn.Module | None) -> Merged:
    """BAM's ensemble (HDMNet, Section 3.5).

    Args:
        logits: (B, 2, h, w) of background and object.
        distance: (B,) of `over_shots`.
        base_map: (B, 1, h, w), or None without a base learner.
        gram_merge: of a probability and the distance.
        cls_merge: of the background and the base classes; None without a base learner.
    """
    chances = logits.softmax(1)
    apart = distance[:, None, None, None].expand(-1, -1, *logits.shape[-2:])
    background, target = (gram_merge(torch.cat([part, apart], 1)) for part in (chances[:, :1], chances[:, 1:]))
    if base_map is None or cls_merge is None:
        return Merged(torch.cat([background, target], 1), background)
    backgrounds = torch.cat([background, base_map], 1)
    return Merged(torch.cat([cls_merge(backgrounds), target], 1), backgrounds)


def merging(first: float = 1.0) -> nn.Conv2d:
    """Two maps as one, the first alone to begin with."""
    layer = nn.Conv2d(2, 1, 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[first, 0.0]])[:, :, None, None])
    return layer


def cross_entropy(logits: Tensor, truth: Tensor) -> Tensor:
    """Of logits (B, C, h, w), enlarged to a truth (B, H, W) in which 255 counts for nothing."""
    size = (truth.shape[-2], truth.shape[-1])
    return functional.cross_entropy(bilinear(logits, size), truth.long(), ignore_index=255)
