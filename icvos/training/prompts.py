"""Prompts as a person would give them, drawn from a true mask: boxes, clicks, scribbles, and corrections of what came out."""

from __future__ import annotations

from typing import Literal, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from icvos.training.pictures import centre_of
from icvos.types import Mask

Kind: TypeAlias = Literal["box", "click", "clicks", "scribble"]
KINDS: tuple[Kind, ...] = ("box", "click", "clicks", "scribble")
Clicks: TypeAlias = tuple[NDArray[np.float32], NDArray[np.int32]]  # (N, 2) x, y in pixels; (N,) labels of SAM

BACKGROUND, FOREGROUND, TOP_LEFT, BOTTOM_RIGHT = 0, 1, 2, 3  # SAM's labels of points
SCRIBBLE = 6  # points of a scribble; half as many on the background


def draw_prompt(mask: Mask, kind: Kind, rng: np.random.Generator) -> Clicks:
    """Points and labels for an object; how many there are depends on the kind alone.

    Args:
        mask: (H, W) bool, not empty.
        kind: a box (its corners, up to a twentieth off), one click, three clicks (the last on the background near the object),
            or a scribble of six points with three on the background.
        rng: decides where.
    """
    if kind == "box":
        return _box(mask, rng)
    if kind == "click":
        return _points([_inside(mask, rng)], [FOREGROUND])
    if kind == "clicks":
        return _points([_inside(mask, rng), _anywhere(mask, rng), _outside(mask, rng)], [FOREGROUND, FOREGROUND, BACKGROUND])
    stroke = _stroke(mask, rng)
    away = [_outside(mask, rng) for _ in range(SCRIBBLE // 2)]
    return _points(stroke + away, [FOREGROUND] * SCRIBBLE + [BACKGROUND] * (SCRIBBLE // 2))


def correction(truth: Mask, found: Mask, rng: np.random.Generator) -> Clicks:
    """One more click, in the middle of the larger of the two errors: missed object, or background taken for it."""
    missed, extra = truth & ~found, found & ~truth
    if not missed.any() and not extra.any():
        return _points([_anywhere(truth, rng)], [FOREGROUND])
    if missed.sum() >= extra.sum():
        return _points([centre_of(missed)], [FOREGROUND])
    return _points([centre_of(extra)], [BACKGROUND])


def _points(places: list[tuple[float, float]], labels: list[int]) -> Clicks:
    return np.array(places, np.float32), np.array(labels, np.int32)


def _box(mask: Mask, rng: np.random.Generator) -> Clicks:
    ys, xs = np.nonzero(mask)
    left, top, right, bottom = xs.min(), ys.min(), xs.max() + 1, ys.max() + 1
    slip = rng.uniform(-0.05, 0.05, 4) * (right - left, bottom - top, right - left, bottom - top)
    corners = np.clip(np.array([left, top, right, bottom]) + slip, 0, np.tile(mask.shape[::-1], 2))
    return corners.reshape(2, 2).astype(np.float32), np.array([TOP_LEFT, BOTTOM_RIGHT], np.int32)


def _inside(mask: Mask, rng: np.random.Generator) -> tuple[float, float]:
    """Mostly the deepest point, where people click; else anywhere."""
    return centre_of(mask) if rng.random() < 0.5 else _anywhere(mask, rng)


def _anywhere(mask: Mask, rng: np.random.Generator) -> tuple[float, float]:
    ys, xs = np.nonzero(mask)
    chosen = rng.integers(len(ys))
    return float(xs[chosen]), float(ys[chosen])


def _outside(mask: Mask, rng: np.random.Generator) -> tuple[float, float]:
    """A point of the background, near the object if it can be."""
    near = cv2.dilate(mask.astype(np.uint8), np.ones((41, 41), np.uint8)).astype(np.bool_) & ~mask
    return _anywhere(near if near.any() else ~mask if not mask.all() else mask, rng)


def _stroke(mask: Mask, rng: np.random.Generator) -> list[tuple[float, float]]:
    """Points along a line between two places of the object, pulled into it."""
    start, end = np.array(_anywhere(mask, rng)), np.array(_anywhere(mask, rng))
    ys, xs = np.nonzero(mask)
    inside = np.column_stack([xs, ys])
    line = [start + (end - start) * part for part in np.linspace(0, 1, SCRIBBLE)]
    nearest = [inside[np.abs(inside - place).sum(1).argmin()] for place in line]
    return [(float(x), float(y)) for x, y in nearest]
