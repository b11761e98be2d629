"""Which candidate masks are the object: earth mover's distance, purity and coverage, and the union of the best (Matcher, Section 3.3)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from baselines.matcher_config import MatcherConfig
from baselines.matcher_matching import Floats, Matches, Places
from baselines.matcher_sampling import Points

FLOOR = 1e-6  # added to purity, coverage, and the distance that others are divided by

Masks = NDArray[np.bool_]  # (n, S, S)


def covered_cells(masks: Masks, grid: int, config: MatcherConfig) -> Masks:
    """Which cells of a grid each mask touches: (n, S, S) gives (n, grid * grid)."""
    small = [cv2.resize(mask.astype(np.float32), (grid, grid), interpolation=cv2.INTER_AREA) > 0 for mask in masks]
    touched = np.stack(small).reshape(len(masks), -1) if small else np.zeros((0, grid * grid), np.bool_)
    if config.empty_mask == "everything":
        touched[~touched.any(1)] = True
    return touched


@dataclass(frozen=True)
class Judged:
    """Candidates as they stand to the matches; distances, which take long, are computed when they are asked for."""

    matches: Matches
    points: Points  # (M, 2), matched, in pixels of the masks
    masks: Masks  # (n, S, S)
    cells: Masks  # (n, N), see covered_cells

    def only(self, which: Masks | Places) -> Judged:
        """Some of them."""
        return Judged(self.matches, self.points, self.masks[which], self.cells[which])

    @cached_property
    def inside(self) -> Places:
        """(n,): how many of the matched points each mask holds."""
        x, y = np.clip(self.points, 0, self.masks.shape[-1] - 1).T
        return np.asarray(np.count_nonzero(self.masks[:, y, x], axis=1))

    @cached_property
    def purity(self) -> Floats:
        """(n,): matched points in a mask by the cells that it touches."""
        return np.asarray(self.inside / np.maximum(self.cells.sum(1), 1) + FLOOR)

    @cached_property
    def coverage(self) -> Floats:
        """(n,): matched points in a mask by all of them."""
        return self.inside / len(self.points) + FLOOR

    @cached_property
    def emd(self) -> Floats:
        """(n,), 1 less the earth mover's distance from the supports' object to the cells of each mask; at most 1.

        Masks that touch the same cells, of which there are many, are computed once.
        """
        if not len(self.cells):
            return np.zeros(0)
        different, place = np.unique(self.cells, axis=0, return_inverse=True)
        cost = self.matches.cost[self.matches.foreground]
        return np.array([1 - transport(cost[:, cells]) for cells in different])[place.reshape(-1)]

    def score(self, config: MatcherConfig) -> Floats:
        """(n,): the weighted sum."""
        other = config.purity_weight * self.purity * self.coverage**config.coverage_power if config.purity_weight else 0.0
        return config.emd_weight * self.emd + other


def transport(cost: Floats) -> float:
    """The earth mover's distance between two uniform heaps, by the costs (F, m) from one's places to the other's."""
    import ot

    if not cost.shape[1]:
        return 1.0  # nothing to carry to: as far as can be
    here, there = (np.full(count, 1 / count) for count in cost.shape)
    return float(ot.emd2(here, there, cost.astype(np.float64)))


def chosen(judged: Judged, config: MatcherConfig) -> Places:
    """The candidates that are merged, by number; none where there is none."""
    places = np.arange(len(judged.masks))
    if config.empty_mask == "nothing":
        places = places[judged.cells.any(1)]
    for name, least in (("coverage", config.least_coverage), ("emd", config.least_emd), ("purity", config.least_purity)):
        if least > 0 and len(places):
            values = getattr(judged.only(places), name)
            places = places[values >= min(least, values.max())]
    if not len(places):
        return places
    merge = _near_best if config.merging == "near best" else _top
    return places[merge(judged.only(places).score(config), config)]


def _near_best(scores: Floats, config: MatcherConfig) -> Places:
    """The best, and what lies neither far from the object nor far behind the best."""
    order = np.argsort(1 - scores, kind="stable")
    distance = (1 - scores)[order]
    near = (distance < config.furthest) & ((distance - distance[0]) / (distance[-1] + FLOOR) < config.gap)
    near[0] = True
    return np.asarray(order[near][: config.merged])


def _top(scores: Floats, config: MatcherConfig) -> Places:
    """Of the best so many, those whose score exceeds a part of the first's."""
    order = np.argsort(-scores, kind="stable")[: config.merged]
    return np.asarray(order[scores[order] / scores[order[0]] > config.share])
