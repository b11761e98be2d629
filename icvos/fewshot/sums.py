"""Counts of episodes as sums by picture, so that any weighting of pictures gives its scores by one product of matrices.

Counts are whole numbers, far below 2^53 in sum: float64 adds them without rounding, in any order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from icvos.stats import times_drawn

if TYPE_CHECKING:
    from icvos.fewshot.scoring import EpisodeCounts

Array = NDArray[np.float64]
_EPISODES = 4  # the column after the four counts


class PictureSums(NamedTuple):
    """`table` is (P, K, C, 5) for pictures, seeds and classes, each sorted: the four counts, and how many episodes they are of."""

    pictures: list[str]
    classes: list[str]
    table: Array


def picture_sums(seeds: Sequence[Sequence[EpisodeCounts]]) -> PictureSums:
    """What was counted for each seed, of which there is at least one with an episode, summed by picture and class."""
    pictures = sorted({row.picture for rows in seeds for row in rows})
    classes = sorted({row.category for rows in seeds for row in rows})
    row_of, column_of = ({name: place for place, name in enumerate(names)} for names in (pictures, classes))
    table = np.zeros((len(pictures), len(seeds), len(classes), _EPISODES + 1))
    for seed, rows in enumerate(seeds):
        at = [row_of[row.picture] for row in rows], seed, [column_of[row.category] for row in rows]
        np.add.at(table, at, np.array([(*row.counts, 1) for row in rows], np.float64))
    return PictureSums(pictures, classes, table)


def scores_of(sums: Array) -> Array:
    """mIoU and FB-IoU (..., 2), the mean over seeds, of sums over pictures (..., K, C, 5); classes and seeds without an episode do
    not count.
    """
    there, both = sums[..., _EPISODES] > 0, sums.sum(axis=-2)
    fb = (_divided(both[..., 0], both[..., 1]) + _divided(both[..., 2], both[..., 3])) / 2
    return np.stack([_mean(of_seeds, there.any(axis=-1)) for of_seeds in (_mean(class_ious(sums), there), fb)], axis=-1)


def class_ious(sums: Array) -> Array:
    """Summed intersection over summed union, (..., 5) -> (...)."""
    return _divided(sums[..., 0], sums[..., 1])


def resampled_scores(table: Array, resamples: int, seed: int | Sequence[int]) -> Array | None:
    """`scores_of` in bootstrap resamples of pictures, each with all its episodes: (resamples, 2), or None where there is one picture."""
    if len(table) < 2:
        return None
    return np.concatenate([scores_of(np.tensordot(times, table, 1)) for times in times_drawn(len(table), resamples, seed)])


def _mean(values: Array, there: NDArray[np.bool_] | np.bool_) -> Array:
    """Over the last axis, of those that are there; 0 where none is."""
    mean: Array = np.where(there, values, 0).sum(axis=-1) / np.maximum(there.sum(axis=-1), 1)
    return mean


def _divided(both: Array, either: Array) -> Array:
    """Intersection over union; 0 where both are, as the field's codes have it."""
    ious: Array = np.divide(both, either, out=np.zeros(np.shape(both)), where=either > 0)
    return ious
