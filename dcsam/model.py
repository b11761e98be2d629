"""DC-SAM's prompt generator: Algorithm 1 from frozen features to decoder tokens."""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from sam2.modeling.position_encoding import PositionEmbeddingSine
from torch import Tensor, nn
from torch.nn import functional

from baselines.common.features import Deepen, Seen, min_max, on_grid, similarity_map
from dcsam.config import DcSamConfig
from dcsam.fusion import Fused, Fusion
from dcsam.prompts import Branch, Keys, as_keys, together
from icvos.models.token_decoding import TokenDecoding, enlarged


class View(NamedTuple):
    """What one branch is given: fused features, the masks of the supports (B * K, 1, h, w), the prior (B, 1, h, w)."""

    fused: Fused
    masks: Tensor
    prior: Tensor


class Prompted(NamedTuple):
    """What came out, step by step; branches in the order positive, negative."""

    views: tuple[View, ...]
    mediate: tuple[Tensor, ...]  # (B, N, C) each, of step 4
    coarse_logits: Tensor  # (B, 1, 4h, 4w), of step 5
    coarse_mask: Tensor  # (B, H, W) bool
    refined: tuple[Tensor, ...]  # (B, N, C) each, of step 6, without SAM's labels
    tokens: Tensor  # (B, 2 N, C): the prompts with their labels, for the decoder
    logits: Tensor  # (B, 1, 4h, 4w), of step 7

    def enlarged(self, size: tuple[int, int]) -> Tensor:
        """The final logits (B, H, W) at a size."""
        return enlarged(self.logits, size)[:, 0]


class DcSam(nn.Module):
    """The trainable part of DC-SAM; backbone and SAM are handed in, and stay as they are."""

    def __init__(self, config: DcSamConfig, channels: int) -> None:
        """Make it for a backbone whose levels 2 and 3 have so many channels together."""
        super().__init__()
        self.config = config
        self.fusion = Fusion(config, channels)
        self.branches = nn.ModuleList([Branch(config) for _ in range(1 + (config.branches == "both"))])
        self.positions = PositionEmbeddingSine(config.width, normalize=True, warmup_cache=False)

    def forward(self, query: Seen, supports: Seen, masks: Tensor, deepen: Deepen, decoding: TokenDecoding) -> Prompted:
        """Algorithm 1.

        Args:
            query: features of B pictures.
            supports: features of B * K pictures, the K of one episode together.
            masks: (B, K, H, W) of 0 and 1, at the size in which masks are compared.
            deepen: the backbone's last stage.
            decoding: SAM or SAM 2.
        """
        labels = decoding.labels[: len(self.branches)]
        views = self.views(query, supports, masks, deepen)
        mediate = tuple(branch.mediate(self._support_keys(view)) for branch, view in zip(self._branches, views, strict=True))
        coarse = decoding.logits(query.sam_features, labelled(mediate, labels))  # step 5, Equation 11
        coarse_mask = enlarged(coarse.detach(), (masks.shape[-2], masks.shape[-1]))[:, 0] > 0
        started = tuple(p + e for p, e in zip(mediate, labels, strict=True)) if self.config.labels_carried else mediate
        refined = self.refined(started, views, coarse_mask)
        tokens = labelled(refined, labels)
        return Prompted(views, mediate, coarse, coarse_mask, refined, tokens, decoding.logits(query.sam_features, tokens))

    def views(self, query: Seen, supports: Seen, masks: Tensor, deepen: Deepen) -> tuple[View, ...]:
        """Steps 1 and 2: what each branch sees; the negative one has the masks inverted (Section 4.2)."""
        flat = masks.flatten(0, 1)
        asked, shown, deep = self.fusion.reduced(query), self.fusion.reduced(supports), deepen(query.level3)
        views = []
        for layer, sides in ((self.fusion.positive, flat), (self.fusion.negative, 1 - flat.float())):
            if layer is None:
                continue
            on = on_grid(sides, supports.level3)
            prior = self._prior(deep, deepen(supports.level3 * on), on, query.level3)
            views.append(View(self.fusion.fused(layer, shown, asked, on, prior), on, prior))
        return tuple(views)

    def refined(self, started: tuple[Tensor, ...], views: tuple[View, ...], coarse_mask: Tensor) -> tuple[Tensor, ...]:
        """Step 6: prompts (B, N, C) a branch, from mediate ones and the coarse mask (B, H, W); Equations 12 and 13."""
        found = coarse_mask[:, None].float()
        positive = self._query_keys(views[0], views[0].fused.query, found)
        if len(views) == 1:
            return (self._branches[0].refine(started[0], positive),)
        keys = views[1].fused.query if self.config.negative_keys == "query" else views[0].fused.supports[:, -1]
        negative = self._query_keys(views[1], keys, 1 - found)
        return (self._branches[0].refine(started[0], positive), self._branches[1].refine(started[1], negative))

    @property
    def _branches(self) -> list[Branch]:
        return cast(list[Branch], list(self.branches))

    def _prior(self, asked: Tensor, shown: Tensor, masks: Tensor, grid: Tensor) -> Tensor:
        """(B, 1, h, w), the mean over the shots of an episode."""
        mean = similarity_map(asked, shown, masks)
        mean = functional.interpolate(mean, size=grid.shape[-2:], mode="bilinear", align_corners=True)
        return min_max(mean) if self.config.prior == "min-max" else mean

    def _support_keys(self, view: View) -> Keys:
        maps = view.fused.supports
        masks = view.masks.view(*maps.shape[:2], *view.masks.shape[1:])
        shots = range(maps.shape[1]) if self.config.shots == "all" else [maps.shape[1] - 1]
        return together([as_keys(maps[:, shot], self.positions(maps[:, shot]), masks[:, shot]) for shot in shots])

    def _query_keys(self, view: View, features: Tensor, mask: Tensor) -> Keys:
        nearest = functional.interpolate(mask, size=view.fused.query.shape[-2:], mode="nearest")
        return as_keys(features, self.positions(features), nearest)


def labelled(prompts: tuple[Tensor, ...], labels: tuple[Tensor, ...]) -> Tensor:
    """Prompts with SAM's labels, one branch after the other (Section 4.4): (B, 2 N, C)."""
    return torch.cat([prompt + label for prompt, label in zip(prompts, labels, strict=True)], 1)
