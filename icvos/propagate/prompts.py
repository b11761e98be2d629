"""What a prompt says, checked against the frame that it speaks of and turned into what SAM 2 takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from icvos.errors import Finding, PluginError
from icvos.masks import size_text
from icvos.models.token_decoding import BOTTOM_RIGHT, TOP_LEFT
from icvos.types import BoxPrompt, Mask, MaskPrompt, PointPrompt, Prompt, Size, TokenPrompt


@dataclass(frozen=True, slots=True)
class Given:
    """One of the three: a mask (1, 1, S, S) of 0 and 1, points in pixels of the model, or decoder tokens (1, N, C)."""

    mask: Tensor | None = None
    points: dict[str, Tensor] | None = None
    tokens: Tensor | None = None

    @property
    def is_empty(self) -> bool:
        """Whether it is a mask without a pixel."""
        return self.mask is not None and not bool(self.mask.any())


def as_given(prompt: Prompt, size: Size, side: int, width: int, device: torch.device) -> Given:
    """A prompt in SAM 2's own terms, by the arithmetic of its video predictor.

    Args:
        prompt: about a frame of `size`.
        size: (H, W) of the clip.
        side: height and width of what the model sees.
        width: of the model's decoder tokens.
        device: where the tensors go.

    Raises:
        PluginError: the prompt lies off the image, has another size or type, or is not finite.
    """
    if not isinstance(prompt, MaskPrompt | PointPrompt | BoxPrompt | TokenPrompt):
        found, expected = type(prompt).__name__, "MaskPrompt, PointPrompt, BoxPrompt or TokenPrompt"
        raise PluginError("not a prompt", "frame 0", found, expected, "mend the method")
    if isinstance(prompt, MaskPrompt):
        return Given(mask=_resized(torch.from_numpy(checked_mask(prompt, size).copy()), side).to(device))
    if isinstance(prompt, TokenPrompt):
        return Given(tokens=torch.from_numpy(_checked_tokens(prompt, width))[None].to(device))
    points, labels = (torch.from_numpy(part)[None] for part in checked_clicks(prompt, size))
    scaled = points / torch.tensor([size[1], size[0]]) * side
    return Given(points={"point_coords": scaled.to(device), "point_labels": labels.to(device)})


def says_nothing(prompt: Prompt, given: Given) -> str:
    """Why a mask prompt names no pixel, in words; empty where it does, and for every other prompt."""
    if given.mask is None or not given.is_empty:
        return ""
    side = given.mask.shape[-1]
    return f"a mask that has no pixel left at the model's {side} x {side}" if _marked(prompt) else "an empty mask"


def fingerprint(prompt: Prompt) -> tuple[Any, ...]:
    """Equal for prompts that say the same."""
    if isinstance(prompt, BoxPrompt):
        return (BoxPrompt, np.asarray(prompt.box, np.float32).tobytes(), prompt.clicks and fingerprint(prompt.clicks))
    if isinstance(prompt, PointPrompt):
        return (PointPrompt, np.asarray(prompt.points, np.float32).tobytes(), np.asarray(prompt.labels, np.int32).tobytes())
    values = np.asarray(prompt.mask if isinstance(prompt, MaskPrompt) else prompt.tokens)
    return (type(prompt), values.shape, values.dtype, values.tobytes())


def _marked(prompt: Prompt) -> bool:
    return isinstance(prompt, MaskPrompt) and bool(prompt.mask.any())


def _resized(mask: Tensor, side: int) -> Tensor:
    """(H, W) bool -> (1, 1, side, side) of 0 and 1."""
    pixels = mask[None, None].float()
    if mask.shape == (side, side):
        return pixels
    smooth = functional.interpolate(pixels, size=(side, side), mode="bilinear", align_corners=False, antialias=True)
    return (smooth >= 0.5).float()


def empty_prompt(place: int, reason: str) -> Finding:
    """The finding for a mask prompt, by its place, that names no pixel."""
    return Finding("empty-prompt", f"prompt {place}", reason, "at least one pixel", "nothing is tracked, every mask is empty")


def checked_mask(prompt: MaskPrompt, size: Size) -> Mask:
    """The mask, (H, W) bool.

    Raises:
        PluginError: it has another size or type.
    """
    if not isinstance(prompt.mask, np.ndarray) or prompt.mask.dtype != np.bool_ or prompt.mask.shape != size:
        found = f"{size_text(np.shape(prompt.mask))} {getattr(prompt.mask, 'dtype', type(prompt.mask).__name__)}"
        raise PluginError("the mask prompt does not fit its frame", "frame 0", found, f"{size_text(size)} bool", "mend the method")
    return prompt.mask


def checked_clicks(prompt: PointPrompt | BoxPrompt, size: Size) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """What is clicked, (N, 2) x and y in pixels of the frame, and the kinds (N,): 1 object, 0 background, and the box's corners first.

    Raises:
        PluginError: a point or box lies off the image, or cannot be read.
    """
    return _checked_points(prompt, size) if isinstance(prompt, PointPrompt) else _checked_box(prompt, size)


def _checked_tokens(prompt: TokenPrompt, width: int) -> NDArray[np.float32]:
    tokens = np.array(prompt.tokens, np.float32)  # a copy, here and below: torch wants to own what it reads
    if tokens.ndim != 2 or tokens.shape[1] != width or not len(tokens):
        raise PluginError("tokens that the decoder cannot take", "frame 0", size_text(tokens.shape), f"N x {width}", "mend the method")
    if not np.isfinite(tokens).all():
        raise PluginError("tokens that are not numbers", "frame 0", "NaN or infinity", "finite numbers", "mend the method")
    return tokens


def _checked_points(prompt: PointPrompt, size: Size) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    points, labels = np.array(prompt.points, np.float32), np.asarray(prompt.labels)
    if points.ndim != 2 or points.shape[1:] != (2,) or labels.shape != points.shape[:1] or not len(points):
        found = f"{size_text(points.shape)} points, {size_text(labels.shape)} labels"
        raise PluginError("points that cannot be read", "frame 0", found, "N x 2 points and N labels", "mend the method")
    if not np.isin(labels, (0, 1)).all():
        strange = labels[~np.isin(labels, (0, 1))][0]
        raise PluginError("a point's label is wrong", "frame 0", strange, "1 (object) or 0 (background)", "mend the method")
    _check_inside(points, size, "a point")
    return points, labels.astype(np.int32)


def _checked_box(prompt: BoxPrompt, size: Size) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    box = np.array(prompt.box, np.float32)
    if box.shape != (4,):
        raise PluginError("a box that cannot be read", "frame 0", size_text(box.shape), "(left, top, right, bottom)", "mend the method")
    corners = box.reshape(2, 2)
    _check_inside(corners, size, "a corner of the box")
    if (corners[1] <= corners[0]).any():
        raise PluginError("a box without area", "frame 0", box.tolist(), "left < right and top < bottom", "mend the method")
    labels = np.array([TOP_LEFT, BOTTOM_RIGHT], np.int32)
    if prompt.clicks is None:
        return corners, labels
    points, marks = _checked_points(prompt.clicks, size)
    return np.concatenate([corners, points]), np.concatenate([labels, marks])


def _check_inside(points: NDArray[np.float32], size: Size, what: str) -> None:
    inside = (points >= 0).all(1) & (points <= (size[1], size[0])).all(1)  # false for NaN too
    if not inside.all():
        x, y = points[~inside][0].tolist()
        raise PluginError(
            f"{what} lies off the image", "frame 0", f"x {x:g}, y {y:g}", f"0 to {size[1]} and 0 to {size[0]} (pixels)", "mend the method"
        )
