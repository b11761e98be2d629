"""Two results tube by tube: the difference with its interval and p, wins and losses, gaps, and what makes them vary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum, sqrt

import numpy as np
from numpy.typing import NDArray

from icvos.ranks import ALPHA, PRINTED, clip_sums, neighbour_p, tubes_by_clip
from icvos.render.text import many
from icvos.results import Result, score_field
from icvos.stats import holm, resampled_means, smallest_p, variance_of_mean, variance_parts

BY = ("J&F", "J", "F")


@dataclass(frozen=True, slots=True)
class Difference:
    """The mean over tubes of the first result less that of the second, in one score.

    `interval` is the 95 % percentile interval by a bootstrap over clips, None with one clip. `p` is that of the sign flips of
    clips, `corrected` the same after Holm's correction over all pairs compared (equal where there is one pair).
    """

    first: float
    second: float
    interval: tuple[float, float] | None
    p: float
    corrected: float

    @property
    def value(self) -> float:
        """First less second."""
        return self.first - self.second


@dataclass(frozen=True, slots=True)
class Variance:
    """What makes scores vary: two components as standard deviations, and what each adds to the mean's standard error.

    `clips` is the deviation between clips (of the mean of a clip's tubes, had they endless draws), `draws` that between the support
    draws of one tube; see `icvos.stats.variance_parts`. None where there are too few of either.
    """

    clips: float | None
    draws: float | None
    error_of_clips: float | None
    error_of_draws: float | None


@dataclass(frozen=True, slots=True)
class TubeGap:
    """One tube in both results of a pair, in the score compared by."""

    tube: str
    first: float
    second: float

    @property
    def value(self) -> float:
        """First less second."""
        return self.first - self.second

    @property
    def outcome(self) -> int:
        """1 where the first wins, -1 where the second does, 0 where both print the same percent."""
        first, second = round(self.first, PRINTED), round(self.second, PRINTED)
        return (first > second) - (first < second)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two results side by side."""

    first: str
    second: str
    differences: dict[str, Difference]  # J&F, J, F
    gaps: tuple[TubeGap, ...]  # every tube, the largest gain of the first at the front
    variance: Variance  # of the difference, draw by draw: both were given the same supports

    @property
    def wins(self) -> int:
        """Tubes on which the first scores more."""
        return sum(gap.outcome > 0 for gap in self.gaps)

    @property
    def ties(self) -> int:
        """Tubes on which both print the same percent."""
        return sum(gap.outcome == 0 for gap in self.gaps)

    @property
    def losses(self) -> int:
        """Tubes on which the second scores more."""
        return sum(gap.outcome < 0 for gap in self.gaps)


def mean_score(result: Result, by: str) -> float:
    """The mean over tubes of J&F, J or F, in [0, 1]."""
    return fsum(getattr(tube.mean, score_field(by)) for tube in result.tubes) / len(result.tubes)


def neighbour_differences(results: Sequence[Result], resamples: int, seed: int) -> dict[str, list[Difference]]:
    """For J&F, J and F, the difference of each result and the next, p corrected for how many there are."""
    found = {}
    for by in BY:
        scores = clip_sums(results, by)
        gaps = scores.sums[:-1] - scores.sums[1:]
        p = neighbour_p(scores, resamples=resamples, seed=seed)
        means = [mean_score(result, by) for result in results]
        intervals = _intervals(gaps, scores.counts, resamples, seed)
        found[by] = [Difference(*row) for row in zip(means[:-1], means[1:], intervals, p, holm(p), strict=True)]
    return found


def _intervals(gaps: NDArray[np.float64], counts: NDArray[np.int64], resamples: int, seed: int) -> list[tuple[float, float] | None]:
    if len(counts) < 2:
        return [None] * len(gaps)
    ends = np.quantile(resampled_means(gaps, counts, resamples=resamples, seed=seed), (0.025, 0.975), axis=1)
    return [(float(low), float(high)) for low, high in ends.T]


def pair_of(place: int, results: Sequence[Result], names: Sequence[str], by: str, differences: dict[str, list[Difference]]) -> Pair:
    """The result at `place` and the next, with their differences out of `neighbour_differences`."""
    first, second = results[place : place + 2]
    other = {tube.id: getattr(tube.mean, score_field(by)) for tube in second.tubes}
    gaps = [TubeGap(tube.id, getattr(tube.mean, score_field(by)), other[tube.id]) for tube in first.tubes]
    return Pair(
        names[place],
        names[place + 1],
        {score: rows[place] for score, rows in differences.items()},
        tuple(sorted(gaps, key=lambda gap: (-gap.value, gap.tube))),
        variance_of([first, second], by),
    )


def too_few(units: int, word: str, pairs: int, resamples: int) -> tuple[str, ...]:
    """What to say where so many clips, or pictures, can prove nothing, whatever the difference."""
    least = smallest_p(units, resamples)
    times = f" ({pairs} times that with Holm's correction, {min(1.0, pairs * least):.3g})" if pairs > 1 else ""
    few = f"with {many(units, word)} the smallest possible p is {least:.4g}{times}"
    return (f"{few}: no difference, however large, can be told from noise at {ALPHA}",) if pairs * least >= ALPHA else ()


def variance_of(results: Sequence[Result], by: str) -> Variance:
    """Of one result, or of the first less the second, tube by tube and draw by draw."""
    field, clips = score_field(by), {}
    by_clip = [tubes_by_clip(result) for result in results]
    for clip in by_clip[0]:
        together = zip(*(tubes[clip] for tubes in by_clip), strict=True)
        clips[clip] = [
            [_signed([getattr(tube.draws[draw], field) for tube in tubes]) for draw in sorted(tubes[0].draws)] for tubes in together
        ]
    between, within = variance_parts(clips)
    tubes = [tube for clip in clips.values() for tube in clip]
    weights = sqrt(sum(len(clip) ** 2 for clip in clips.values())) / len(tubes)
    return Variance(
        clips=None if between is None else sqrt(between),
        draws=None if within is None else sqrt(within),
        error_of_clips=None if between is None else weights * sqrt(between),
        error_of_draws=None if within is None else sqrt(fsum(map(variance_of_mean, tubes))) / len(tubes),
    )


def _signed(values: Sequence[float]) -> float:
    return values[0] - sum(values[1:])
