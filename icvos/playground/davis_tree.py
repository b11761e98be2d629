"""The playground's clips, written as a DAVIS 2017 tree."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from icvos.files import AnyPath, to_json, write_bytes, write_text
from icvos.playground.photographs import Sprite, cut_out
from icvos.playground.scene import Key, Layer, Pose, Scene, draw, slab, texture, tile
from icvos.types import Image

SIZE = (240, 427)  # as 480p, halved
_BRICK, _GRASS, _GRAVEL = "brick.png", "grass.png", "gravel.png"
_RED, _GREEN, _SAND, _SLATE = (1.0, 0.62, 0.5), (0.55, 0.85, 0.35), (1.15, 1.0, 0.8), (0.62, 0.68, 0.78)


@dataclass(frozen=True, slots=True)
class ClipPlan:
    """A clip: its name, what is annotated in DAVIS's words (ids count from 1), and what sets its scene."""

    name: str
    labels: tuple[str, ...]
    scene: Callable[[], Scene]


@cache
def _ground(name: str, tint: tuple[float, float, float]) -> Sprite:
    return slab(texture(name, (520, 800), tint=tint, scale=1.1))


def _still(x: float = 0.0, y: float = 0.0, scale: float = 1.0, angle: float = 0.0) -> tuple[Key, ...]:
    return (Key(0.0, Pose(x, y, scale, angle)),)


def _keys(*keys: tuple[float, float, float, float, float]) -> tuple[Key, ...]:
    return tuple(Key(time, Pose(x, y, scale, angle)) for time, x, y, scale, angle in keys)


def _wall(y: float, tint: tuple[float, float, float] = _RED, name: str = _BRICK) -> Layer:
    """A low wall in front, its upper edge at `y`."""
    return Layer(slab(texture(name, (200, 800), tint=tint)), _still(0, y + 100), shadow=True)


def _cat_garden() -> Scene:
    cat = Layer(cut_out("cat-bust"), _keys((0, -80, 60, 0.42, -4), (0.5, 10, 10, 0.52, 2), (1, 75, 2, 0.56, 5)), id=1, shadow=True)
    grass = Layer(_ground(_GRASS, _GREEN), _still(), depth=0.7)
    return Scene(SIZE, 30, (grass, cat, _wall(85)), _keys((0, -35, 8, 1.0, 0), (1, 45, 0, 1.22, 1.5)))


def _cat_pair() -> Scene:
    first = Layer(cut_out("cat-bust"), _keys((0, -115, 22, 0.48, 0), (0.6, -62, 14, 0.5, 4), (1, -70, 18, 0.5, -2)), id=1, shadow=True)
    approach = _keys((0, 125, 40, 0.4, 3), (0.5, 78, 30, 0.43, -3), (1, 96, 24, 0.42, 1))
    second = Layer(cut_out("cat-bust", True), approach, id=2, light=(0.72, 0.76, 0.84), shadow=True)
    gravel = Layer(_ground(_GRAVEL, _SAND), _still(), depth=0.7)
    return Scene(SIZE, 32, (gravel, second, first, _wall(78, _SLATE)), _keys((0, -12, 0, 1.05, -1), (1, 18, 4, 0.95, 1)), noise=1.5)


def _pillar_walk() -> Scene:
    walk = _keys((0, -150, 42, 0.42, -2), (0.45, -8, 48, 0.44, 1), (0.6, 12, 46, 0.44, 1), (1, 150, 38, 0.48, 3))
    person = Layer(cut_out("astronaut"), walk, id=1, shadow=True)
    pillar = Layer(slab(texture(_BRICK, (420, 150), tint=_RED, scale=0.6)), _still(5, 0), shadow=True)
    gravel = Layer(_ground(_GRAVEL, _SLATE), _still(), depth=0.6)
    return Scene(SIZE, 40, (gravel, person, pillar, _wall(92, _SAND, _GRAVEL)), _keys((0, -22, 0, 1, 0), (1, 24, 2, 1.04, 0)), exposures=2)


def _film_crew() -> Scene:
    ride = _keys((0, 62, 22, 0.30, 0), (0.5, 92, 26, 0.36, -1), (1, 118, 34, 0.43, 0))
    motorcycle = Layer(cut_out("motorcycle-left"), ride, id=1, shadow=True)
    person = Layer(cut_out("camera-man"), _still(-128, 22, 0.47), id=2, light=(1.05, 1.0, 0.92), shadow=True)
    wall = Layer(slab(texture(_BRICK, (300, 800), tint=_RED, scale=1.1)), _still(0, -170), depth=0.9)
    gravel = Layer(_ground(_GRAVEL, _SAND), _still(), depth=0.9)
    return Scene(SIZE, 30, (gravel, wall, motorcycle, person), _keys((0, 4, 0, 1.0, 0), (1, 8, -2, 1.07, 0.8)), shake=0.5)


