"""Candidate masks for a picture out of SAM or SAM 2, asked by many prompts at once: a grid of single points, and sets of points.

What SAM's automatic mask generator does on one whole picture, in the order that wastes least: what is not sure enough of
itself goes before it is enlarged. Grid, stability and boxes are the package's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image as PilImage
from segment_anything.utils.amg import batched_mask_to_box, build_point_grid, calculate_stability_score
from torch import Tensor
from torch.nn import functional
from torchvision.ops import batched_nms

from baselines.common.encoders import as_batch
from baselines.matcher_config import MatcherConfig
from baselines.matcher_sampling import Points
from icvos.models.backbones.base import IMAGENET_MEAN, IMAGENET_STD
from icvos.models.token_decoding import Sam1Tokens, SamFeatures, TokenDecoding
from icvos.types import Image

AT_ONCE = 64  # prompts
OFFSET = 1.0  # of the logits between which a mask must be stable


class Candidates(NamedTuple):
    """Masks that may be the object."""

    logits: Tensor  # (n, h, w), the decoder's own map
    masks: Tensor  # (n, S, S) bool
    claimed: Tensor  # (n,), the IoU that SAM claims
    boxes: Tensor  # (n, 4), left, top, right, bottom in pixels of the masks

    def only(self, which: Tensor) -> Candidates:
        """Some of them, in this order."""
        return Candidates(*(part[which] for part in self))


class MaskGenerator:
    """Asks one SAM; pictures are shown to it whole, squeezed to its square."""

    def __init__(self, decoding: TokenDecoding, config: MatcherConfig, at_once: int = AT_ONCE) -> None:
        """Take what is asked; `at_once` prompts go through its decoder together."""
        self.decoding, self.config, self.at_once = decoding, config, at_once
        self.device = next(decoding.mask_decoder.parameters()).device

    @torch.inference_mode()
    def see(self, image: Image) -> SamFeatures:
        """Features of a picture (H, W, 3)."""
        if self.config.shown_to_sam == "resized":
            image = resized_with_truncation(image, self.config.image_size)
        return self.decoding.features(as_batch([image], self.decoding.side, IMAGENET_MEAN, IMAGENET_STD).to(self.device))

    def dense(self, features: SamFeatures) -> Candidates:
        """What lies under the points of the grid, each asked for by itself, one mask each."""
        grid = build_point_grid(self.config.dense) if self.config.dense else np.zeros((0, 2))
        points = (grid * self.config.image_size)[:, None]
        return self._kept(features, [points], None, self.config.dense_iou, self.config.dense_stability, three=False)

    def prompted(self, features: SamFeatures, prompts: Sequence[Points], box: Points | None) -> Candidates:
        """What sets of points mean.

        Args:
            features: of the picture.
            prompts: (P, n, 2) each, x and y in pixels of a picture of the config's size; all sets of an array are as large.
            box: (4,), goes along with each set.
        """
        three = self.config.prompted_masks == "three"
        return self._kept(features, prompts, box, self.config.prompted_iou, self.config.prompted_stability, three=three)

    def distinct(self, *parts: Candidates) -> Candidates:
        """All of them, the surest first, without those whose box is that of a surer one."""
        every = Candidates(*(torch.cat(part) for part in zip(*parts, strict=True)))
        alike = torch.zeros(len(every.claimed), device=every.claimed.device)
        return every.only(batched_nms(every.boxes.float(), every.claimed, alike, self.config.box_overlap))

    @torch.inference_mode()
    def enlarged(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        """Logits (n, h, w) at a size, as the SAM that made them is read: the first goes by way of its own side."""
        maps = logits[:, None]
        if isinstance(self.decoding, Sam1Tokens):
            side = self.decoding.side
            maps = functional.interpolate(maps, (side, side), mode="bilinear", align_corners=False)
        return functional.interpolate(maps, size, mode="bilinear", align_corners=False)[:, 0]

    @torch.inference_mode()
    def _kept(
        self, features: SamFeatures, prompts: Sequence[Any], box: Points | None, least_iou: float, least_stability: float, *, three: bool
    ) -> Candidates:
        """The answers that are sure and stable enough; 0 asks for nothing."""
        found = [self._nothing(features)]
        for points in self._batches(prompts):
            logits, claimed = self._ask(features, points, box, three)
            if least_iou > 0:
                sure = claimed > least_iou
                logits, claimed = logits[sure], claimed[sure]
            large = self.enlarged(logits, (self.config.judged_size, self.config.judged_size))
            if least_stability > 0:
                stable = calculate_stability_score(large, 0.0, OFFSET) >= least_stability
                logits, claimed, large = logits[stable], claimed[stable], large[stable]
            masks = large > 0
            found.append(Candidates(logits, masks, claimed, batched_mask_to_box(masks)))
        return Candidates(*(torch.cat(part) for part in zip(*found, strict=True)))

    def _batches(self, prompts: Sequence[Any]) -> Iterator[Tensor]:
        """Prompts in pixels of SAM, (B, n, 2), of one size in a batch: a padding point would be a token, and change the answer."""
        scale = self.decoding.side / self.config.image_size
        for points in prompts:
            for part in np.split(points, range(self.at_once, len(points), self.at_once)):
                if len(part):
                    yield torch.from_numpy(part * scale).float().to(self.device)

    def _ask(self, features: SamFeatures, points: Tensor, box: Points | None, three: bool) -> tuple[Tensor, Tensor]:
        """Logits (m, h, w) and claimed IoU (m,) for prompts (B, n, 2), the masks of a prompt one after the other."""
        decoding, corners = self.decoding, None
        labels = torch.ones(points.shape[:2], dtype=torch.int, device=self.device)
        if box is not None:
            scaled = torch.from_numpy(box * (decoding.side / self.config.image_size)).float().to(self.device)
            corners = scaled.view(1, 2, 2).expand(len(points), -1, -1)
        sparse, dense = decoding.encoded(points, labels, corners)
        more = {} if isinstance(decoding, Sam1Tokens) else {"repeat_image": True, "high_res_features": list(features.fine)}
        logits, claimed, *_ = decoding.mask_decoder(
            image_embeddings=features.embedding,
            image_pe=decoding.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=three,
            **more,
        )
        return logits.flatten(0, 1), claimed.flatten(0, 1)

    def _nothing(self, features: SamFeatures) -> Candidates:
        side, height, width = self.config.judged_size, *(4 * length for length in features.embedding.shape[-2:])
        empty = torch.zeros(0, device=self.device)
        masks = torch.zeros((0, side, side), dtype=torch.bool, device=self.device)
        return Candidates(empty.view(0, height, width), masks, empty, torch.zeros((0, 4), dtype=torch.long, device=self.device))


def resized_with_truncation(image: Image, side: int) -> Image:
    """A picture (H, W, 3) at (side, side), by way of [0, 1] and back without rounding: some values lose one."""
    small = np.asarray(PilImage.fromarray(image).resize((side, side), PilImage.Resampling.BILINEAR), np.float32)
    return (small / np.float32(255) * np.float32(255)).astype(np.uint8)
