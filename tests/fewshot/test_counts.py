"""mIoU and FB-IoU against a loop written from their definition."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icvos.fewshot.protocols import PROTOCOLS
from icvos.fewshot.scoring import Counts, EpisodeCounts, count_pixels, summarise_counts

NATIVE = PROTOCOLS["native"]


def slow(episodes: list[tuple[str, np.ndarray, np.ndarray, np.ndarray]]) -> tuple[float, float]:
    """Pixel by pixel: (class, prediction, truth, void) of each episode."""
    inter: dict[tuple[str, int], int] = defaultdict(int)
    union: dict[tuple[str, int], int] = defaultdict(int)
    for name, predicted, truth, void in episodes:
        for row in range(truth.shape[0]):
            for column in range(truth.shape[1]):
                if void[row, column]:
                    continue
                for side in (0, 1):
                    said, true = predicted[row, column] == side, truth[row, column] == side
                    inter[name, side] += said and true
                    union[name, side] += said or true
    names = sorted({name for name, *_ in episodes})
    of_classes = [inter[name, 1] / max(union[name, 1], 1) for name in names]
    both = [sum(inter[name, side] for name in names) / max(sum(union[name, side] for name in names), 1) for side in (0, 1)]
    return sum(of_classes) / len(names), sum(both) / 2


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 2**32 - 1), st.booleans()), min_size=1, max_size=6))
def test_scores_are_those_of_the_definition(drawn: list[tuple[str, int, bool]]) -> None:
    episodes, rows = [], []
    for number, (name, seed, voided) in enumerate(drawn):
        rng = np.random.default_rng(seed)
        size = rng.integers(1, 6, 2)
        predicted, truth = rng.random(size) < rng.random(), rng.random(size) < rng.random()
        void = rng.random(size) < 0.4 if voided else np.zeros(size, np.bool_)
        truth &= ~void
        episodes.append((name, predicted, truth, void))
        counts = count_pixels(predicted, truth, void if voided else None, NATIVE)
        rows.append(EpisodeCounts(f"e{number}", name, f"p{number % 2}", counts))
    found = summarise_counts(rows, resamples=20)
    assert (found.miou, found.fb_iou) == pytest.approx(slow(episodes), abs=1e-12)
    assert summarise_counts(rows[::-1], resamples=20) == found
    if found.miou_interval:
        assert 0 <= found.miou_interval[0] <= found.miou_interval[1] <= 1


def test_what_is_void_counts_nowhere() -> None:
    truth, void = np.zeros((2, 4), np.bool_), np.zeros((2, 4), np.bool_)
    truth[0, :2], void[0, 2:] = True, True
    assert count_pixels(truth | void, truth, void, NATIVE) == Counts(2, 2, 4, 4)
    assert count_pixels(truth | void, truth, None, NATIVE) == Counts(2, 4, 4, 6)


def test_a_protocol_squashes_all_alike() -> None:
    truth = np.zeros((100, 50), np.bool_)
    truth[:50] = True
    assert count_pixels(truth, truth, truth, PROTOCOLS["hsnet"]) == Counts(0, 0, 80_000, 80_000)
    assert count_pixels(truth, truth, None, PROTOCOLS["hsnet"]) == Counts(80_000, 80_000, 80_000, 80_000)


def test_an_interval_covers_what_it_says() -> None:
    """Of runs over 60 pictures whose IoU is 1 or 0 with chance 1/2, about 95 % of intervals hold 1/2."""
    rng, held = np.random.default_rng(0), 0
    for _ in range(100):
        right = rng.random(60) < 0.5
        rows = [EpisodeCounts(f"{n:02d}", "a", f"p{n}", Counts(10 * bool(one), 10, 90, 100)) for n, one in enumerate(right)]
        low, high = summarise_counts(rows, resamples=200).miou_interval or (0, 0)
        held += low <= 0.5 <= high
    assert 88 <= held <= 99


def test_one_picture_says_nothing_of_others() -> None:
    rows = [EpisodeCounts(f"e{n}", "a", "p", Counts(1, 2, 3, 4)) for n in range(3)]
    assert summarise_counts(rows).miou_interval is None
