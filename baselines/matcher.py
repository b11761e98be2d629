"""Matcher as `icvos run --method matcher` runs it: no training, points found by matching patches, masks judged by them.

Options are in `matcher_config.py`, the steps in `matcher_steps.py` and the modules that it names; README.md has the equations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from baselines.common.prompting import EMBEDDED_SAM, SETTINGS_CHOSEN_ON
from baselines.common.supports import EpisodeFindings, FirstFrame, marked
from baselines.matcher_config import MatcherConfig, preset
from icvos.errors import Finding, missing_package
from icvos.propagate.base import Propagated, propagated
from icvos.propagate.chosen import ChosenSam
from icvos.types import BoxPrompt, Compute, Image, MaskPrompt, MethodCard, PointPrompt, Prompt, Support
from icvos.weights import sam_kind, weight_file

if TYPE_CHECKING:
    from baselines.matcher_steps import Found, Matcher, Seen

HandOver: TypeAlias = Literal["points", "mask"]

# Stride 32 tells classes apart better than 16 does; a support is seen from nearby, for at that stride a small object would be a
# cell or two. 256 dense points and 96 sets find on small maps what is to be found.
LITE = preset(backbone="efficientnet_lite0", level=4, image_size=512, support_view="object", dense=16, subsets=16)
# What sam2_nano claims of its masks, and how steady they are, stays below what SAM's thresholds expect: with these, of 40
# pictures of COCO train2017, two thirds of what lies under a grid's points and is an object are kept, and a third of what is
# kept is none. Its maps are 64 x 64, so its masks are judged at 128.
EMBEDDED = replace(LITE, dense_iou=0.4, dense_stability=0.5, prompted_iou=0.4, prompted_stability=0.5, mask_size=128)
OFFICIAL = preset(mask_sam="sam_vit_h")


class MatcherPrompts:
    """The prompter: the matched points, or the mask that is merged of the candidates that they choose."""

    def __init__(self, name: str, config: MatcherConfig, compute: Compute, hand_over: HandOver) -> None:
        """Nothing is built before the first frame.

        Args:
            name: the method's.
            config: its options.
            compute: its `sam` and `weights` are the SAM that propagates, and draws candidate masks unless the config names another.
            hand_over: what goes to it.
        """
        self.config, self.compute, self.hand_over = config, compute, hand_over
        self.sam = ChosenSam(compute)
        said = "the points that are matched both ways" if hand_over == "points" else "the mask merged of the best candidates"
        self.card = MethodCard(
            name,
            summary=f"patches of {config.backbone} matched both ways, without training; {said} to {sam_kind(compute.sam)}",
            paper="Matcher (ICLR 2024), arXiv 2305.13310",
            hand_over=hand_over,
            variant_of="" if name == "matcher" else "matcher",
            **self._facts(),
        )
        self._noticed = EpisodeFindings()
        self._seen = FirstFrame(lambda frame: self._matcher.see(frame))

    def prompt(self, frame: Image, supports: Sequence[Support]) -> Prompt:
        """What to follow; where no support marks a pixel, nothing."""
        seen, findings = self._seen(frame), list[Finding]()
        if self.config.lost_support == "kept":
            kept, findings = marked(supports, self.card.name)
            images, masks = [given.image for given in kept], [given.mask for given in kept]
        else:
            images, masks = [support.read_image() for support in supports], [support.read_mask() for support in supports]
        prompt = self._answer(seen, self._matcher.find(seen, images, masks), findings) if images else None
        self._noticed.add(findings)
        return prompt or MaskPrompt(np.zeros(frame.shape[:2], np.bool_))

    def take_findings(self) -> list[tuple[int, Finding]]:
        """Supports without a pixel, matches that none confirms, and objects that no candidate mask fits."""
        return self._noticed.take()

    def warm_up(self) -> float:
        """Build the networks, which else the first episode would wait for; the seconds that took."""
        started = perf_counter()
        self._matcher  # noqa: B018  # built when it is asked for
        return perf_counter() - started

    def _answer(self, seen: Seen, found: Found, findings: list[Finding]) -> Prompt:
        def tell(code: str, found: str, fix: str) -> None:
            findings.append(Finding(code, self.card.name, found, "at least one", fix))

        box = BoxPrompt(self._matcher.best_box(seen, found))
        if not found.matches.confirmed and self.config.no_match == "box":
            tell("no-match", "no match that holds both ways", "the box of the matches one way is followed")
            return box
        if self.hand_over == "points":
            points = self._matcher.in_picture(seen, found.points)
            return PointPrompt(points, np.ones(len(points), np.int32))
        mask = self._matcher.mask(seen, found)
        if mask is None or not mask.any():
            tell("no-mask", "no candidate mask", "the box of the matched points is followed")
            return box
        return MaskPrompt(mask)

    @cached_property
    def _matcher(self) -> Matcher:
        try:
            import ot  # noqa: F401  # told of before anything is computed

            from baselines.common.encoders import frozen_backbone
            from baselines.matcher_steps import Matcher
            from icvos.models.sam import build_sam
            from icvos.models.token_decoding import TokenDecoding, decoding_of
        except ModuleNotFoundError as error:
            raise missing_package("Matcher", error, "models") from error
        device, offline = self.sam.propagator.device, self.compute.offline
        decoding: TokenDecoding | None = None
        if self.hand_over == "mask":
            other = self.config.mask_sam if self.config.mask_sam != self.compute.sam else ""
            decoding = decoding_of(build_sam(other, device=device, offline=offline) if other else self.sam.propagator.model)
        return Matcher(self.config, frozen_backbone(self.config.backbone, offline=offline).to(device), decoding)

    def _facts(self) -> dict[str, Any]:
        """What the card must say of all weights; nothing is built for it."""
        facts = self.sam.facts()
        own = [weight_file(self.config.backbone)]
        own += [weight_file(self.config.mask_sam)] if self.hand_over == "mask" and self.config.mask_sam else []
        licences, data = (*(file.licence for file in own), facts.get("licence", "")), facts.get("training_data", ())
        return {
            **facts,
            "weights": " ".join(f"{file.name} {file.public_hash}" for file in own) + f" on {facts['weights']}",
            "licence": ", ".join(dict.fromkeys(filter(None, licences))) if all(licences) else "",
            "validation_clips": SETTINGS_CHOSEN_ON if self.config in (EMBEDDED, LITE) else facts.get("validation_clips", ()),
            "training_data": tuple(dict.fromkeys([*(name for file in own for name in file.training_data), *data])),
        }


def matched(name: str, config: MatcherConfig, compute: Compute, hand_over: HandOver) -> Propagated:
    """The method, whole; points are those on which several supports agree, masks are judged by all supports together, as in the release."""
    prompts = MatcherPrompts(name, replace(config, several="agreed" if hand_over == "points" else "together"), compute, hand_over)
    return propagated(prompts, prompts.sam)


def matcher(compute: Compute) -> Propagated:
    """The method whose points go to SAM 2."""
    return matched("matcher", _embedded(compute), compute, "points")


def matcher_mask(compute: Compute) -> Propagated:
    """The method whose merged mask goes to SAM 2."""
    return matched("matcher-mask", _embedded(compute), compute, "mask")


def _embedded(compute: Compute) -> MatcherConfig:
    """Thresholds go with the SAM whose claims they judge."""
    return EMBEDDED if compute.sam == EMBEDDED_SAM else LITE


def matcher_dinov2(compute: Compute) -> Propagated:
    """The points of DINOv2's patches, as the paper matches them."""
    return matched("matcher-dinov2", OFFICIAL, compute, "points")


def matcher_dinov2_mask(compute: Compute) -> Propagated:
    """The merged mask of SAM's candidates, with the paper's networks and its settings for COCO-20i."""
    return matched("matcher-dinov2-mask", OFFICIAL, compute, "mask")
