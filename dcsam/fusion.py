"""Feature fusion: Equations 15 and 16, and what the released code adds to them."""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from sam2.modeling.sam2_utils import LayerNorm2d
from torch import Tensor, nn
from torch.nn import functional

from baselines.common.features import Seen, masked_average, mean_over_shots, middle_levels, resized
from dcsam.config import DcSamConfig
from icvos.models.token_decoding import SamFeatures


class Fused(NamedTuple):
    """One branch's view: F^s' of every support (B, K, C, h, w), F^q' (B, C, h, w), and the mean prototype (B, C)."""

    supports: Tensor
    query: Tensor
    prototype: Tensor


class Reduced(NamedTuple):
    """Features before fusion: F (B, C, h, w) and F_SAM (B, C, h, w), the latter None without SAM fusion."""

    features: Tensor
    sam: Tensor | None


class Fusion(nn.Module):
    """Reduces features to the width of a token, and fuses them with prototype, SAM features and mask, a branch at a time."""

    def __init__(self, config: DcSamConfig, channels: int) -> None:
        """Make it for a backbone whose levels 2 and 3 have so many channels together."""
        super().__init__()
        self.config, width = config, config.width
        maps = 2 + (config.sam_fusion and config.backbone_fusion)
        self.reduce = nn.Conv2d(channels, width, 1, bias=False) if config.backbone_fusion else None
        self.positive = nn.Conv2d(maps * width + 1, width, 1, bias=False)
        self.negative = nn.Conv2d(maps * width + 1, width, 1, bias=False) if config.branches == "both" else None
        uses_sam = config.sam_fusion or not config.backbone_fusion
        self.fine = FineToCoarse(width) if config.sam == "sam2" and uses_sam else None

    def reduced(self, seen: Seen) -> Reduced:
        """F and F_SAM of pictures, on the grid of the backbone's level 3 (Equations 1 to 4)."""
        sam = self._sam_map(seen)
        if self.reduce is None:
            return Reduced(cast(Tensor, sam), None)
        features = functional.dropout2d(functional.relu(self.reduce(middle_levels(seen))), 0.5, self.training)
        return Reduced(features, sam)

    def _sam_map(self, seen: Seen) -> Tensor | None:
        if not (self.config.sam_fusion or self.reduce is None):
            return None
        sam = seen.sam_features
        return resized(sam.embedding if self.fine is None else self.fine(sam), seen.level3)

    def fused(self, layer: nn.Module, supports: Reduced, query: Reduced, masks: Tensor, prior: Tensor) -> Fused:
        """One branch.

        Args:
            layer: `positive` or `negative`.
            supports: of B * K pictures, the K of one episode together.
            query: of B pictures.
            masks: (B * K, 1, h, w) of the branch: the object, or what is not.
            prior: (B, 1, h, w), where the query looks like that.
        """
        count = len(prior)
        prototypes = masked_average(supports.features, masks)  # M (x) F: (B * K, C)
        mean = mean_over_shots(prototypes, count)
        merged = self._merged(layer, supports, prototypes, masks)  # Equation 15
        return Fused(
            merged.view(count, -1, *merged.shape[1:]),
            self._merged(layer, query, mean, prior),  # Equation 16
            mean,
        )

    def _merged(self, layer: nn.Module, reduced: Reduced, prototypes: Tensor, mask: Tensor) -> Tensor:
        spread = prototypes[:, :, None, None].expand_as(reduced.features)
        parts = [reduced.features, spread, reduced.sam, self.config.mask_gain * mask]
        merged: Tensor = layer(torch.cat([part for part in parts if part is not None], 1))
        return functional.relu(merged) if self.config.fusion_relu else merged


class FineToCoarse(nn.Sequential):
    """SAM 2's three maps as one: the finest halved and added to the next, that halved and added to the embedding."""

    def __init__(self, width: int) -> None:
        super().__init__(
            nn.Conv2d(width // 8, width // 4, 2, 2), LayerNorm2d(width // 4), nn.GELU(), nn.Conv2d(width // 4, width, 2, 2), nn.GELU()
        )

    def forward(self, sam: SamFeatures) -> Tensor:
        """(B, C, h, w)."""
        halve, norm, bend, quarter, bend_again = self
        finest, finer = sam.fine
        maps: Tensor = bend_again(quarter(bend(norm(halve(finest) + finer))) + sam.embedding)
        return maps
