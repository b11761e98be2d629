"""How sure a mean or a difference of means is: intervals over clips, sign flips of clips, parts of the variance.

The tubes of one clip share its frames, so they do not vary independently: clips are resampled or flipped, never single tubes.

What compares many methods at once (`sign_flip_p`, `resampled_means`) takes the sum of the tubes' scores in each clip, an array of
a row a method (or pair) and a column a clip. Sums are rounded to 1e-9 first: whole multiples of that add up without rounding, so
that ties are ties, and nothing depends on the order of additions. One matrix of flips or counts serves all rows, which SciPy's
own functions cannot do: they take 0.3 s a pair at 300 clips (the tests hold both to the same numbers).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from inspect import signature
from math import fsum
from statistics import fmean, stdev

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 9999

UNIT = 1e-9  # the step to which sums of scores are rounded; 2^53 of it are more than any release's tubes
_CELLS = 1 << 20  # clips x resamples held at once: a few arrays of 8 MB, however large the release


def cluster_interval(
    values_by_cluster: Mapping[str, Sequence[float]], *, level: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float] | None:
    """The bootstrap interval of the mean over all values when whole clusters are drawn again with replacement.

    Each resample draws as many clusters as there are; its statistic is the sum of their values over their number, so
    that a clip of two tubes weighs twice a clip of one, as in the mean itself. Percentile method. The same values give
    the same interval, whatever the order of the mapping.

    Args:
        values_by_cluster: clip -> the values of its tubes; clips without a value are left out.
        level: how often such intervals hold the mean in the long run, in (0, 1).
        resamples: bootstrap draws.
        seed: of the generator.

    Returns:
        Low and high, or None with fewer than two clusters: one clip says nothing of how clips differ.
    """
    clusters = [values_by_cluster[name] for name in sorted(values_by_cluster) if len(values_by_cluster[name])]
    if len(clusters) < 2:
        return None
    from scipy.stats import bootstrap

    # SciPy 1.15 renamed the generator's keyword.
    generator = {"rng" if "rng" in signature(bootstrap).parameters else "random_state": np.random.default_rng(seed)}
    found = bootstrap(
        (np.array([fsum(values) for values in clusters]), np.array([float(len(values)) for values in clusters])),
        _mean_of_clusters,
        n_resamples=resamples,
        batch=max(1, _CELLS // len(clusters)),
        vectorized=True,
        paired=True,
        confidence_level=level,
        method="percentile",
        **generator,
    ).confidence_interval
    # A mean lies between the extremes; rounding in sum / count must not put it an ulp outside.
    least, most = min(map(min, clusters)), max(map(max, clusters))
    return float(np.clip(found.low, least, most)), float(np.clip(found.high, least, most))


def _mean_of_clusters(sums: NDArray[np.float64], counts: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    mean: NDArray[np.float64] = sums.sum(axis=axis) / counts.sum(axis=axis)
    return mean


def spread(values_by_tube_draws: Iterable[Sequence[float]]) -> float:
    """How far a tube's score moves with its support: the standard deviation over draws, averaged over tubes.

    Args:
        values_by_tube_draws: for each tube, its score in each support draw. A single draw counts as no spread (0).
    """
    deviations = [stdev(values) if len(values) > 1 else 0.0 for values in values_by_tube_draws]
    return fsum(deviations) / len(deviations) if deviations else 0.0


def sign_flip_p(sums: NDArray[np.float64], *, resamples: int = RESAMPLES, seed: int = 0) -> NDArray[np.float64]:
    """The two-sided p of each row's total by flips of whole clips: a paired permutation test, the pairs clustered by clip.

    If two methods were alike, their names could be exchanged in any clip: the clip's difference would change its sign. p is
    the part of all 2^C choices of signs for which the total is at least as far from 0 as the one found. Where there are more
    choices than `resamples` + 1, that many are drawn, and the one found counts as one more (Phipson and Smyth, 2010).

    Args:
        sums: (P, C) differences, summed over the tubes of a clip, for each pair of methods.
        resamples: how many choices of signs to draw where they cannot all be tried.
        seed: of the generator.

    Returns:
        (P,) each in [`smallest_p`, 1]; the same choices of signs serve all pairs.
    """
    units = np.rint(sums / UNIT)
    return flip_p(lambda signs: signs @ units.T, units.shape[1], resamples=resamples, seed=seed)


def flip_p(
    statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]], clips: int, *, resamples: int = RESAMPLES, seed: int = 0
) -> NDArray[np.float64]:
    """The same of any statistic that changes its sign where all the clips' signs do; it need not be a sum over clips.

    Args:
        statistic: of signs (N, C), each 1 or -1, the values (N, ...), rounded, so that ties are ties.
        clips: C.
        resamples: as above.
        seed: as above.
    """
    found = np.abs(statistic(np.ones((1, clips)))[0])
    exact = flips_are_exact(clips, resamples)
    extreme = np.zeros(found.shape, np.int64)
    for signs in _signs(clips, None if exact else resamples, seed):
        extreme += (np.abs(statistic(signs)) >= found).sum(axis=0)
    p: NDArray[np.float64] = extreme / 2**clips if exact else (extreme + 1) / (resamples + 1)
    return p


def flips_are_exact(clips: int, resamples: int = RESAMPLES) -> bool:
    """Whether all choices of signs are tried."""
    return clips < (resamples + 1).bit_length()


def smallest_p(clips: int, resamples: int = RESAMPLES) -> float:
    """The least p that flips of so many clips can give, however large the difference: of 2^C choices two are as extreme."""
    return min(1.0, 2 / 2**clips) if flips_are_exact(clips, resamples) else 1 / (resamples + 1)


def _signs(clips: int, resamples: int | None, seed: int) -> Iterator[NDArray[np.float64]]:
    """Choices of +1 and -1, (N, C) at a time: all there are, or so many drawn."""
    rng, total, step = np.random.default_rng(seed), resamples or 2**clips, max(1, _CELLS // max(1, clips))
    for start in range(0, total, step):
        rows = np.arange(start, min(start + step, total))
        bits = (rows[:, None] >> np.arange(clips)) & 1 if resamples is None else rng.integers(0, 2, (len(rows), clips), np.int8)
        yield 1.0 - 2.0 * bits.astype(np.float64)


def resampled_means(
    sums: NDArray[np.float64], counts: NDArray[np.int64], *, resamples: int = RESAMPLES, seed: int = 0
) -> NDArray[np.float64]:
    """The mean of each row in bootstrap resamples of clips: the same clips for all rows, those of `cluster_interval`.

    Args:
        sums: (M, C) scores, or differences of them, summed over the tubes of a clip.
        counts: (C,) tubes of each clip, at least one.
        resamples: bootstrap draws.
        seed: of the generator.

    Returns:
        (M, resamples); a clip of two tubes weighs twice a clip of one.
    """
    units = np.rint(sums / UNIT)
    parts = [UNIT * (units @ times.T) / (times @ counts) for times in times_drawn(len(counts), resamples, seed)]
    return np.concatenate(parts, axis=1)


def times_drawn(clips: int, resamples: int, seed: int | Sequence[int]) -> Iterator[NDArray[np.float64]]:
    """How often each of C clips is drawn when C are, with replacement: (N, C) at a time, `resamples` rows in all."""
    rng, step = np.random.default_rng(seed), max(1, _CELLS // clips)
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        drawn = rng.integers(0, clips, (rows, clips)) + clips * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * clips).reshape(rows, clips).astype(np.float64)


def holm(p: Sequence[float]) -> list[float]:
    """p of several tests, corrected so that among all of them one false alarm is as rare as in a single one (Holm, 1979)."""
    order, corrected, least = sorted(range(len(p)), key=lambda test: p[test]), [1.0] * len(p), 0.0
    for place, test in enumerate(order):
        least = max(least, min(1.0, (len(p) - place) * p[test]))
        corrected[test] = least
    return corrected


def variance_parts(draws_by_clip: Mapping[str, Sequence[Sequence[float]]]) -> tuple[float | None, float | None]:
    """How much scores vary between clips, and between the support draws of one tube: two variances, method of moments.

    Draws: the variance of a tube's scores over its draws (n - 1 below), averaged over the tubes with two draws or more.
    Clips: the variance over clips (n - 1 below) of the mean of a clip's tubes, less what draws alone would give it, which is,
    averaged over clips, the variance of a clip's mean that follows from its tubes' own variances over draws; at least 0.

    Args:
        draws_by_clip: clip -> for each of its tubes, the score in each draw.

    Returns:
        Clips, draws; None where there are fewer than two clips, or no tube with two draws (then nothing is taken off clips).
    """
    tubes = [tube for clip in draws_by_clip.values() for tube in clip]
    within = [variance(tube) for tube in tubes if len(tube) > 1]
    draws = fmean(within) if within else None
    if len(draws_by_clip) < 2:
        return None, draws
    means = [fmean(fmean(tube) for tube in clip) for clip in draws_by_clip.values()]
    noise = fmean(sum(map(variance_of_mean, clip)) / len(clip) ** 2 for clip in draws_by_clip.values())
    return max(0.0, variance(means) - noise), draws


def variance(values: Sequence[float]) -> float:
    """The unbiased variance of two values or more."""
    mean = fmean(values)
    return fsum((value - mean) ** 2 for value in values) / (len(values) - 1)  # statistics.variance is 30 times as slow


def variance_of_mean(draws: Sequence[float]) -> float:
    """The variance of a tube's mean over its draws, as they differ; 0 of a single draw, which shows none."""
    return variance(draws) / len(draws) if len(draws) > 1 else 0.0
