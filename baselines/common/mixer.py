"""Blocks of the mixing transformer that HDMNet and AMNet share: embeddings, self-attention, masked matching, parsing.

HDMNet: Peng et al., CVPR 2023, arXiv 2303.14652. Names of modules are those of the released checkpoints. Tokens are (B, L, C) of
maps of known height and width, L = h * w in rows.
"""

from __future__ import annotations

import math
from typing import Any, Generic, NamedTuple, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

NORM_EPS = 1e-6  # of LayerNorms
SCALE_FLOOR = 1e-9  # added to divisors: the root of a head's width, the sum of a mask
TEMPERATURE = 0.1  # of cosines
DROPPED = 0.1  # of what attention and feed-forward layers add, in training
EXPANSION = 4  # of feed-forward layers
MATCHING_HEADS = 2

Size = tuple[int, int]  # height, width in cells


def as_tokens(maps: Tensor) -> Tensor:
    """(B, C, h, w) to (B, L, C)."""
    return maps.flatten(2).transpose(1, 2)


def as_map(tokens: Tensor, size: Size) -> Tensor:
    """(B, L, C) to (B, C, h, w)."""
    return tokens.transpose(1, 2).reshape(len(tokens), -1, *size)


Held = TypeVar("Held", bound=nn.Module)


class Transformer(nn.Module, Generic[Held]):
    """Holds a mixer under the name that checkpoints have for it."""

    mix_transformer: Held

    def __init__(self, mixer: Held) -> None:
        super().__init__()
        self.mix_transformer = mixer


