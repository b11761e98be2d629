"""Scenes: layers that move under a moving camera, drawn frame by frame together with the ids of what is visible."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from icvos.playground.photographs import Sprite, as_bytes, photograph, sprite_of
from icvos.types import Image, Size

Affine: TypeAlias = NDArray[np.float64]  # (2, 3), acts on (x, y, 1)
Canvas: TypeAlias = NDArray[np.float32]  # (H, W, 3)

_SHUTTER = 0.35  # the part of a frame's time that its exposures share
_REACH = 24  # pixels, as far as a shadow is seen
_SHADOW = (7.0, 6.0, 5.0, 0.38)  # shift right, shift down, softness, strength


class Pose(NamedTuple):
    """Where a thing is: its centre in the plane's pixels, its scale, and its angle in degrees, clockwise on screen."""

    x: float = 0.0
    y: float = 0.0
    scale: float = 1.0
    angle: float = 0.0


class Key(NamedTuple):
    """A pose to be taken at `time`, 0 the first frame and 1 the last."""

    time: float
    pose: Pose


Path: TypeAlias = tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class Layer:
    """A sprite and its path. `id` 0: nobody annotates it. A `depth` below 1 is farther off and moves less with the camera."""

    sprite: Sprite
    path: Path
    id: int = 0
    depth: float = 1.0
    light: tuple[float, float, float] = (1.0, 1.0, 1.0)
    shadow: bool = False


@dataclass(frozen=True, slots=True)
class Scene:
    """The layers from back to front, the camera over them, and what its picture suffers."""

    size: Size
    frames: int
    layers: tuple[Layer, ...]
    camera: Path
    shake: float = 0.8  # pixels
    noise: float = 0.0  # standard deviation in grey levels
    exposures: int = 1  # pictures averaged into a frame: motion blur


class Drawn(NamedTuple):
    """One frame: the picture, and the id of what is visible at each pixel, (H, W)."""

    image: Image
    ids: NDArray[np.uint8]


def pose_at(path: Path, time: float) -> Pose:
    """The pose at `time`, eased from key to key, at rest before the first and after the last."""
    for (begin, first), (end, second) in pairwise(path):
        if time < end:
            part = max(0.0, time - begin) / (end - begin)
            ease = part * part * (3 - 2 * part)
            return Pose(*(a + (b - a) * ease for a, b in zip(first, second, strict=True)))
    return path[-1].pose


def turn(scale: float, angle: float, about: tuple[float, float], to: tuple[float, float]) -> Affine:
    """The map that scales and turns about the point `about` and then carries that point to `to`."""
    radians = np.deg2rad(angle)
    linear = scale * np.array([[np.cos(radians), -np.sin(radians)], [np.sin(radians), np.cos(radians)]])
    return np.column_stack((linear, np.asarray(to) - linear @ np.asarray(about)))


def after(outer: Affine, inner: Affine) -> Affine:
    """The map that does `inner` and then `outer`."""
    return np.column_stack((outer[:, :2] @ inner[:, :2], outer[:, :2] @ inner[:, 2] + outer[:, 2]))


def place(sprite: Sprite, pose: Pose) -> Affine:
    """The map from the sprite's full-size pixels to the plane."""
    return turn(pose.scale, pose.angle, sprite.centre, (pose.x, pose.y))


def view(camera: Pose, size: Size, depth: float = 1.0) -> Affine:
    """The map from the plane at `depth` to the frame: the camera's centre comes to the middle."""
    middle = ((size[1] - 1) / 2, (size[0] - 1) / 2)
    return turn(camera.scale**depth, camera.angle, (camera.x * depth, camera.y * depth), middle)


class _Window(NamedTuple):
    """A part of the plane that may stand out of the frame by as far as a shadow reaches, and its part in the frame."""

    corner: tuple[int, int]  # x, y in the frame
    size: tuple[int, int]  # width, height
    here: tuple[slice, slice]  # of the window
    there: tuple[slice, slice]  # of the frame


def _window(sprite: Sprite, to_frame: Affine, size: Size) -> _Window | None:
    """Where in a frame of `size` the sprite and its shadow may be seen; None if nowhere."""
    height, width = sprite.alphas[0].shape[:2]
    corners = to_frame[:, :2] @ np.array([[0, width, 0, width], [0, 0, height, height]]) + to_frame[:, 2:]
    limit = np.array([size[1], size[0]]) + _REACH
    low = np.maximum(np.floor(corners.min(axis=1)).astype(int) - _REACH, -_REACH)
    high = np.minimum(np.ceil(corners.max(axis=1)).astype(int) + _REACH, limit)
    begin, end = np.maximum(low, 0), np.minimum(high, limit - _REACH)
    if (begin >= end).any():
        return None
    here = (slice(int(begin[1] - low[1]), int(end[1] - low[1])), slice(int(begin[0] - low[0]), int(end[0] - low[0])))
    there = (slice(int(begin[1]), int(end[1])), slice(int(begin[0]), int(end[0])))
    return _Window((int(low[0]), int(low[1])), (int(high[0] - low[0]), int(high[1] - low[1])), here, there)


