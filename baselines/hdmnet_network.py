"""HDMNet (Peng et al., CVPR 2023, arXiv 2303.14652): a query is matched with its supports at three scales, coarse to fine.

Sections are the paper's. Names of modules are those of the released checkpoints, so that these load as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn

from baselines.common.base_learner import Merged, cross_entropy
from baselines.common.generator_file import GeneratorFile
from baselines.common.head import chosen
from baselines.common.levels import Levels, bilinear, nearest_on_grid
from baselines.common.matching_head import MIXED, RELEASE, SMALL, MatchingConfig, MatchingHead, Prepared, distillation, read_matching
from baselines.common.mixer import (
    STAGES,
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


@dataclass(frozen=True, slots=True)
class HdmnetConfig(MatchingConfig):
    """What an HDMNet is made of."""


PRESETS: dict[str, dict[str, Any]] = {"default": {}, "release": RELEASE, "small": SMALL}


def preset(name: str = "default", **changes: Any) -> HdmnetConfig:
    """The options of a preset, with changes.

    Args:
        name: ``default``; ``release``, what the released code computes; ``small``, for small backbones and small files.
        changes: options by name.

    Raises:
        UserInputError: no such preset or option.
    """
    return chosen("HDMNet", HdmnetConfig(), PRESETS, name, changes)


class Found(NamedTuple):
    """What came out, step by step; stages from fine to coarse unless said otherwise."""

    prepared: Prepared
    stages: tuple[Stage, ...]  # of the query
    joined: tuple[Joined, ...]
    parsed: tuple[Tensor, ...]  # (B, 64, h, w), each stage's own part
    logits: Tensor  # (B, 2, h, w) of background and object, before the base learner is asked
    merged: Merged

    @property
    def correlations(self) -> tuple[Tensor, ...]:
        """(B, h, w) each, coarse to fine."""
        return tuple(stage.correlation for stage in reversed(self.joined))

    def enlarged(self, size: tuple[int, int]) -> Tensor:
        """What is decided by, (B, 2, H, W) at a size."""
        return bilinear(self.merged.maps, size)

    def on_grid(self) -> Tensor:
        """What is decided by."""
        return self.merged.maps


class Mixer(nn.Module):
    """The mixing transformer: self-attention in three stages, then matching (Sections 3.2 and 3.3)."""

    def __init__(self, parsed: int) -> None:
        """Make it with so many channels inside the convolutions that parse."""
        super().__init__()
        self.down_sample_layers = mixing_stages(MIXED)
        self.match_layers = nn.ModuleList(matching_stage(MIXED) for _ in range(STAGES))
        self.parse_layers = nn.ModuleList(parsing(MIXED, parsed) for _ in range(STAGES))
        self.cls = classifying(MIXED, parsed)

    def forward(self, prepared: Prepared, share: float) -> tuple[list[Stage], list[Joined], list[Tensor], Tensor]:
        """Stages of the query, what matching found and what was parsed of it (all fine to coarse), and logits.

        `share` is what the word of each support's place counts.
        """
        asked, shown = mixed(self.down_sample_layers, prepared.query), mixed(self.down_sample_layers, prepared.supports)
        joined = [
            matched(layer, stage, _together(given.tokens, len(stage.tokens)), _marked(prepared.masks, stage), prepared.similarity, share)
            for layer, stage, given in zip(self.match_layers, asked, shown, strict=True)
        ]
        parsed: list[Tensor] = []
        answer: Tensor | None = None
        for layer, found in zip(reversed(self.parse_layers), reversed(joined), strict=True):
            coarser = 0 if answer is None else bilinear(answer, found.maps.shape[-2:], corners=False)
            parsed.insert(0, layer(found.maps + coarser))
            answer = parsed[0] + coarser
        return asked, joined, parsed, self.cls(answer)


class Hdmnet(MatchingHead):
    """All of HDMNet but the backbone."""

    def __init__(self, config: HdmnetConfig, channels: Mapping[int, int]) -> None:
        """Make it for a backbone whose levels 2, 3 and 4 have so many channels."""
        super().__init__(config, channels)
        self.transformer = Transformer(Mixer(config.parsed))

    def forward(self, query: Levels, supports: Levels, masks: Tensor, targets: Tensor | None = None) -> Found:
        """Logits of background and object; see `MatchingHead.prepared` for the arguments.

        Matching sums over all places of all supports: of other numbers of supports than in training the sum is made as large as there.
        """
        prepared = self.prepared(query, supports, masks, targets)
        stages, joined, parsed, logits = self.transformer.mix_transformer(prepared, self.config.shots / masks.shape[1])
        return Found(prepared, tuple(stages), tuple(joined), tuple(parsed), logits, self.merged(logits, prepared))

    def losses(self, answer: Found, truth: Tensor, step: int) -> dict[str, Tensor]:
        """See `Head.losses`."""
        loss = hdmnet_loss(answer, truth)
        return {"loss": loss.masks + loss.distillation, "masks": loss.masks.detach(), "distillation": loss.distillation.detach()}


def _together(tokens: Tensor, count: int) -> Tensor:
    """Tokens (B * K, L, C) of supports, those of one episode together: (B, K * L, C)."""
    return tokens.reshape(count, -1, tokens.shape[2])


def _marked(masks: Tensor, stage: Stage) -> Tensor:
    """Masks (B * K, 1, H, W) of supports at a stage: (B, K * L)."""
    return as_tokens(nearest_on_grid(masks, stage.size)).reshape(len(stage.tokens), -1)


class HdmnetLoss(NamedTuple):
    """Its parts; their sum is trained on. The base learner is frozen: its own loss would move nothing."""

    masks: Tensor  # cross-entropy of the merged prediction, and of that before
    distillation: Tensor


def hdmnet_loss(out: Found, truth: Tensor) -> HdmnetLoss:
    """Section 3.5; `truth` is (B, H, W) of 0, 1 and 255, which counts for nothing."""
    masks = cross_entropy(out.merged.maps, truth) + cross_entropy(out.logits, truth)
    return HdmnetLoss(masks, distillation(out.correlations, truth, chained=True))


def read_official(path: Path) -> GeneratorFile:
    """A checkpoint of the released code; see `read_matching`.

    Raises:
        UserInputError: there is no such file, or the fold is not told.
        DataError: it cannot be read, or is no checkpoint of HDMNet.
    """
    options, head, backbone = read_matching(path, "HDMNet", "transformer.mix_transformer.match_layers.0.1.conv.weight")
    return GeneratorFile("hdmnet", asdict(HdmnetConfig(**options)), "", head, facts={"shots": options["shots"]}, backbone=backbone)
