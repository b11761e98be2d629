"""AMNet's discriminator (Section 3.3): it looks for the part in which what was found differs most from what is there.

Names of modules are those of the released checkpoints. Inference does not need it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines.common.mixer import TEMPERATURE, as_tokens

Look: TypeAlias = Callable[[Tensor], Any]  # a `Parts` or a `Judge`
PARTS = 14
PART_HEADS = 4
EXPANSION = 3  # of the feed-forward layer
COMPARED = PARTS * 2 // 3  # parts of which it is asked whether they look at different places
REAL = 0.9  # what a real part is worth: a little less than sure


class FeedForward(nn.Module):
    """Two layers without biases, added to what comes in."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inside = EXPANSION * width
        self.layers = nn.Sequential(nn.Sequential(nn.Linear(width, inside, bias=False), nn.ReLU()), nn.Linear(inside, width, bias=False))

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, C) to (B, N, C)."""
        added: Tensor = self.layers(tokens)
        return tokens + added


class Parts(nn.Module):
    """Learned parts, each as a map of where it is in an object, and the feature that stands there."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.parts = nn.Parameter(torch.empty(PARTS, width))
        nn.init.trunc_normal_(self.parts, std=0.02)
        self.q_fc, self.k_fc, self.v_fc, self.proj = (nn.Linear(width, width, bias=False) for _ in range(4))
        self.layer_norms = nn.LayerNorm(width)
        self.ffn = FeedForward(width)

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Maps (B, C, h, w) that are 0 outside an object: features (B, 14, C), and where they were found (B, 14, L)."""
        tokens = as_tokens(maps)
        parts = self.parts.expand(len(tokens), -1, -1)
        query, key, value = (_heads(layer(of)) for layer, of in ((self.q_fc, parts), (self.k_fc, tokens), (self.v_fc, tokens)))
        scores = functional.normalize(query, dim=-1) @ functional.normalize(key, dim=-1).transpose(2, 3) / TEMPERATURE
        places = scores.softmax(-1)
        features = self.proj((places @ value).transpose(1, 2).flatten(2)) + parts
        return self.layer_norms(self.ffn(features)), places.mean(1)


class Judge(nn.Module):
    """How real a part looks, in [0, 1]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Linear(width, width // 2),
            nn.LeakyReLU(0.2),
            nn.Linear(width // 2, width // 4),
            nn.LeakyReLU(0.2),
            nn.Linear(width // 4, 1),
            nn.Sigmoid(),
        )

    def forward(self, parts: Tensor) -> Tensor:
        """(B, C) to (B, 1)."""
        judged: Tensor = self.conv(parts)
        return judged


def _heads(tokens: Tensor) -> Tensor:
    """(B, N, C) to (B, heads, N, C / heads)."""
    return tokens.view(*tokens.shape[:2], PART_HEADS, -1).transpose(1, 2)


class Adversarial(NamedTuple):
    """Its losses, means over the three predictions."""

    generator: Tensor  # what is found should look real
    discriminator: Tensor  # and be told apart from what is there
    diversity: Tensor  # parts should be found in different places


def adversarial(
    parts: Iterable[Look], judges: Iterable[Look], maps: Sequence[Tensor], found: Tensor, truth: Tensor, rng: random.Random
) -> Adversarial:
    """All three losses.

    Args:
        parts: one a prediction.
        judges: likewise.
        maps: (B, C, h, w) each, what a prediction is read from.
        found: (B, 1, h, w) in [0, 1], the last prediction: all maps are looked at through it.
        truth: (B, 1, h, w) in [0, 1].
        rng: chooses the parts that are compared.
    """
    generator, discriminator, diversity = [], [], []
    for part, judge, features in zip(parts, judges, maps, strict=True):
        real, places = part(features * truth)
        fake, _ = part(features * found)
        worst = functional.cosine_similarity(fake, real, dim=2).argmin(1)
        here = torch.arange(len(worst), device=worst.device)
        said_real, said_fake = judge(real[here, worst]), judge(fake[here, worst])
        generator.append(_judged(said_fake, 1.0))
        discriminator.append((_judged(said_real, REAL) + _judged(said_fake, 0.0)) / 2)
        diversity.append(_sameness(places[:, rng.sample(range(PARTS), COMPARED)]))
    return Adversarial(*(torch.stack(losses).mean() for losses in (generator, discriminator, diversity)))


def _judged(said: Tensor, target: float) -> Tensor:
    """Cross-entropy with a second sigmoid, as the released code has it."""
    return functional.binary_cross_entropy_with_logits(said, torch.full_like(said, target))


def _sameness(places: Tensor) -> Tensor:
    """The mean cosine of two of the maps (B, N, L)."""
    unit = functional.normalize(places, dim=-1)
    cosines = (unit @ unit.transpose(1, 2)).abs()
    count = places.shape[1]
    return (cosines.sum((1, 2)) - count).mean() / (count * (count - 1))
