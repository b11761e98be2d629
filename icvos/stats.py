"""How sure a mean is: intervals over clips, and the spread over support draws.

The tubes of one clip share its frames, so they do not vary independently: clips are resampled, never single tubes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from inspect import signature
from math import fsum
from statistics import stdev

import numpy as np
from numpy.typing import NDArray

_CELLS = 1 << 20  # clips x resamples held at once: a few arrays of 8 MB, however large the release


def cluster_interval(
    values_by_cluster: Mapping[str, Sequence[float]], *, level: float = 0.95, resamples: int = 9999, seed: int = 0
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
