"""Ranks that say how sure they are: intervals by a bootstrap over clips, and groups of methods that nobody can tell apart.

Nothing here needs SciPy, so that a board is there at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, fsum

import numpy as np
from numpy.typing import NDArray

from icvos.results import Result, TubeScores, score_field
from icvos.stats import RESAMPLES, holm, resampled_means, sign_flip_p

PRINTED = 4  # decimals of a score in [0, 1] that show in percent: scores that print alike share a rank
ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class ClipSums:
    """What is resampled and flipped: the sum of the tubes' scores of each result in each clip, and the tubes of each clip."""

    sums: NDArray[np.float64]  # (M, C)
    counts: NDArray[np.int64]  # (C,)


def same_tubes(results: Sequence[Result]) -> bool:
    """Whether all results are of the same tubes, at least one, in the same clips and draws; so they are where there is no result."""
    shapes = [sorted((tube.id, tube.source, tube.clip, tube.category, *sorted(tube.draws)) for tube in result.tubes) for result in results]
    return all(shape and shape == shapes[0] for shape in shapes)


def tubes_by_clip(result: Result) -> dict[str, list[TubeScores]]:
    """``source/clip`` -> its tubes, both sorted."""
    found: dict[str, list[TubeScores]] = {}
    for tube in sorted(result.tubes, key=lambda tube: (tube.source, tube.clip, tube.id)):
        found.setdefault(f"{tube.source}/{tube.clip}", []).append(tube)
    return found


def clip_sums(results: Sequence[Result], by: str) -> ClipSums:
    """The score called `by`, summed over the tubes of each clip, clips sorted; of results that are of the same tubes."""
    clips = [tubes_by_clip(result) for result in results]
    sums = [[fsum(getattr(tube.mean, score_field(by)) for tube in tubes) for tubes in of_one.values()] for of_one in clips]
    return ClipSums(np.array(sums, np.float64), np.array([len(tubes) for tubes in clips[0].values()], np.int64))


def neighbour_p(scores: ClipSums, *, resamples: int = RESAMPLES, seed: int = 0) -> list[float]:
    """p of each result and the one below it, by flips of clips, before any correction."""
    return [float(p) for p in sign_flip_p(scores.sums[:-1] - scores.sums[1:], resamples=resamples, seed=seed)]


def groups_within_noise(corrected: Sequence[float]) -> tuple[int, ...]:
    """From the corrected p of neighbours to the group of each result: 1 for the best, one more where p is below 0.05."""
    return tuple(int(group) for group in 1 + np.cumsum([0, *(p < ALPHA for p in corrected)]))


def noise_groups(rows: Sequence[Result], by: str = "J&F") -> tuple[int, ...] | None:
    """The group "within noise" of each of the results, given from the best down.

    A result belongs to the group of the one above it unless a paired test tells the two apart: flips of whole clips
    (`icvos.stats.sign_flip_p`), p below 0.05 after Holm's correction over all pairs of neighbours. Members of a group that are not
    neighbours may well differ; to be in other groups is what counts.

    Returns:
        Groups from 1 on, or None where there are fewer than two results, or they are not of the same tubes.
    """
    if len(rows) < 2 or not same_tubes(rows):
        return None
    return groups_within_noise(holm(neighbour_p(clip_sums(rows, by))))


def rank_intervals(rows: Sequence[Result], by: str = "J&F", *, lower_is_better: bool = False) -> tuple[tuple[int, int], ...] | None:
    """The 95 % interval of each result's rank, by a bootstrap over clips in which all are ranked anew each time.

    Returns:
        Best and worst rank of each, or None where there are fewer than two results or clips, or they are not of the same tubes.
    """
    if len(rows) < 2 or not same_tubes(rows):
        return None
    return intervals_of_ranks(clip_sums(rows, by), lower_is_better=lower_is_better)


def intervals_of_ranks(
    scores: ClipSums, *, lower_is_better: bool = False, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[tuple[int, int], ...] | None:
    """The same of sums over clips; the ends are ranks that occurred, the outer ones of the middle 95 %."""
    if len(scores.counts) < 2:
        return None
    means = resampled_means(scores.sums, scores.counts, resamples=resamples, seed=seed)
    return ranks_among(-means if lower_is_better else means)


def ranks_among(resampled: NDArray[np.float64]) -> tuple[tuple[int, int], ...]:
    """The same of scores in each resample, (M, resamples), the higher the better."""
    means, resamples = np.round(resampled, PRINTED), resampled.shape[1]
    ranks = np.sort([1 + (means > row).sum(axis=0) for row in means], axis=1)
    best, worst = ranks[:, floor(0.025 * (resamples - 1))], ranks[:, ceil(0.975 * (resamples - 1))]
    return tuple((int(low), int(high)) for low, high in zip(best, worst, strict=True))