def _cup_slide() -> Scene:
    slide = _keys((0, -85, 10, 0.42, -8), (0.3, -45, -5, 0.5, 6), (0.92, 345, 45, 0.56, 24))
    cup = Layer(cut_out("coffee-cup"), slide, id=1, shadow=True)
    table = Layer(_ground(_BRICK, _SLATE), _still())
    return Scene(SIZE, 36, (table, cup), _keys((0, -10, 0, 1, 0), (1, 10, 6, 1.05, -1)), exposures=3)


def _late_guest() -> Scene:
    stand = _keys((0, -96, 36, 0.46, 2), (1, -84, 30, 0.48, -2))
    person = Layer(cut_out("astronaut", True), stand, id=1, light=(0.9, 0.93, 1.0), shadow=True)
    rise = _keys((0.3, 100, 210, 0.34, 8), (0.65, 98, 52, 0.35, -3), (1, 86, 36, 0.39, 2))
    cat = Layer(cut_out("cat-bust"), rise, id=2, shadow=True)
    grass = Layer(_ground(_GRASS, _GREEN), _still(), depth=0.7)
    return Scene(SIZE, 32, (grass, person, cat, _wall(84)), _keys((0, 6, 2, 1.08, 0), (1, -4, 0, 1.0, 0.5)))


def _brick_roll() -> Scene:
    brick = Layer(
        tile(texture(_BRICK, (120, 170), tint=(1.1, 0.66, 0.5), scale=0.6), round_by=14),
        _keys((0, -130, -30, 0.6, -20), (0.5, 0, 30, 0.8, 70), (1, 120, 10, 0.95, 170)),
        id=1,
        shadow=True,
    )
    grass = Layer(_ground(_GRASS, _GREEN), _still())
    return Scene(SIZE, 24, (grass, brick), _keys((0, -20, 0, 1, 0), (1, 20, 0, 1.1, 2)), noise=2.0)


CLIPS = (
    ClipPlan("brick-roll", ("brick",), _brick_roll),  # not a COCO class
    ClipPlan("cat-garden", ("cat",), _cat_garden),  # grows
    ClipPlan("cat-pair", ("cat", "cat"), _cat_pair),  # two of one class
    ClipPlan("cup-slide", ("cup",), _cup_slide),  # leaves
    ClipPlan("film-crew", ("motorcycle", "person"), _film_crew),  # two classes
    ClipPlan("late-guest", ("person", "cat"), _late_guest),  # the cat is late
    ClipPlan("pillar-walk", ("person",), _pillar_walk),  # hidden on the way
)


def davis_palette() -> list[int]:
    """DAVIS's palette, 256 x RGB flat: PASCAL's first 22 colours (191 for 192), then greys."""
    colours = []
    for index in range(22):
        bits = [sum(((index >> (3 * step + channel)) & 1) << (7 - step) for step in range(3)) for channel in range(3)]
        colours.append([191 if value == 192 else value for value in bits])
    return [value for colour in colours + [[grey] * 3 for grey in range(22, 256)] for value in colour]


def jpeg_bytes(image: Image) -> bytes:
    """The picture as a JPEG file."""
    buffer = io.BytesIO()
    PillowImage.fromarray(image).save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


def annotation_bytes(ids: NDArray[np.uint8]) -> bytes:
    """The ids as an 8-bit palette PNG file."""
    picture = PillowImage.fromarray(ids).convert("P")
    picture.putpalette(davis_palette())
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", bits=8)
    return buffer.getvalue()


def davis_paths() -> Iterator[str]:
    """Every file of the tree, relative to its root."""
    for plan in CLIPS:
        for index in range(plan.scene().frames):
            yield f"JPEGImages/480p/{plan.name}/{index:05d}.jpg"
            yield f"Annotations/480p/{plan.name}/{index:05d}.png"
    yield "ImageSets/2017/val.txt"
    yield "davis_semantics.json"


def write_davis(root: AnyPath, seed: int) -> None:
    """Draws every clip and writes the tree under `root`."""
    root = Path(root)
    for number, plan in enumerate(CLIPS):
        scene = plan.scene()
        for index in range(scene.frames):
            image, ids = draw(scene, index, (seed, number))
            write_bytes(root / "JPEGImages/480p" / plan.name / f"{index:05d}.jpg", jpeg_bytes(image))
            write_bytes(root / "Annotations/480p" / plan.name / f"{index:05d}.png", annotation_bytes(ids))
    write_text(root / "ImageSets/2017/val.txt", "".join(f"{plan.name}\n" for plan in CLIPS))
    semantics = {plan.name: {str(number): label for number, label in enumerate(plan.labels, 1)} for plan in CLIPS}
    write_text(root / "davis_semantics.json", to_json(semantics))
