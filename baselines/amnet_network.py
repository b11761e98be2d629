"""AMNet (Wang et al., NeurIPS 2023, arXiv 2311.17626): a coarse likeness to the support spreads over the query by itself.

Sections are the paper's. Names of modules are those of the released checkpoints, so that these load as they are.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines.amnet_discriminator import Adversarial, Judge, Parts, adversarial
from baselines.common.base_learner import Merged, cross_entropy
from baselines.common.generator_file import GeneratorFile
from baselines.common.head import chosen
from baselines.common.levels import Levels, bilinear, soft_on_grid
from baselines.common.matching_head import MIXED, RELEASE, SMALL, MatchingConfig, MatchingHead, Prepared, distillation, read_matching
from baselines.common.mixer import (
    STAGES,
    TEMPERATURE,
    Joined,
    Stage,
    Transformer,
    as_tokens,
    classifying,
    matched,
    matching_stage,
    mixed,
    mixing_stages,
    parsing,
)
from icvos.training.loop import Treatment

LEAST = 0.7  # a cosine over the temperature: places that look less like the prototype are no part of the object at first
ROUNDS = 3
ADVERSARIAL_WEIGHT, NEXT_TO_NOTHING, OUT_OF_BOUNDS = 0.1, 1e-9, 11.0
DIVERSITY_WEIGHT = 0.01
SURE = 0.5  # merged probability from which a place is part of it in refinement


@dataclass(frozen=True, slots=True)
class AmnetConfig(MatchingConfig):
    """What an AMNet is made of."""

    trained_parts: bool = True  # release: what parts are asked by is in no optimiser, and stays as it was drawn


PRESETS: dict[str, dict[str, Any]] = {"default": {}, "release": {**RELEASE, "trained_parts": False}, "small": SMALL}


def preset(name: str = "default", **changes: Any) -> AmnetConfig:
    """The options of a preset, with changes.

    Args:
        name: ``default``; ``release``, what the released code computes; ``small``, for small backbones and small files.
        changes: options by name.

    Raises:
        UserInputError: no such preset or option.
    """
    return chosen("AMNet", AmnetConfig(), PRESETS, name, changes)


class Found(NamedTuple):
    """What came out, step by step; three predictions, each made of the one before."""

    prepared: Prepared
    stages: tuple[Stage, ...]  # of the query, fine to coarse
    joined: tuple[Joined, ...]  # of the first prediction, coarse to fine
    parsed: tuple[Tensor, ...]  # likewise, (B, 64, h, w)
    fused: tuple[Tensor, ...]  # (B, 64, h, w), what each prediction is read from
    logits: tuple[Tensor, ...]  # (B, 2, h, w) of background and object
    merged: tuple[Merged, ...]  # with what the base learner says
    masks: tuple[Tensor, ...]  # (B, 1, h, w) of 0 and 1, of the first two predictions: what the next one starts from

    @property
    def correlations(self) -> tuple[Tensor, ...]:
        """(B, h, w) each, coarse to fine."""
        return tuple(stage.correlation for stage in self.joined)

    def enlarged(self, size: tuple[int, int]) -> Tensor:
        """What is decided by, (B, 2, H, W) at a size."""
        return bilinear(self.merged[-1].maps, size)

    def on_grid(self) -> Tensor:
        """What is decided by."""
        return self.merged[-1].maps


class Mixer(nn.Module):
    """The mixing transformer, and three rounds of matching the query with what is known of it (Section 3.2)."""

    def __init__(self, parsed: int) -> None:
        """Make it with so many channels inside the convolutions that parse."""
        super().__init__()
        self.down_sample_layers = mixing_stages(MIXED)
        self.match_layers1 = nn.ModuleList(matching_stage(MIXED) for _ in range(STAGES))  # coarse to fine
        self.match_layers_r1, self.match_layers_r2 = (nn.ModuleList([matching_stage(MIXED)]) for _ in range(2))
        self.parse_layers = nn.ModuleList(parsing(MIXED, parsed) for _ in range(STAGES))  # coarse to fine
        self.parse_layer_r1, self.parse_layer_r2 = parsing(MIXED, parsed), parsing(MIXED, parsed)
        self.cls, self.cls_r1, self.cls_r2 = (classifying(MIXED, parsed) for _ in range(3))

    def spread(self, stages: list[Stage], start: Tensor, similarity: Tensor) -> tuple[list[Joined], list[Tensor], Tensor]:
        """The first round: at each scale, coarse to fine, places that look like the object speak for places that look like them.

        Args:
            stages: of the query, fine to coarse.
            start: (B, 1, h, w), how much each place looks like the object.
            similarity: (B, 2, h, w).

        Returns:
            What matching found, what was parsed of it, and all of it together at the finest scale, (B, 64, h, w).
        """
        joined, parsed = [], []
        answer: Tensor | None = None
        for layer, parse, stage in zip(self.match_layers1, self.parse_layers, reversed(stages), strict=True):
            marked = as_tokens(bilinear(start, stage.size))[:, :, 0]
            found = matched(layer, stage, stage.tokens, marked, similarity)
            coarser = torch.zeros_like(found.maps) if answer is None else bilinear(answer, stage.size, corners=False)
            joined.append(found)
            parsed.append(parse(found.maps + coarser))
            answer = parsed[-1] + coarser
        return joined, parsed, found.maps if answer is None else answer

    def refined(self, round_: int, fused: Tensor, mask: Tensor, similarity: Tensor) -> Tensor:
        """Round 1 or 2 after the first: the mask (B, 1, h, w) speaks for places of (B, 64, h, w) that look like it."""
        layer, parse = ((self.match_layers_r1[0], self.parse_layer_r1), (self.match_layers_r2[0], self.parse_layer_r2))[round_ - 1]
        stage = Stage(as_tokens(fused), (fused.shape[2], fused.shape[3]))
        parsed: Tensor = parse(matched(layer, stage, stage.tokens, as_tokens(mask)[:, :, 0], similarity).maps)
        return parsed


class Amnet(MatchingHead):
    """All of AMNet but the backbone; its discriminator is of use in training alone."""

    def __init__(self, config: AmnetConfig, channels: Mapping[int, int]) -> None:
        """Make it for a backbone whose levels 2, 3 and 4 have so many channels."""
        super().__init__(config, channels)
        self.transformer = Transformer(Mixer(config.parsed))
        self.part = nn.ModuleList(Parts(MIXED) for _ in range(ROUNDS))
        self.binary_cls = nn.ModuleList(Judge(MIXED) for _ in range(ROUNDS))
        for part in self.part:
            part.get_parameter("parts").requires_grad_(config.trained_parts)

    def forward(self, query: Levels, supports: Levels, masks: Tensor, targets: Tensor | None = None) -> Found:
        """Logits of background and object; see `MatchingHead.prepared` for the arguments."""
        prepared, mixer = self.prepared(query, supports, masks, targets), self.transformer.mix_transformer
        stages = mixed(mixer.down_sample_layers, prepared.query)
        joined, parsed, answer = mixer.spread(stages, likeness(prepared.asked, prepared.prototypes), prepared.similarity)
        fused, logits = [answer], [mixer.cls(answer)]
        merged, known = [self.merged(logits[0], prepared)], list[Tensor]()
        for round_, classify in ((1, mixer.cls_r1), (2, mixer.cls_r2)):
            known.append(surely(merged[-1].maps))
            fused.append(mixer.refined(round_, fused[-1], known[-1], prepared.similarity))
            logits.append(classify(fused[-1]))
            merged.append(self.merged(logits[-1], prepared))
        return Found(prepared, tuple(stages), tuple(joined), tuple(parsed), tuple(fused), tuple(logits), tuple(merged), tuple(known))

    def losses(self, answer: Found, truth: Tensor, step: int) -> dict[str, Tensor]:
        """See `Head.losses`: even steps train what segments, odd ones the discriminator (Section 3.4)."""
        if step % 2:
            judged = self.adversarial(answer, truth, random.Random(step), learning=True)
            return {"loss": judged.discriminator + DIVERSITY_WEIGHT * judged.diversity, "discriminator": judged.discriminator.detach()}
        loss = amnet_loss(answer, truth)
        fooling = self.adversarial(answer, truth, random.Random(step), learning=False).generator
        weight = adversarial_weight(step, fooling.item())
        return {"loss": loss.masks + loss.distillation + weight * fooling, "discriminator": fooling.detach()}

    def treatment(self, name: str) -> Treatment:
        """The discriminator is trained by Adam without weight decay, its part weights at the rate itself, the rest ten times as fast."""
        if name.startswith(("part.", "binary_cls.")):
            return Treatment(1.0 if name.startswith("part.") and name.endswith("weight") else 10.0, decayed=False)
        return super().treatment(name)

    def adversarial(self, answer: Found, truth: Tensor, rng: random.Random, *, learning: bool) -> Adversarial:
        """The discriminator's losses; gradients flow into it if it is learning, otherwise into what it looks at."""
        size = answer.fused[0].shape[-2:]
        there = soft_on_grid((truth == 1).to(answer.fused[0].dtype)[:, None], size)
        maps, found = answer.fused, answer.merged[-1].maps[:, 1:]
        if learning:
            return adversarial(self.part, self.binary_cls, [part.detach() for part in maps], found.detach(), there, rng)
        parts, judges = ([_still(module) for module in modules] for modules in (self.part, self.binary_cls))
        return adversarial(parts, judges, maps, found, there, rng)


