"""Tubes out of photographs: a picture under a moving camera, cut-out objects that move, deform, hide and leave before it.

DC-SAM (Section 4.4) makes mask tubes by augmenting an image; here objects also pass in front of one another, leave the
frame and come back, so that a model learns what a tracker must.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from icvos.training.pictures import Picture
from icvos.types import Image, Mask

Points = NDArray[np.float32]  # (H, W, 2) x, y in pixels
SMALLEST_TARGET = 0.006  # of the frame's area, on frame 0
TRIES = 30
CUTOUTS = (0.25, 0.4, 0.35)  # how likely a clip has none, one, two objects pasted before it
CUTOUTS_OF_A_STILL = (0.6, 0.25, 0.15)  # nothing hides or leaves there, and the borders of what is not pasted are real


@dataclass(frozen=True, slots=True)
class Targets:
    """A clip and two of its objects: images (T, S, S, 3) uint8 RGB, masks (2, T, S, S) bool."""

    images: NDArray[np.uint8]
    masks: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class _Layer:
    """A picture that moves: `alpha` says where it covers what lies behind, `objects` what in it can be a target."""

    image: NDArray[np.float32]  # (H, W, 3)
    alpha: NDArray[np.float32] | None  # (H, W) in [0, 1]; None: it covers everything
    objects: tuple[Mask, ...]
    place: Callable[[float], NDArray[np.float32]]  # time -> (2, 3) matrix from frame to picture
    bend: Callable[[float], Points]  # time -> offsets in the frame
    light: Callable[[float], float]


def make_targets(pictures: Sequence[Picture], times: Sequence[int], size: int, rng: np.random.Generator) -> Targets:
    """Draw a scene and render it at the given times; both targets are visible on the first frame.

    Args:
        pictures: where to draw from.
        times: of the frames, ascending, the first 0; a unit is the step between two frames of a video.
        size: pixels, height and width.
        rng: decides everything.
    """
    for _ in range(TRIES):
        images, candidates = _render(_scene(pictures, size, CUTOUTS if len(times) > 1 else CUTOUTS_OF_A_STILL, rng), times, size, rng)
        visible = [masks for masks in candidates if masks[0].mean() >= SMALLEST_TARGET]
        if visible:
            first, second = rng.choice(len(visible), 2, replace=len(visible) < 2)
            return Targets(images, np.stack([visible[first], visible[second]]))
    raise RuntimeError("no object is visible in any scene drawn")


def _scene(pictures: Sequence[Picture], size: int, cutouts: Sequence[float], rng: np.random.Generator) -> list[_Layer]:
    """A background and up to two objects before it, the farthest first."""
    image, objects = _read(pictures, rng)
    aspect = float(np.exp(rng.uniform(np.log(0.75), np.log(1.9))))  # of the video that was squeezed into a square
    layers = [_background(image, objects, size, aspect, rng)]
    for _ in range(rng.choice(3, p=cutouts)):
        if objects and rng.random() < 0.25:  # something that looks like the target but is not
            source, cut = image, objects[rng.integers(len(objects))]
        else:
            source, found = _read(pictures, rng)
            if not found:
                continue
            cut = found[rng.integers(len(found))]
        layers.append(_cutout(source, cut, size, aspect, rng))
    return layers


def _read(pictures: Sequence[Picture], rng: np.random.Generator) -> tuple[Image, list[Mask]]:
    image, masks = pictures[int(rng.integers(len(pictures)))].read()
    if rng.random() < 0.5:
        image, masks = image[:, ::-1], [mask[:, ::-1] for mask in masks]
    return image, masks


def _background(image: Image, objects: Sequence[Mask], size: int, aspect: float, rng: np.random.Generator) -> _Layer:
    height, width = image.shape[:2]
    fit = max(aspect * size / width, size / height)  # the frame lies inside the picture
    zoom = fit * rng.uniform(1.0, 1.7)
    slack = np.array([max(0.0, width - aspect * size / zoom), max(0.0, height - size / zoom)])
    centre = np.array([width, height]) / 2 + slack * rng.uniform(-0.5, 0.5, 2)
    place = _trajectory(centre, zoom, size, aspect, rng, speed=0.02, swing=0.06)
    return _Layer(_coloured(image, rng), None, tuple(objects), place, _bending(size, 4.0, rng), _light(rng))


def _cutout(image: Image, mask: Mask, size: int, aspect: float, rng: np.random.Generator) -> _Layer:
    ys, xs = np.nonzero(mask)
    extent = max((xs.max() - xs.min() + 1) / aspect, ys.max() - ys.min() + 1)
    zoom = size * rng.uniform(0.2, 0.8) / extent
    seen_at = (rng.uniform(0.1, 0.9, 2) - 0.5) * (aspect * size, size) / zoom  # where in the frame the object stands
    centre = np.array([xs.mean(), ys.mean()]) - seen_at
    roams = rng.random() < 0.3  # far enough to leave the frame, and to come back
    place = _trajectory(centre, zoom, size, aspect, rng, speed=0.03, swing=0.7 if roams else 0.1)
    alpha = _blurred(cv2.erode(mask.astype(np.float32), np.ones((3, 3))), rng.uniform(0.6, 1.4))
    return _Layer(_coloured(image, rng), alpha, (mask,), place, _bending(size, 9.0, rng), _light(rng))


def _trajectory(
    centre: NDArray[np.float64], zoom: float, size: int, aspect: float, rng: np.random.Generator, speed: float, swing: float
) -> Callable[[float], NDArray[np.float32]]:
    """Where the frame lies in a picture over time: drift and swing of position, angle, and scale."""
    drift = rng.normal(0, speed, 2)  # frame sides a step
    sway, phase, pace = rng.uniform(0, swing, 2), rng.uniform(0, 2 * np.pi, 4), rng.uniform(0.1, 0.7, 4)
    turn, spin, growth = rng.normal(0, 0.12), rng.normal(0, 0.012), rng.normal(0, 0.015)

    def place(time: float) -> NDArray[np.float32]:
        wave = np.sin(pace * time + phase) - np.sin(phase)
        angle = turn + spin * time + 0.05 * wave[2]
        scale = zoom * np.exp(np.clip(growth * time + 0.06 * wave[3], -0.7, 0.7))
        moved = centre - (drift * time + sway * wave[:2]) * (aspect * size, size) / zoom
        cos, sin = np.cos(angle) / scale, np.sin(angle) / scale
        matrix = np.array([[cos * aspect, -sin], [sin * aspect, cos]])
        return np.column_stack([matrix, moved - matrix @ (size / 2, size / 2)]).astype(np.float32)

    return place


def _bending(size: int, most: float, rng: np.random.Generator) -> Callable[[float], Points]:
    """A smooth deformation that grows and swings with time, in pixels of the frame."""
    grids = rng.normal(0, rng.uniform(0, most), (2, 5, 5, 2)).astype(np.float32)
    phase, pace, drift = rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 0.9), rng.uniform(0, 0.12)
    fields = [cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC) for grid in grids]
    return lambda time: fields[0] * np.float32(np.sin(pace * time + phase) - np.sin(phase)) + fields[1] * np.float32(drift * time)


def _light(rng: np.random.Generator) -> Callable[[float], float]:
    depth, phase, pace = rng.uniform(0, 0.25), rng.uniform(0, 2 * np.pi), rng.uniform(0.05, 0.5)
    return lambda time: float(1 + depth * np.sin(pace * time + phase))


def _coloured(image: Image, rng: np.random.Generator) -> NDArray[np.float32]:
    """Another contrast, brightness and cast, and sometimes grey."""
    pixels = image.astype(np.float32)
    if rng.random() < 0.05:
        pixels = np.repeat(pixels.mean(-1, keepdims=True), 3, -1)
    return pixels * np.float32(rng.uniform(0.75, 1.25)) * rng.uniform(0.92, 1.08, 3).astype(np.float32) + np.float32(rng.uniform(-15, 15))


def _render(
    layers: Sequence[_Layer], times: Sequence[int], size: int, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], list[NDArray[np.bool_]]]:
    """Frames (T, S, S, 3), and for every object of every layer its visible masks (T, S, S)."""
    grid = np.stack(np.meshgrid(np.arange(size), np.arange(size)), -1).astype(np.float32)
    blur, noise = rng.uniform(0, 1.0), rng.uniform(0, 4)
    frames, visible = [], []
    for time in times:
        frame, masks = _frame(layers, float(time), grid)
        if blur > 0.4:
            frame = _blurred(frame, blur)
        frame += rng.normal(0, noise, (size // 2, size // 2, 1)).astype(np.float32).repeat(2, 0).repeat(2, 1)
        frames.append(np.clip(frame, 0, 255).astype(np.uint8))
        visible.append(masks)
    return np.stack(frames), [np.stack(masks) for masks in zip(*visible, strict=True)]


def _frame(layers: Sequence[_Layer], time: float, grid: Points) -> tuple[NDArray[np.float32], list[Mask]]:
    frame = np.zeros((*grid.shape[:2], 3), np.float32)
    masks: list[Mask] = []
    for layer in layers:
        where = cv2.transform(grid + layer.bend(time), layer.place(time))
        border = cv2.BORDER_REFLECT_101 if layer.alpha is None else cv2.BORDER_CONSTANT
        seen = _sampled(layer.image, where, border) * np.float32(layer.light(time))
        if layer.alpha is None:
            frame = seen
        else:
            alpha = _sampled(layer.alpha, where, border)
            frame += alpha[..., None] * (seen - frame)
            masks = [mask & (alpha < 0.5) for mask in masks]
        for target in layer.objects:
            warped = _sampled(target.astype(np.float32), where, border)
            masks.append(warped >= 0.5 if layer.alpha is None else alpha >= 0.5)
    return frame, masks


def _blurred(values: NDArray[Any], sigma: float) -> NDArray[np.float32]:
    return np.asarray(cv2.GaussianBlur(values, (0, 0), sigma), np.float32)


def _sampled(values: NDArray[np.float32], where: NDArray[Any], border: int) -> NDArray[np.float32]:
    """A picture's values at points (H, W, 2)."""
    return np.asarray(cv2.remap(values, where[..., 0], where[..., 1], cv2.INTER_LINEAR, borderMode=border), np.float32)
