"""Holes in masks, against scipy's own labelling of components."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy import ndimage

pytest.importorskip("torch", reason="torch is not installed")

import torch

from icvos.propagate.holes import FILLED, fill_holes

VALUES = st.sampled_from([-1024.0, -0.25, 0.0, 0.05, 0.25, 9.0])
LOGITS = hnp.arrays(np.float32, st.tuples(st.integers(1, 3), st.just(1), st.integers(1, 12), st.integers(1, 12)), elements=VALUES)


def components(logits: NDArray[np.float32]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """The background's 8-connected components of one map, from 1, and how many pixels each has."""
    labels, _ = ndimage.label(logits <= 0, structure=np.ones((3, 3)))
    return labels, np.bincount(labels.ravel())


def by_scipy(logits: NDArray[np.float32], largest: int) -> NDArray[np.float32]:
    filled = logits.copy()
    for mask in filled[:, 0]:
        labels, areas = components(mask)
        for number, area in enumerate(areas):
            if number > 0 and area <= largest:
                mask[labels == number] = FILLED
    return filled


@settings(max_examples=200, deadline=None)
@given(LOGITS, st.integers(0, 30))
def test_background_that_is_small_enough_becomes_object(logits: NDArray[np.float32], largest: int) -> None:
    before = logits.copy()
    found = fill_holes(torch.from_numpy(logits), largest).numpy()
    assert found.dtype == np.float32
    assert np.array_equal(found, by_scipy(logits, largest))
    assert np.array_equal(logits, before)  # what was handed in stays as it was


@settings(max_examples=60, deadline=None)
@given(LOGITS, st.integers(1, 30))
def test_the_object_keeps_its_logits(logits: NDArray[np.float32], largest: int) -> None:
    found = fill_holes(torch.from_numpy(logits), largest).numpy()
    assert np.array_equal(found[logits > 0], logits[logits > 0])
    assert ((found == logits) | (found == np.float32(FILLED))).all()


@settings(max_examples=60, deadline=None)
@given(LOGITS)
def test_the_bound_is_inclusive(logits: NDArray[np.float32]) -> None:
    _, areas = components(logits[0, 0])
    for area in {int(area) for area in areas[1:]}:
        just_fits, too_large = (fill_holes(torch.from_numpy(logits), largest).numpy() for largest in (area, area - 1))
        holes = (logits[0, 0] <= 0).sum() - areas[1:][areas[1:] <= area].sum()
        assert (just_fits[0, 0] <= 0).sum() == holes
        assert (too_large[0, 0] <= 0).sum() == holes + areas[1:][areas[1:] == area].sum()


@given(LOGITS)
def test_nothing_is_filled_where_nothing_may_be(logits: NDArray[np.float32]) -> None:
    given_logits = torch.from_numpy(logits)
    assert fill_holes(given_logits, 0) is given_logits


def test_a_mask_without_holes_is_given_back_itself() -> None:
    logits = torch.full((2, 1, 8, 8), 3.0)
    logits[0, 0, :4] = -1
    assert fill_holes(logits, 8) is logits


def test_pixels_that_touch_by_a_corner_are_one_hole() -> None:
    logits = torch.full((1, 1, 6, 6), 3.0)
    logits[0, 0, range(1, 5), range(1, 5)] = -1  # four pixels down the diagonal
    assert fill_holes(logits, 3) is logits
    assert (fill_holes(logits, 4) > 0).all()


def test_half_precision_stays_half() -> None:
    logits = torch.full((1, 1, 6, 6), 3.0, dtype=torch.bfloat16)
    logits[0, 0, 2, 2] = -1
    filled = fill_holes(logits, 1)
    assert filled.dtype == torch.bfloat16 and (filled > 0).all()