def stamp(canvas: Canvas, ids: NDArray[np.uint8], layer: Layer, to_frame: Affine) -> None:
    """Draws a layer over `canvas` and `ids`: what it shows hides what was there, what is its object bears its id."""
    sprite = layer.sprite
    window = _window(sprite, to_frame, (ids.shape[0], ids.shape[1]))
    if window is None:
        return
    to_window = to_frame - np.array([[0, 0, window.corner[0]], [0, 0, window.corner[1]]])
    level = sprite.level(float(np.hypot(*to_frame[:, 0])))
    if level:  # pixel centres of the half size in the full size's pixels
        to_window = after(to_window, np.array([[2.0, 0.0, 0.5], [0.0, 2.0, 0.5]]))
    alphas = as_bytes(cv2.warpAffine(sprite.alphas[level], to_window, window.size, flags=cv2.INTER_LINEAR))
    colour = cv2.warpAffine(sprite.colours[level], to_window, window.size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    under = canvas[window.there]  # a view: what is done to it is done to the canvas
    if layer.shadow:
        under *= _light_left(alphas[..., 0])[window.here][..., None]
    over = colour[window.here] * np.asarray(layer.light, np.float32)
    shown, mask = alphas[window.here][..., :1], alphas[window.here][..., 1]
    under[:] = over if shown.min() == 255 else under + (over - under) * (shown * np.float32(1 / 255))
    visible = ids[window.there]
    visible[shown[..., 0] >= 128] = 0
    if layer.id:
        visible[mask >= 128] = layer.id


def _light_left(shown: NDArray[np.uint8]) -> NDArray[np.float32]:
    """How much light the shadow of what is shown leaves, (H, W); worked out at a quarter of the size, since it is soft."""
    right, down, softness, strength = _SHADOW
    height, width = shown.shape
    quarter = cv2.warpAffine(shown, np.array([[0.25, 0, right / 4], [0, 0.25, down / 4]]), (width // 4 + 1, height // 4 + 1))
    blurred, enlarge = cv2.GaussianBlur(quarter, (0, 0), softness / 4), np.array([[4.0, 0, 0], [0, 4.0, 0]])
    soft = cv2.warpAffine(blurred, enlarge, (width, height), borderMode=cv2.BORDER_REPLICATE)
    return 1 - as_bytes(soft) * np.float32(strength / 255)


def to_image(canvas: NDArray[np.floating[Any]]) -> Image:
    """The canvas as a picture of 8 bits."""
    return np.asarray(np.clip(np.rint(canvas), 0, 255), np.uint8)


def _swayed(camera: Pose, time: float, shake: float, phases: NDArray[np.float64]) -> Pose:
    """The camera as a hand holds it: off by about `shake` pixels, in slow waves that begin at the six `phases`."""
    waves = shake * np.sin(np.array([17.0, 41.0, 23.0, 37.0, 13.0, 29.0]) * time + phases)
    right, down, turned = waves.reshape(3, 2).sum(axis=1)
    return camera._replace(x=camera.x + right, y=camera.y + down, angle=camera.angle + 0.15 * turned)


def draw(scene: Scene, index: int, entropy: tuple[int, ...]) -> Drawn:
    """Frame `index` of the scene, its chance decided by `entropy` alone; its ids are those of the middle exposure."""
    phases = np.random.default_rng(entropy).uniform(0, 2 * np.pi, 6)
    total: Canvas = np.zeros((*scene.size, 3), np.float32)
    truth = np.zeros(scene.size, np.uint8)
    for exposure in range(scene.exposures):
        shift = (exposure - (scene.exposures - 1) / 2) * _SHUTTER / scene.exposures
        canvas: Canvas = np.zeros((*scene.size, 3), np.float32)
        ids = np.zeros(scene.size, np.uint8)
        time = (index + shift) / (scene.frames - 1)
        camera = _swayed(pose_at(scene.camera, time), time, scene.shake, phases)
        for layer in scene.layers:
            stamp(canvas, ids, layer, after(view(camera, scene.size, layer.depth), place(layer.sprite, pose_at(layer.path, time))))
        total += canvas
        if exposure == scene.exposures // 2:
            truth = ids
    total /= scene.exposures
    if scene.noise:
        total += scene.noise * np.random.default_rng((*entropy, index)).standard_normal(total.shape, np.float32)
    return Drawn(to_image(total), truth)


def lit(image: Image, light: tuple[float, float, float]) -> Image:
    """The picture with its red, green and blue multiplied."""
    return to_image(np.multiply(image, light, dtype=np.float32))


def texture(name: str, size: Size, *, tint: tuple[float, float, float], scale: float = 1.0) -> Image:
    """A grey photograph dyed `tint`, (H, W, 3): its middle is the picture's, and beyond its edges it goes on mirrored."""
    grey = np.rot90(photograph(name)) if name == "brick.png" else photograph(name)  # its courses run upwards
    to_picture = turn(scale, 0.0, ((grey.shape[1] - 1) / 2, (grey.shape[0] - 1) / 2), ((size[1] - 1) / 2, (size[0] - 1) / 2))
    if scale < 1:
        grey = as_bytes(cv2.GaussianBlur(grey, (0, 0), 0.4 / scale))
    picture = cv2.warpAffine(np.ascontiguousarray(grey), to_picture, (size[1], size[0]), borderMode=cv2.BORDER_REFLECT)
    return lit(as_bytes(picture), tint)


def slab(colour: Image) -> Sprite:
    """The whole picture as a sprite that is nobody's object: a ground, a wall, a pillar."""
    size = colour.shape[:2]
    return sprite_of(colour, np.full(size, 255, np.uint8), np.zeros(size, np.uint8))


def tile(colour: Image, *, round_by: int) -> Sprite:
    """The picture as an object of its own, with corners of radius `round_by`."""
    height, width = colour.shape[:2]
    shown = np.zeros((height, width), np.uint8)
    cv2.rectangle(shown, (round_by + 3, round_by + 3), (width - round_by - 4, height - round_by - 4), 255, -1)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * round_by + 1, 2 * round_by + 1))
    soft = as_bytes(cv2.GaussianBlur(cv2.dilate(shown, disc), (0, 0), 0.8))
    return sprite_of(colour, soft, soft)
