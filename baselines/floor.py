"""Floors: answers that look at nothing, or at next to nothing. A method below one of them has learned nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from icvos.masks import resize_nearest
from icvos.propagate.base import Propagated, propagated
from icvos.propagate.identity import Identity
from icvos.types import Image, Mask, MaskPrompt, MethodCard, Size, Support

Draw = Callable[[Size, Sequence[Support]], Mask]


@dataclass(frozen=True, slots=True)
class _FloorPrompter:
    """One mask for a frame of a given size, and the same for every frame after it."""

    card: MethodCard
    draw: Draw

    def prompt(self, frame: Image, supports: Sequence[Support]) -> MaskPrompt:
        return MaskPrompt(self.draw((frame.shape[0], frame.shape[1]), supports))


def _floor(name: str, summary: str, draw: Draw) -> Propagated:
    card = MethodCard(name, kind="floor", summary=summary, licence="Apache-2.0", hand_over="mask, repeated", parallel=True)
    return propagated(_FloorPrompter(card, draw), Identity())


def _draw_empty(size: Size, supports: Sequence[Support]) -> Mask:
    return np.zeros(size, np.bool_)


def _draw_full_frame(size: Size, supports: Sequence[Support]) -> Mask:
    return np.ones(size, np.bool_)


def _draw_centre_box(size: Size, supports: Sequence[Support]) -> Mask:
    height, width = size
    mask = np.zeros(size, np.bool_)
    mask[height // 4 : height - height // 4, width // 4 : width - width // 4] = True
    return mask


def _draw_support_shape(size: Size, supports: Sequence[Support]) -> Mask:
    return resize_nearest(supports[0].read_mask(), size)


def empty() -> Propagated:
    """Nothing, on every frame."""
    return _floor("empty", "no pixel on any frame", _draw_empty)


def full_frame() -> Propagated:
    """Everything, on every frame."""
    return _floor("full-frame", "every pixel of every frame", _draw_full_frame)


def centre_box() -> Propagated:
    """The middle half of each side."""
    return _floor("centre-box", "the middle half of each side, on every frame", _draw_centre_box)


def support_shape() -> Propagated:
    """The first support's mask, stretched over the frame."""
    return _floor("support-shape", "the support's mask stretched over every frame", _draw_support_shape)
