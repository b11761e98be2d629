"""Prompts as people give them, and the losses of what comes out."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icvos.training.prompts import BACKGROUND, BOTTOM_RIGHT, FOREGROUND, KINDS, TOP_LEFT, correction, draw_prompt

pytest.importorskip("torch", reason="torch is not installed")

import torch

from icvos.training.losses import dice_loss, frame_loss, mask_iou


def some_mask(top: int, left: int, height: int, width: int) -> np.ndarray:
    mask = np.zeros((50, 70), bool)
    mask[top : top + height, left : left + width] = True
    return mask


masks = st.builds(some_mask, st.integers(0, 40), st.integers(0, 60), st.integers(1, 50), st.integers(1, 70))


@settings(max_examples=60, deadline=None)
@given(mask=masks, seed=st.integers(0, 1000), kind=st.sampled_from(KINDS))
def test_clicks_lie_where_their_labels_say(mask: np.ndarray, seed: int, kind: str) -> None:
    points, labels = draw_prompt(mask, kind, np.random.default_rng(seed))
    assert points.shape == (len(labels), 2) and points.dtype == np.float32
    assert len(labels) == {"box": 2, "click": 1, "clicks": 3, "scribble": 9}[kind]
    if kind == "box":
        assert labels.tolist() == [TOP_LEFT, BOTTOM_RIGHT]
        ys, xs = np.nonzero(mask)
        true = np.array([[xs.min(), ys.min()], [xs.max() + 1, ys.max() + 1]])
        assert (np.abs(points - true) <= 0.1 * (true[1] - true[0]) + 1e-4).all()
        return
    for (x, y), label in zip(points.astype(int), labels, strict=True):
        assert mask[y, x] == (label == FOREGROUND) or mask.all()


@settings(max_examples=60, deadline=None)
@given(truth=masks, found=masks, seed=st.integers(0, 1000))
def test_a_correction_lies_in_the_larger_error(truth: np.ndarray, found: np.ndarray, seed: int) -> None:
    (point,), (label,) = correction(truth, found, np.random.default_rng(seed))
    x, y = point.astype(int)
    missed, extra = truth & ~found, found & ~truth
    if not missed.any() and not extra.any():
        assert label == FOREGROUND and truth[y, x]
    else:
        assert (missed if missed.sum() >= extra.sum() else extra)[y, x]
        assert label == (FOREGROUND if missed.sum() >= extra.sum() else BACKGROUND)


def answer(*logits: float) -> torch.Tensor:
    """(1, M, 4, 4) candidates, each of one value everywhere."""
    return torch.tensor(logits).view(1, -1, 1, 1).expand(1, -1, 4, 4).contiguous()


def test_the_loss_of_one_candidate_is_five_times_entropy_and_dice() -> None:
    truth = torch.zeros(1, 4, 4, dtype=torch.bool)
    truth[0, :2] = True
    loss = frame_loss(answer(0.0), torch.tensor([[0.5]]), torch.tensor([[2.0]]), truth)
    dice = 1 - (2 * 8 * 0.5 + 1) / (16 * 0.5 + 8 + 1)
    assert loss.mask.item() == pytest.approx(5 * math.log(2) + dice)
    assert loss.quality.item() == pytest.approx(0.5)  # nothing is above 0: the IoU is 0, and a half was claimed
    assert loss.presence.item() == pytest.approx(math.log(1 + math.exp(-2)))


def test_of_three_candidates_only_the_best_is_pulled() -> None:
    truth = torch.ones(1, 4, 4, dtype=torch.bool)
    logits = answer(0.0, -1.0, 1.0, 0.5).requires_grad_()
    frame_loss(logits, torch.full((1, 4), 0.5), torch.zeros(1, 1), truth).mask.backward()
    pulled = logits.grad.abs().sum((0, 2, 3)) > 0
    assert pulled.tolist() == [True, False, True, False]


def test_where_the_object_is_absent_only_its_score_counts() -> None:
    truth = torch.zeros(2, 4, 4, dtype=torch.bool)
    truth[1] = True
    logits = torch.cat([answer(9.0), answer(0.0)]).requires_grad_()
    loss = frame_loss(logits, torch.tensor([[0.9], [0.0]]), torch.tensor([[3.0], [3.0]]), truth)
    (loss.mask + loss.quality).backward()
    assert not logits.grad[0].any() and logits.grad[1].any()
    assert loss.presence.item() == pytest.approx((3 + 2 * math.log(1 + math.exp(-3))) / 2)


def test_the_mark_of_no_object_gives_a_finite_loss_and_truth_is_reduced() -> None:
    truth = torch.ones(1, 16, 16, dtype=torch.bool)
    loss = frame_loss(answer(-1024.0), torch.zeros(1, 1), torch.zeros(1, 1), truth)
    assert torch.isfinite(loss.mask) and loss.quality.item() == 0


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**16 - 1), st.integers(0, 2**16 - 1))
def test_iou_and_dice_of_bits(first: int, second: int) -> None:
    one, two = (torch.tensor([bits >> place & 1 for place in range(16)]).view(1, 1, 4, 4) for bits in (first, second))
    either = (first | second).bit_count()
    assert mask_iou(one.bool(), two.bool()).item() == pytest.approx((first & second).bit_count() / either if either else 1)
    sharp = torch.where(one.bool(), 100.0, -100.0)
    expected = 1 - (2 * (first & second).bit_count() + 1) / (first.bit_count() + second.bit_count() + 1)
    assert dice_loss(sharp, two.float()).item() == pytest.approx(expected, abs=1e-6)