def _still(module: nn.Module) -> Callable[[Tensor], Any]:
    """A network through which gradients flow and in which none stay."""
    values = {name: value.detach() for name, value in module.named_parameters()}
    return lambda tokens: torch.func.functional_call(module, values, (tokens,))


def adversarial_weight(step: int, fooling: float) -> float:
    """Of the loss of fooling the discriminator: next to nothing in four of five rounds, and where it is out of bounds."""
    return ADVERSARIAL_WEIGHT if step % 5 == 4 and fooling <= OUT_OF_BOUNDS else NEXT_TO_NOTHING if step % 5 < 4 else 0.0


def likeness(query: Tensor, prototypes: Tensor) -> Tensor:
    """How much each place of (B, C, h, w) looks like prototypes (B * K, C), on average: (B, 1, h, w), 0 where hardly like any.

    The released code makes the same K maps and fails on them; their mean is what it makes of all its other maps.
    """
    count = len(query)
    vectors = functional.normalize(prototypes, dim=1).view(count, -1, prototypes.shape[1])
    scores = torch.einsum("bchw,bkc->bkhw", functional.normalize(query, dim=1), vectors) / TEMPERATURE
    return scores.masked_fill(scores < LEAST, 0).mean(1, keepdim=True)


def surely(maps: Tensor) -> Tensor:
    """Where merged maps (B, 2, h, w) say object and are sure of it: (B, 1, h, w) of 0 and 1."""
    background, target = maps[:, :1], maps[:, 1:]
    sure: Tensor = (target >= background) & (target > SURE)
    return sure.to(maps.dtype)


class AmnetLoss(NamedTuple):
    """The parts that need no discriminator; their sum is trained on. The base learner is frozen: its own loss would move nothing."""

    masks: Tensor  # cross-entropy of the merged prediction, and the mean of those of the three before
    distillation: Tensor


def amnet_loss(out: Found, truth: Tensor) -> AmnetLoss:
    """Section 3.4; `truth` is (B, H, W) of 0, 1 and 255, which counts for nothing."""
    each = torch.stack([cross_entropy(logits, truth) for logits in out.logits]).mean()
    return AmnetLoss(cross_entropy(out.merged[-1].maps, truth) + each, distillation(out.correlations, truth, chained=False))


def read_official(path: Path) -> GeneratorFile:
    """A checkpoint of the released code; see `read_matching`.

    Raises:
        UserInputError: there is no such file, or the fold is not told.
        DataError: it cannot be read, or is no checkpoint of AMNet.
    """
    options, head, backbone = read_matching(path, "AMNet", "transformer.mix_transformer.match_layers1.0.1.conv.weight")
    return GeneratorFile("amnet", asdict(AmnetConfig(**options)), "", head, facts={"shots": options["shots"]}, backbone=backbone)
