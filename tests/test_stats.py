"""Intervals over clips against a bootstrap written by hand, their coverage by simulation, and the spread over draws."""

from __future__ import annotations

import numpy as np
import pytest

from icvos.stats import cluster_interval, spread


def clips(count: int, rng: np.random.Generator, mean: float = 0.6, between: float = 0.15) -> dict[str, list[float]]:
    """Clips of one to three tubes that share most of what makes them easy or hard."""
    made = {}
    for number in range(count):
        ease = rng.normal(mean, between)
        made[f"clip{number}"] = [ease + rng.normal(0, 0.03) for _ in range(rng.integers(1, 4))]
    return made


def by_hand(values: dict[str, list[float]], resamples: int, seed: int) -> tuple[float, float]:
    rng, names, means = np.random.default_rng(seed), list(values), []
    for _ in range(resamples):
        pooled: list[float] = []
        for chosen in rng.integers(0, len(names), len(names)):
            pooled += values[names[chosen]]
        means.append(sum(pooled) / len(pooled))
    return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


def test_equals_the_bootstrap_written_by_hand() -> None:
    values = clips(25, np.random.default_rng(3))
    found = cluster_interval(values)
    assert found == pytest.approx(by_hand(values, 6000, seed=11), abs=0.004)  # ends have a Monte-Carlo error near 0.0015


def test_holds_the_true_mean_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    hits = 0
    for _ in range(300):
        found = cluster_interval(clips(40, rng), resamples=499)
        assert found is not None
        hits += found[0] <= 0.6 <= found[1]
    assert 0.90 <= hits / 300 <= 0.98  # 0.95, less the percentile method's known shortfall, +- two standard errors


def test_a_single_level_is_narrower_than_a_wider_one() -> None:
    values = clips(20, np.random.default_rng(0))
    narrow, wide = cluster_interval(values, level=0.5), cluster_interval(values, level=0.99)
    assert narrow is not None and wide is not None
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_tubes_of_one_clip_do_not_pass_for_independent() -> None:
    values = {f"clip{i}": [i / 10] for i in range(10)}
    copied = {name: tubes * 50 for name, tubes in values.items()}
    assert cluster_interval(copied) == pytest.approx(cluster_interval(values))


def test_clips_weigh_by_their_tubes() -> None:
    low, high = cluster_interval({"a": [1.0] * 9, "b": [0.0]}) or (None, None)
    assert (low, high) == (0.0, 1.0)
    three = cluster_interval({"a": [1.0] * 98, "b": [0.0], "c": [0.0]}, level=0.3)
    assert three is not None and three[0] > 0.9  # two draws of `a` in three would give 2/3 if clips weighed alike


def test_deterministic_and_blind_to_order() -> None:
    values = clips(30, np.random.default_rng(1))
    backwards = {name: tubes[::-1] for name, tubes in reversed(values.items())}
    assert cluster_interval(values) == cluster_interval(values) == cluster_interval(backwards)
    assert cluster_interval(values) != cluster_interval(values, seed=1)


@pytest.mark.parametrize("values", [{}, {"a": [0.5]}, {"a": [0.1, 0.9]}, {"a": [0.5], "b": []}])
def test_nothing_is_said_of_fewer_than_two_clips(values: dict[str, list[float]]) -> None:
    assert cluster_interval(values) is None


@pytest.mark.parametrize("value", [0.0, 0.1, 0.7, 1.0])
def test_equal_values_give_exactly_that_value(value: float) -> None:
    assert cluster_interval({f"clip{i}": [value] * (1 + i % 3) for i in range(7)}) == (value, value)


def test_many_clips_do_not_need_much_memory() -> None:
    import tracemalloc

    tracemalloc.start()
    found = cluster_interval({f"clip{i}": [(i * 37 % 101) / 100] for i in range(20_000)}, resamples=300)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found is not None and found[0] < 0.5 < found[1]
    assert peak < 100e6  # all 300 resamples at once would take 144 MB


def test_spread_is_the_mean_over_tubes_of_the_deviation_over_draws() -> None:
    assert spread([[0.1, 0.3], [0.5, 0.5]]) == pytest.approx(np.std([0.1, 0.3], ddof=1) / 2)
    draws = np.random.default_rng(0).random((6, 5))
    assert spread(draws.tolist()) == pytest.approx(draws.std(axis=1, ddof=1).mean())


def test_spread_of_single_draws_and_of_nothing() -> None:
    assert spread([[0.4], [0.9]]) == 0.0
    assert spread([[0.2, 0.2, 0.2]]) == 0.0
    assert spread([]) == 0.0
