"""PerSAM and PerSAM-F (Zhang et al., ICLR 2024, arXiv 2305.03048) on images, with SAM or SAM 2; nothing is trained beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from baselines.common.windows import seen_through, support_window
from baselines.persam_config import PerSamConfig
from baselines.persam_decoding import Box, Candidates, ClickDecoding, Guidance, SeenPicture
from baselines.persam_prior import (
    Target,
    at_picture,
    cells_covered,
    cells_of_picture,
    clicks_at,
    covered,
    guidance_on_grid,
    guidance_squashed,
    likeness_on_grid,
    target_of,
)
from baselines.persam_scales import Fitted, fitted_scales, mixed
from icvos.types import Image, Mask, PointPrompt

ALONE, SCALED = slice(0, 1), slice(1, 4)  # of the decoder's masks


class Example(NamedTuple):
    """A support, as it is looked at."""

    seen: SeenPicture
    mask: Mask  # of the size of what is seen
    cells: Tensor  # (h, w) bool: the object's, among the features


class Learned(NamedTuple):
    """What supports say."""

    target: Target
    scales: Fitted | None  # of PerSAM-F


@dataclass(frozen=True, slots=True)
class Step:
    """One pass of the decoder: what it was asked with, beside the clicks, and what came out."""

    box: Box | None
    candidates: Candidates
    low: Tensor  # (4h, 4w) logits, of the mask that was chosen
    logits: Tensor  # (H, W), at the picture's size

    @property
    def mask(self) -> Mask:
        """(H, W) bool."""
        return np.asarray((self.logits > 0).cpu().numpy(), np.bool_)


@dataclass(frozen=True, slots=True)
class Cascade:
    """Where it was looked, and the three passes: a first mask and its cascaded post-refinement."""

    likeness: Tensor  # (H, W)
    clicks: PointPrompt
    guidance: Guidance | None
    steps: tuple[Step, ...]

    @property
    def answer(self) -> Mask:
        """The last mask that has a pixel, (H, W) bool; if none has any, it is empty."""
        masks = [step.mask for step in reversed(self.steps)]
        return next((mask for mask in masks if mask.any()), masks[0])


class PerSam:
    """Finds in a picture what supports show."""

    def __init__(self, config: PerSamConfig, decoding: ClickDecoding) -> None:
        """Take the options, and SAM or SAM 2."""
        self.config, self.decoding = config, decoding

    def look(self, picture: Image, mask: Mask) -> Example:
        """A support (H, W, 3) and its mask (H, W) bool, which has a pixel."""
        window = support_window(mask, self.config.support_view)
        return self.example(self.decoding.see(seen_through(picture, window)), seen_through(mask, window))

    def example(self, seen: SeenPicture, mask: Mask) -> Example:
        """What is looked at, with its mask (H, W) bool, which has a pixel."""
        grid = seen.grid
        cells = cells_covered(mask, seen.placement, grid)
        if self.config.mask_as_picture:
            bright = np.repeat(255 * mask.astype(np.uint8)[:, :, None], 3, 2)
            left = cells_of_picture(bright, self.decoding, grid)
            cells = left if left.any() else cells  # the released code goes on with the mean of nothing
        return Example(seen, mask, cells)

    @torch.no_grad()
    def learn(self, examples: Sequence[Example]) -> Learned:
        """What one or more supports say; more than one are taken together."""
        target = target_of([(example.seen, example.cells) for example in examples], self.config.variant)
        if self.config.variant == "persam":
            return Learned(target, None)
        shown = [self._scales_of(example, target) for example in examples]
        return Learned(target, fitted_scales(shown, self.config.steps, self.config.rate))

    @torch.no_grad()
    def segment(self, seen: SeenPicture, learned: Learned) -> Cascade:
        """Find it in a picture."""
        grid, likeness, clicks = self._located(seen, learned.target)
        if learned.scales is None:
            guidance = self._guidance(seen, learned.target, grid, likeness)
            first = self._step(seen, clicks, ALONE, guidance=guidance)
            second = self._step(seen, clicks, SCALED, mask=first.low)
        else:
            guidance, first = None, self._mixed(seen, clicks, learned.scales.weights)
            second = self._step(seen, clicks, SCALED, box_around(first.mask), first.low)
        third = self._step(seen, clicks, SCALED, box_around(second.mask), second.low)
        return Cascade(likeness, clicks, guidance, (first, second, third))

    def _located(self, seen: SeenPicture, target: Target) -> tuple[Tensor, Tensor, PointPrompt]:
        """The likeness on the grid and at the picture's size, and the clicks."""
        grid = likeness_on_grid(seen, target)
        likeness = at_picture(grid, seen.placement)
        return grid, likeness, clicks_at(likeness, self.config.variant)

    def _guidance(self, seen: SeenPicture, target: Target, grid: Tensor, likeness: Tensor) -> Guidance:
        config = self.config
        drawn = None
        if config.guided_attention and config.guidance_squashed:
            drawn = guidance_squashed(likeness, (grid.shape[0], grid.shape[1]))
        elif config.guided_attention:
            drawn = guidance_on_grid(grid, seen.placement)
        embedding = target.embedding if config.semantic_prompting else None
        return Guidance(embedding, drawn, config.second_softmax, config.target_in_positions)

    def _step(
        self,
        seen: SeenPicture,
        clicks: PointPrompt,
        which: slice,
        box: Box | None = None,
        mask: Tensor | None = None,
        guidance: Guidance | None = None,
    ) -> Step:
        """One pass; of the masks that count, the one of which most is claimed."""
        out = self.decoding.ask(seen, clicks, box, mask, guidance)
        candidates = Candidates(out.logits[which], out.scores[which])
        low = candidates.logits[int(candidates.scores.argmax())]
        return Step(box, candidates, low, seen.placement.at_picture(low[None, None])[0, 0])

    def _mixed(self, seen: SeenPicture, clicks: PointPrompt, weights: Tensor) -> Step:
        """PerSAM-F's first pass: three masks, mixed as was learned."""
        out = self.decoding.ask(seen, clicks)
        candidates = Candidates(out.logits[SCALED], out.scores[SCALED])
        logits = mixed(seen.placement.at_picture(candidates.logits[None])[0], weights)
        return Step(None, candidates, mixed(candidates.logits, weights), logits)

    def _scales_of(self, example: Example, target: Target) -> tuple[Tensor, Tensor]:
        """SAM's three masks (3, H, W) for the place of a support that is most like the target, and the true one (H, W)."""
        _, _, clicks = self._located(example.seen, target)
        logits, placement = self.decoding.ask(example.seen, clicks).logits[SCALED], example.seen.placement
        if self.config.fit_at == "picture":
            logits, truth = placement.at_picture(logits[None])[0], torch.from_numpy(example.mask)
        else:
            grid = (logits.shape[1], logits.shape[2])
            rows, columns = placement.cells(grid)
            logits, truth = logits[:, rows, columns], covered(example.mask, placement, grid)[rows, columns]
        return logits, truth.to(logits)


def box_around(mask: Mask) -> Box | None:
    """The outermost pixels of a mask (H, W): left, top, right, bottom; None where it is empty, and the next pass gets no box."""
    rows, columns = np.nonzero(mask)
    return np.array([columns.min(), rows.min(), columns.max(), rows.max()]) if len(rows) else None
