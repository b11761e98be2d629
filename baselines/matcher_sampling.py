"""From matched cells to prompts: their points, centres of clusters of them, and subsets drawn at random (Matcher, Section 3.2)."""

from __future__ import annotations

import random
from collections.abc import Iterable
from itertools import combinations
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

ALL_UP_TO = 8  # points: of so few, every subset is a prompt
RESTARTS = 100  # of k-means, before clusters that stay empty are given up
STEPS = 100  # of k-means; it settles within a few

Points = NDArray[np.int64]  # (N, 2) x and y in pixels


def points_of(cells: Iterable[int], grid: int, side: int, order: Literal["ascending", "set"]) -> Points:
    """The centres of cells of a grid, (M, 2) x and y in pixels, each once.

    Args:
        cells: their numbers, row by row.
        grid: cells in a row.
        side: of a cell, in pixels.
        order: ``set``: that in which CPython iterates over a set into which they were put in their order, which decides
            what each random draw of the release means.
    """
    plain = [int(cell) for cell in cells]
    ordered = np.array(list(set(plain)) if order == "set" else sorted(set(plain)), np.int64).reshape(-1)
    return np.stack([ordered % grid, ordered // grid], 1) * side + side // 2


def box_of(points: Points) -> Points:
    """The tight box of points, (4,): left, top, right, bottom."""
    return np.concatenate([points.min(0), points.max(0)])


def subsets(points: Points, fewest: int, most: int, count: int, rng: random.Random) -> list[Points]:
    """Prompts of each size: an array (P, size, 2) for every size from `fewest` to `most` points, or to as many as there are.

    Of at most eight points these are all subsets, in colexicographic order; of more, `count` random ones.
    """
    total = len(points)
    drawn: list[Points] = []
    for size in range(min(fewest, total), min(most, total) + 1):
        if total > ALL_UP_TO:
            chosen = [rng.sample(range(total), size) for _ in range(count)]
        else:
            chosen = [list(places) for places in sorted(combinations(range(total), size), key=lambda places: places[::-1])]
        drawn.append(points[np.array(chosen)])
    return drawn


def cluster_centres(points: Points, count: int, generator: torch.Generator) -> Points:
    """Centres of clusters by k-means++ (Arthur and Vassilvitskii, 2007), cut to whole pixels, (at most `count`, 2)."""
    values = torch.from_numpy(points).float()
    wanted = min(count, len(np.unique(points, axis=0)))
    for _ in range(RESTARTS):
        centres = _settled(values, _seeded(values, wanted, generator))
        if len(centres) == wanted:
            break
    return centres.to(torch.int64).numpy()


def _seeded(values: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """First centres: one by chance, the others the likelier the further they lie (squared) from those before."""
    chosen = [int(torch.randint(0, len(values), (1,), generator=generator))]
    while len(chosen) < count:
        nearest = torch.cdist(values, values[chosen]).amin(1).square()
        chosen.append(int(torch.multinomial(nearest / nearest.sum(), 1, generator=generator)))
    return values[chosen]


def _settled(values: Tensor, centres: Tensor) -> Tensor:
    """Lloyd's steps until nothing moves; clusters that have lost all their points are left out."""
    for _ in range(STEPS):
        nearest = torch.cdist(values, centres).argmin(1)
        moved = torch.stack([values[nearest == number].mean(0) for number in range(len(centres)) if bool((nearest == number).any())])
        if moved.shape != centres.shape or torch.equal(moved, centres):
            return moved
        centres = moved
    return centres
