"""One branch of Algorithm 1: prompts out of learned queries, first from the support (steps 3 and 4), then from the query image (6)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from dcsam.config import DcSamConfig
from dcsam.cycle_attention import CycleAttention


class Keys(NamedTuple):
    """What queries attend to: fused features with their positions and without, (B, L, C), and the mask (B, L) bool."""

    keys: Tensor
    values: Tensor
    mask: Tensor


class Branch(nn.Module):
    """The positive or the negative branch; the two differ in weights alone."""

    def __init__(self, config: DcSamConfig) -> None:
        super().__init__()
        width = config.width
        self.queries = nn.Embedding(config.queries, width)  # Q of Equations 7 and 8: learned
        self.positions = nn.Embedding(config.queries, width) if config.query_positions else None
        self.support_attention = _cycle_attention(config)
        self.query_attention = _cycle_attention(config)
        self.self_attention = nn.MultiheadAttention(width, config.heads, batch_first=True)
        self.norms = nn.ModuleList([nn.LayerNorm(width) for _ in range(3)]) if config.residual else None
        nn.init.xavier_uniform_(self.queries.weight)
        nn.init.xavier_uniform_(self.self_attention.in_proj_weight)
        nn.init.xavier_uniform_(self.self_attention.out_proj.weight)
        if self.positions is not None:
            nn.init.xavier_uniform_(self.positions.weight)

    def mediate(self, support: Keys) -> Tensor:
        """Prompts (B, N, C) from the support alone: Equations 9 and 10."""
        queries = self.queries.weight.expand(len(support.keys), -1, -1)
        return self._joined(0, queries, self.support_attention(self._placed(queries), *support))

    def refine(self, prompts: Tensor, query: Keys) -> Tensor:
        """Prompts (B, N, C) from the query image and its coarse mask: Equations 12 and 13."""
        prompts = self._joined(1, prompts, self.query_attention(self._placed(prompts), *query))
        placed = self._placed(prompts)
        return self._joined(2, prompts, self.self_attention(placed, placed, prompts, need_weights=False)[0])

    def _placed(self, queries: Tensor) -> Tensor:
        return queries if self.positions is None else queries + self.positions.weight

    def _joined(self, layer: int, before: Tensor, found: Tensor) -> Tensor:
        if self.norms is None:
            return found
        joined: Tensor = self.norms[layer](before + found)
        return joined


def _cycle_attention(config: DcSamConfig) -> CycleAttention:
    return CycleAttention(config.width, config.heads, cyclic=config.cyclic, mixed_masks=config.mixed_masks)


def as_keys(features: Tensor, positions: Tensor, mask: Tensor) -> Keys:
    """Fused features (B, C, h, w), their positions (B, C, h, w) and a mask (B, 1, h, w) of 0 and 1 as tokens."""
    values = features.flatten(2).transpose(1, 2)
    return Keys(values + positions.flatten(2).transpose(1, 2), values, mask.flatten(1) > 0.5)


def together(shots: list[Keys]) -> Keys:
    """The keys of several supports, one after the other."""
    return Keys(*(torch.cat(part, 1) for part in zip(*shots, strict=True)))
