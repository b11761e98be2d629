"""PerSAM and PerSAM-F as `icvos run --method persam` runs them; what they do is in `persam_segmenter.py`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from baselines.common.prompting import SETTINGS_CHOSEN_ON
from baselines.common.supports import EpisodeFindings, FirstFrame, marked
from baselines.persam_config import PerSamConfig, preset
from icvos.errors import Finding
from icvos.propagate.base import Propagated, propagated
from icvos.propagate.chosen import ChosenSam
from icvos.types import BoxPrompt, Compute, Image, MaskPrompt, MethodCard, Prompt, Support
from icvos.weights import sam_kind

if TYPE_CHECKING:
    from baselines.persam_segmenter import Cascade, PerSam

HandOver: TypeAlias = Literal["points and box", "mask"]
SUMMARIES = {
    "persam": "the place most like the support and the one least like it, clicked, and the mask refined twice, nothing trained",
    "persam-f": "the place most like the support, clicked, and SAM's three masks mixed as two numbers learned on it say",
}


class PerSamPrompts:
    """The prompter: all of PerSAM on frame 0, in the features and decoder of the SAM that is then handed what it found."""

    def __init__(self, config: PerSamConfig, compute: Compute, hand_over: HandOver) -> None:
        """Nothing is built before the first frame.

        Args:
            config: of the method.
            compute: its `weights` are SAM's.
            hand_over: what goes to SAM: the clicks with the box of the last mask, or that mask.
        """
        self.config, self.hand_over = config, hand_over
        self.sam = ChosenSam(compute)
        self.card = MethodCard(
            config.variant if hand_over == "points and box" else f"{config.variant}-mask",
            summary=f"{SUMMARIES[config.variant]}; {hand_over} to {sam_kind(compute.sam)}",
            paper="PerSAM (ICLR 2024), arXiv 2305.03048",
            hand_over=hand_over,
            variant_of="" if hand_over == "points and box" else config.variant,
            **{**self.sam.facts(), "validation_clips": SETTINGS_CHOSEN_ON},
        )
        self._noticed = EpisodeFindings()
        self._seen = FirstFrame(lambda frame: self._persam.decoding.see(frame))

    def prompt(self, frame: Image, supports: Sequence[Support]) -> Prompt:
        """What to follow; where no support marks a pixel, nothing."""
        pairs, findings = marked(supports, self.card.name)
        prompt: Prompt = MaskPrompt(np.zeros(frame.shape[:2], np.bool_))
        if pairs:
            learned = self._persam.learn([self._persam.look(image, mask) for image, mask, _ in pairs])
            if learned.scales is not None and learned.scales.diverged:
                expected = "a loss below that of equal weights"
                findings.append(Finding("diverged-scales", self.card.name, "a larger one", expected, "the three masks count alike"))
            prompt = self._handed_over(self._persam.segment(self._seen(frame), learned), findings)
        self._noticed.add(findings)
        return prompt

    def take_findings(self) -> list[tuple[int, Finding]]:
        """Supports without a pixel, numbers that could not be learned, and frames on which every mask was empty."""
        return self._noticed.take()

    def _handed_over(self, cascade: Cascade, findings: list[Finding]) -> Prompt:
        from baselines.persam_segmenter import box_around

        mask = cascade.answer
        if self.hand_over == "mask":
            return MaskPrompt(mask)
        clicks = cascade.clicks
        box = box_around(mask)
        if box is None:
            findings.append(Finding("empty-cascade", self.card.name, "no mask with a pixel", "a mask on frame 0", "the clicks go alone"))
            return clicks
        return BoxPrompt(box + np.array([0, 0, 1, 1]), clicks)  # edges of pixels, so that one of them alone has an area

    @cached_property
    def _persam(self) -> PerSam:
        model = self.sam.propagator.model  # first: it tells of packages that are missing
        from baselines.persam_decoding import clicks_of
        from baselines.persam_segmenter import PerSam

        return PerSam(self.config, clicks_of(model))


def _method(config: PerSamConfig, compute: Compute, hand_over: HandOver = "points and box") -> Propagated:
    prompts = PerSamPrompts(config, compute, hand_over)
    return propagated(prompts, prompts.sam)


def persam(compute: Compute) -> Propagated:
    """PerSAM, whose clicks and box go to SAM 2."""
    return _method(preset(), compute)


def persam_mask(compute: Compute) -> Propagated:
    """PerSAM, whose mask of frame 0 goes to SAM 2."""
    return _method(preset(), compute, "mask")


def persam_f(compute: Compute) -> Propagated:
    """PerSAM-F, whose click and box go to SAM 2."""
    return _method(preset(variant="persam-f"), compute)


def persam_f_mask(compute: Compute) -> Propagated:
    """PerSAM-F, whose mask of frame 0 goes to SAM 2."""
    return _method(preset(variant="persam-f"), compute, "mask")