class Embedding(nn.Module):
    """Patches as tokens: a convolution, and a LayerNorm."""

    def __init__(self, width: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.projection = nn.Conv2d(width, width, kernel, stride, kernel // 2)
        self.norm = nn.LayerNorm(width, NORM_EPS)

    def forward(self, maps: Tensor) -> tuple[Tensor, Size]:
        """Maps (B, C, h, w) to tokens (B, L', C) and the size of their grid."""
        projected = self.projection(maps)
        return self.norm(as_tokens(projected)), (projected.shape[2], projected.shape[3])


class Projections(nn.Module):
    """The four projections of an attention, without biases."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.linear_q, self.linear_k, self.linear_v, self.linear_o = (nn.Linear(width, width, bias=False) for _ in range(4))

    def split(self, layer: nn.Linear, tokens: Tensor) -> Tensor:
        """(B, L, C) projected and split into heads: (B, heads, L, C / heads)."""
        projected: Tensor = layer(tokens)
        return projected.view(*projected.shape[:2], self.heads, -1).transpose(1, 2)

    def joined(self, values: Tensor) -> Tensor:
        """(B, heads, L, C / heads) back to (B, L, C), projected."""
        joined: Tensor = self.linear_o(values.transpose(1, 2).flatten(2))
        return joined


class SelfAttention(nn.Module):
    """Attention whose keys and values are those of a grid that is `reduction` times as coarse."""

    def __init__(self, width: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.attn = Projections(width, heads)
        if reduction > 1:
            self.sr = nn.Conv2d(width, width, reduction, reduction)  # rows and columns that are left over are not seen
            self.norm = nn.LayerNorm(width, NORM_EPS)
        self.reduction = reduction

    def forward(self, tokens: Tensor, size: Size) -> Tensor:
        """(B, L, C) to (B, L, C)."""
        keys = self.norm(as_tokens(self.sr(as_map(tokens, size)))) if self.reduction > 1 else tokens
        part = self.attn
        query, key, value = (part.split(layer, of) for layer, of in zip(_projections(part), (tokens, keys, keys), strict=True))
        scores = query @ key.transpose(2, 3) / (math.sqrt(query.shape[-1]) + SCALE_FLOOR)
        return part.joined(scores.softmax(-1) @ value)


class Matching(NamedTuple):
    """What matching found: what is added to the tokens, and where the query looks like what the mask marks."""

    tokens: Tensor  # (B, L, C)
    correlation: Tensor  # (B, L), the mean score of marked places


class MatchingAttention(nn.Module):
    """Section 3.3: cosines, scaled so that the places of the *query* share each place of the source; only marked places speak."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attn = Projections(width, MATCHING_HEADS)

    def forward(self, tokens: Tensor, source: Tensor, mask: Tensor, share: float = 1.0) -> Matching:
        """Match.

        Args:
            tokens: (B, L, C) of the query.
            source: (B, M, C).
            mask: (B, M), 0 where a place of the source says nothing; its other values weigh the correlation.
            share: what each place's word counts; what is found is their sum.
        """
        part = self.attn
        query, key, value = (part.split(layer, of) for layer, of in zip(_projections(part), (tokens, source, source), strict=True))
        scores = functional.normalize(query, dim=-1) @ functional.normalize(key, dim=-1).transpose(2, 3) / TEMPERATURE
        marked = mask[:, None, None]
        shares = scores.softmax(2).masked_fill(marked == 0, 0)
        correlation = (scores * marked).sum(3) / (marked.sum(3) + SCALE_FLOOR)
        return Matching(part.joined(share * (shares @ value)), correlation.mean(1))


class FeedForward(nn.Module):
    """Two 1x1 convolutions with a 3x3 one, channel by channel, between them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inside = EXPANSION * width
        self.layers = nn.Sequential(
            nn.Conv2d(width, inside, 1),
            nn.Conv2d(inside, inside, 3, padding=1, groups=inside),
            nn.GELU(),
            nn.Dropout(DROPPED),
            nn.Conv2d(inside, width, 1),
            nn.Dropout(DROPPED),
        )

    def forward(self, tokens: Tensor, size: Size) -> Tensor:
        """(B, L, C) to (B, L, C)."""
        return as_tokens(self.layers(as_map(tokens, size)))


class Layer(nn.Module):
    """Self-attention and a feed-forward layer, each on normalised tokens and added to them."""

    def __init__(self, width: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, NORM_EPS), nn.LayerNorm(width, NORM_EPS)
        self.attn, self.ffn = SelfAttention(width, heads, reduction), FeedForward(width)

    def forward(self, tokens: Tensor, size: Size) -> Tensor:
        """(B, L, C) to (B, L, C)."""
        tokens = tokens + _dropped(self.attn(self.norm1(tokens), size), self.training)
        added: Tensor = self.ffn(self.norm2(tokens), size)
        return tokens + added


class MatchingLayer(nn.Module):
    """The same with matching in the place of self-attention; one LayerNorm serves query and source."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, NORM_EPS), nn.LayerNorm(width, NORM_EPS)
        self.attn, self.ffn = MatchingAttention(width), FeedForward(width)

    def forward(self, tokens: Tensor, source: Tensor, mask: Tensor, size: Size, share: float = 1.0) -> Matching:
        """See `MatchingAttention`; `size` is that of the query's grid."""
        found: Matching = self.attn(self.norm1(tokens), self.norm1(source), mask, share)
        tokens = tokens + _dropped(found.tokens, self.training)
        return Matching(tokens + self.ffn(self.norm2(tokens), size), found.correlation)


class FrozenNorm(nn.BatchNorm2d):
    """A batch norm that never leaves evaluation mode: with statistics of mean 0 and variance 1, no more than a scale and a shift.

    The released code sets every batch norm so while it trains, those that are learned included.
    """

    def train(self, mode: bool = True) -> FrozenNorm:
        """Stays in evaluation mode."""
        return super().train(False)


class Joining(nn.Module):
    """A 3x3 convolution with batch norm and ReLU over features and similarity maps."""

    def __init__(self, wide_in: int, wide_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(wide_in, wide_out, 3, padding=1, bias=False)
        self.bn = FrozenNorm(wide_out)

    def forward(self, maps: Tensor) -> Tensor:
        """(B, wide_in, h, w) to (B, wide_out, h, w)."""
        return functional.relu(self.bn(self.conv(maps)))


def parsing(width: int, inside: int) -> nn.Sequential:
    """1x1, 3x3 and 1x1 convolutions with batch norms, and a ReLU at the end alone: (B, width, h, w) to the same."""
    return nn.Sequential(*classifying(width, inside, width), FrozenNorm(width), nn.ReLU())


def classifying(width: int, inside: int, classes: int = 2) -> nn.Sequential:
    """The same without what stands after the last convolution: (B, width, h, w) to (B, classes, h, w)."""
    return nn.Sequential(
        nn.Conv2d(width, inside, 1),
        FrozenNorm(inside),
        nn.Conv2d(inside, inside, 3, padding=1),
        FrozenNorm(inside),
        nn.Conv2d(inside, classes, 1),
    )


HEADS, REDUCTIONS = (2, 4, 8), (4, 2, 1)  # of the three stages, from fine to coarse
KERNELS, STRIDES = (1, 3, 3), (1, 2, 2)
STAGES = len(HEADS)


class Stage(NamedTuple):
    """Tokens (B, L, C) of one stage, and the size of their grid."""

    tokens: Tensor
    size: Size


def mixing_stages(width: int) -> nn.ModuleList:
    """The three stages, each an embedding, two layers and a LayerNorm."""
    return nn.ModuleList(
        nn.ModuleList(
            [Embedding(width, kernel, stride), *(Layer(width, heads, reduction) for _ in range(2)), nn.LayerNorm(width, NORM_EPS)]
        )
        for kernel, stride, heads, reduction in zip(KERNELS, STRIDES, HEADS, REDUCTIONS, strict=True)
    )


def mixed(stages: nn.ModuleList, maps: Tensor) -> list[Stage]:
    """Maps (B, C, h, w) through all stages, fine to coarse."""
    found = []
    for stage in stages:
        embedding, first, second, norm = _layers(stage)
        tokens, size = embedding(maps)
        tokens = norm(second(first(tokens, size), size))
        found.append(Stage(tokens, size))
        maps = as_map(tokens, size)
    return found


def _layers(stage: nn.Module) -> list[Any]:
    return list(cast(nn.ModuleList, stage))


def _projections(part: Projections) -> tuple[nn.Linear, nn.Linear, nn.Linear]:
    return part.linear_q, part.linear_k, part.linear_v


def _dropped(tokens: Tensor, training: bool) -> Tensor:
    return functional.dropout(tokens, DROPPED, training)


def matching_stage(width: int) -> nn.ModuleList:
    """A matching layer, and what joins its answer with the two similarity maps."""
    return nn.ModuleList([MatchingLayer(width), Joining(width + 2, width)])


class Joined(NamedTuple):
    """What a matching stage gives."""

    maps: Tensor  # (B, C, h, w)
    matched: Tensor  # (B, L, C), before they are joined with the similarity maps
    correlation: Tensor  # (B, h, w)


def matched(stage: nn.Module, query: Stage, source: Tensor, mask: Tensor, similarity: Tensor, share: float = 1.0) -> Joined:
    """Match a query with a source, and join what is found with similarity maps.

    Args:
        stage: of `matching_stage`.
        query: its tokens.
        source: (B, M, C).
        mask: (B, M).
        similarity: (B, 2, h', w').
        share: see `MatchingAttention`.
    """
    layer, joining = _layers(stage)
    found: Matching = layer(query.tokens, source, mask, query.size, share)
    near = functional.interpolate(similarity, size=query.size, mode="bilinear", align_corners=True)
    maps = joining(torch.cat([as_map(found.tokens, query.size), near], 1))
    return Joined(maps, found.tokens, found.correlation.view(-1, *query.size))
