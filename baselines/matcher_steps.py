"""Matcher over its frozen networks: from a picture and annotated supports to points, and on to one mask."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from baselines.common.encoders import as_batch
from baselines.common.windows import seen_through, squared, support_window
from baselines.matcher_config import MatcherConfig
from baselines.matcher_generation import Candidates, MaskGenerator
from baselines.matcher_matching import Matches, agreed, foreground_cells, match
from baselines.matcher_sampling import Points, box_of, cluster_centres, points_of, subsets
from baselines.matcher_scoring import Judged, chosen, covered_cells
from icvos.errors import UserInputError
from icvos.models.backbones import Backbone
from icvos.models.token_decoding import SamFeatures, TokenDecoding
from icvos.types import Image, Mask

SEED = 0  # of every prompt anew, so that an answer does not depend on those before


class Seen(NamedTuple):
    """A picture as the networks see it, with the candidates that do not depend on any support."""

    size: tuple[int, int]  # of the picture
    cells: Tensor  # (N, C)
    sam: SamFeatures | None = None
    dense: Candidates | None = None


class Found(NamedTuple):
    """Where the supports' object is in a picture."""

    matches: Matches
    points: Points  # (M, 2), x and y in pixels of a picture of the config's size


class Matcher:
    """All steps; what is asked for several supports is computed once a picture."""

    def __init__(self, config: MatcherConfig, backbone: Backbone, decoding: TokenDecoding | None) -> None:
        """Put it together.

        Args:
            config: its options.
            backbone: gives the patches.
            decoding: draws candidate masks; none is needed for points.

        Raises:
            UserInputError: the backbone has no such level, or pictures of this size do not fall into whole cells.
        """
        levels = backbone.spec.levels
        if config.level not in levels:
            expected = ", ".join(map(str, levels))
            raise UserInputError("no such level of this backbone", config.backbone, config.level, expected, "choose one of them")
        stride = backbone.strides[config.level]
        if config.image_size % stride or config.image_size % backbone.spec.multiple:
            fix = f"choose {max(1, config.image_size // stride) * stride}"
            raise UserInputError("pictures that are no whole cells", "image_size", config.image_size, f"a multiple of {stride}", fix)
        self.config, self.backbone = config, backbone
        self.cell, self.grid = stride, config.image_size // stride
        self.generator = MaskGenerator(decoding, config) if decoding else None

    def see(self, image: Image) -> Seen:
        """Look at a picture (H, W, 3)."""
        size, cells = (image.shape[0], image.shape[1]), self._cells([image])
        if not self.generator:
            return Seen(size, cells)
        features = self.generator.see(image)
        return Seen(size, cells, features, self.generator.dense(features))

    def find(self, seen: Seen, images: Sequence[Image], masks: Sequence[Mask]) -> Found:
        """Match the supports' object: images (H, W, 3) and masks (H, W), each of its own size; K of both."""
        windows = [support_window(mask, self.config.support_view) for mask in masks]
        shown = [self._shown(seen_through(mask, window)) for mask, window in zip(masks, windows, strict=True)]
        foreground = foreground_cells(torch.from_numpy(np.stack(shown)), self.grid)
        cells = self._cells([seen_through(image, window) for image, window in zip(images, windows, strict=True)])
        if self.config.several == "agreed" and len(images) > 1:
            parts = zip(cells.chunk(len(images)), np.split(foreground, len(images)), strict=True)
            matches = agreed([match(own, seen.cells, marked) for own, marked in parts])
        else:
            matches = match(cells, seen.cells, foreground)
        return Found(matches, points_of(matches.cells, self.grid, self.cell, self.config.point_order))

    def mask(self, seen: Seen, found: Found) -> Mask | None:
        """The union of the best candidates, (H, W) of the picture's size; None where there is no candidate."""
        if not self.generator or seen.sam is None or seen.dense is None:
            raise ValueError("this Matcher was made without a SAM: give it one to get masks")
        prompted = self.generator.prompted(seen.sam, self.prompts(found), box_of(found.points) if self.config.box else None)
        candidates = self.generator.distinct(seen.dense, prompted)
        masks = candidates.masks.cpu().numpy()
        points = found.points * self.config.judged_size // self.config.image_size
        config = self.config
        if found.matches.supports > 1:
            config = replace(config, merged=min(config.merged, config.merged_of_several))
        best = chosen(Judged(found.matches, points, masks, covered_cells(masks, self.grid, config)), config)
        if not len(best):
            return None
        merged: Mask = (self.generator.enlarged(candidates.logits[torch.from_numpy(best)], seen.size) > 0).any(0).cpu().numpy()
        return merged

    def prompts(self, found: Found) -> list[Points]:
        """Sets of points, an array (P, n, 2) for each number of them."""
        config, asked = self.config, found.points
        if config.prompt_by == "centres":
            asked = cluster_centres(asked, config.centres, torch.Generator().manual_seed(SEED))
        return subsets(asked, config.fewest, config.most, config.subsets, random.Random(SEED))

    def in_picture(self, seen: Seen, points: Points) -> NDArray[np.float32]:
        """Points (M, 2) in pixels of the picture itself."""
        height, width = seen.size
        return np.asarray(points * np.array([width, height]) / self.config.image_size, np.float32)

    def best_box(self, seen: Seen, found: Found) -> NDArray[np.float32]:
        """(4,), in pixels of the picture: around the cells that were matched, so that one alone has an area, too."""
        left, top, right, bottom = box_of(found.points)
        corners = np.array([[left, top], [right, bottom]]) + np.array([[-self.cell / 2], [self.cell / 2]])
        return self.in_picture(seen, np.clip(corners, 0, self.config.image_size)).reshape(4)

    @torch.inference_mode()
    def _cells(self, images: Sequence[Image]) -> Tensor:
        """Features (K * N, C) of K pictures' cells, row by row."""
        spec, device = self.backbone.spec, next(self.backbone.parameters()).device
        maps: Tensor = self.backbone(as_batch(images, self.config.image_size, spec.mean, spec.std).to(device))[self.config.level]
        return maps.flatten(2).transpose(1, 2).flatten(0, 1)

    def _shown(self, mask: Mask) -> NDArray[np.uint8]:
        """A support's mask at the backbone's size."""
        side = self.config.image_size
        shown = squared(mask, side)
        if self.config.lost_support == "kept":
            return shown
        shown = np.asarray(cv2.resize(mask.astype(np.uint8), (side, side), interpolation=cv2.INTER_NEAREST), np.uint8)
        if not shown.any():
            first = side // 2 - self.cell // 2
            shown[first : first + self.cell, first : first + self.cell] = 1
        return shown
