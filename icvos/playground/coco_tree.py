"""The playground's support images, written as a COCO 2017 val tree."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from icvos.categories import BY_NAME, CATEGORIES
from icvos.files import AnyPath, to_json, write_bytes, write_text
from icvos.playground.davis_tree import jpeg_bytes
from icvos.playground.photographs import Polygon, as_bytes, bridged, cut_out, fill, outlines, photograph
from icvos.playground.scene import Affine, Layer, Pose, after, lit, place, stamp, texture, to_image, turn
from icvos.types import Image, Size

_SUPERCATEGORIES = (
    (1, "person"), (2, "vehicle"), (10, "outdoor"), (16, "animal"), (27, "accessory"), (34, "sports"), (44, "kitchen"), (52, "food"),
    (62, "furniture"), (72, "electronic"), (78, "appliance"), (84, "indoor"),
)  # fmt: skip
_LICENSES = [
    {"id": 1, "name": "CC0 1.0", "url": "https://creativecommons.org/publicdomain/zero/1.0/"},
    {"id": 2, "name": "Public domain (NASA)", "url": "https://www.nasa.gov/nasa-brand-center/images-and-media/"},
]
_CLASS_OF = {
    "cat": "cat", "cat-bust": "cat", "astronaut": "person", "camera-man": "person", "coffee-cup": "cup", "motorcycle-right": "motorcycle",
}  # fmt: skip
_NORMAL, _DIM, _BRIGHT, _WARM, _COLD = (1.0, 1.0, 1.0), (0.7, 0.7, 0.74), (1.2, 1.2, 1.16), (1.1, 1.0, 0.84), (0.86, 0.97, 1.14)
_MIRROR = np.array([[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])

Tint = tuple[float, float, float]
Kind = Literal["object", "crowd"]


@dataclass(frozen=True, slots=True)
class Placed:
    """A cut-out in a support image: where its centre comes to lie, and whether it is annotated alone or with a crowd."""

    outline: str
    pose: Pose
    flip: bool = False
    light: Tint = _NORMAL
    kind: Kind = "object"


@dataclass(frozen=True, slots=True)
class InPhotograph:
    """A support image that is a part of the photograph itself: `box` (left, top, right, bottom) of it, perhaps mirrored."""

    id: int
    outline: str
    size: Size
    box: tuple[float, float, float, float]
    flip: bool = False
    angle: float = 0.0
    light: Tint = _NORMAL


@dataclass(frozen=True, slots=True)
class OverTexture:
    """A support image of cut-outs over a dyed texture."""

    id: int
    texture: str
    tint: Tint
    placed: tuple[Placed, ...]
    size: Size = (360, 480)


_BRICK, _GRASS, _GRAVEL = "brick.png", "grass.png", "gravel.png"
_RED, _GREEN, _SAND, _SLATE, _STRAW = (1.0, 0.62, 0.5), (0.55, 0.85, 0.35), (1.15, 1.0, 0.8), (0.62, 0.68, 0.78), (1.25, 1.1, 0.6)

PLANS: tuple[InPhotograph | OverTexture, ...] = (
    InPhotograph(1001, "astronaut", (420, 420), (0, 0, 512, 512)),
    InPhotograph(1002, "astronaut", (360, 480), (60, 4, 460, 304), flip=True, light=_DIM),
    InPhotograph(1003, "camera-man", (420, 420), (0, 0, 512, 512)),
    InPhotograph(1004, "camera-man", (360, 480), (4, 40, 404, 340), flip=True, light=_BRIGHT),
    OverTexture(1005, _GRASS, _GREEN, (Placed("camera-man", Pose(200, 215, 0.78), light=_WARM),)),
    OverTexture(1006, _BRICK, _SLATE, (Placed("astronaut", Pose(280, 232, 0.62, -5), light=_COLD),)),
    InPhotograph(4001, "motorcycle-right", (324, 480), (0, 0, 741, 500)),
    InPhotograph(4002, "motorcycle-right", (350, 480), (10, 4, 680, 492), flip=True, light=_DIM),
    InPhotograph(4003, "motorcycle-right", (320, 440), (20, 14, 660, 480), angle=-1.0, light=_WARM),
    OverTexture(4004, _GRASS, _GREEN, (Placed("motorcycle-right", Pose(240, 190, 0.62)),)),
    OverTexture(4005, _GRAVEL, _SAND, (Placed("motorcycle-right", Pose(255, 175, 0.5, -6), flip=True, light=_BRIGHT),)),
    OverTexture(4006, _BRICK, _SAND, (Placed("motorcycle-right", Pose(235, 180, 0.72, 4), light=_COLD),)),
    InPhotograph(17001, "cat", (300, 451), (0, 0, 451, 300)),
    InPhotograph(17002, "cat", (320, 480), (18, 2, 450, 290), flip=True, light=_DIM),
    InPhotograph(17003, "cat", (360, 480), (70, 8, 446, 290), angle=1.0, light=_BRIGHT),
    OverTexture(17004, _GRAVEL, _SAND, (Placed("cat-bust", Pose(230, 235, 0.8)),)),
    OverTexture(17005, _BRICK, _RED, (Placed("cat-bust", Pose(290, 270, 0.62, 8), flip=True, light=_COLD),)),
    OverTexture(
        17006,
        _GRASS,
        _GREEN,
        (Placed("cat-bust", Pose(120, 290, 0.5, -4), light=_WARM), Placed("cat-bust", Pose(350, 262, 0.58), flip=True, light=_DIM)),
    ),
    InPhotograph(47001, "coffee-cup", (320, 480), (0, 0, 600, 400)),
    InPhotograph(47002, "coffee-cup", (360, 480), (44, 2, 564, 392), flip=True, light=_BRIGHT),
    InPhotograph(47003, "coffee-cup", (360, 400), (130, 8, 460, 305), angle=1.0, light=_DIM),
    OverTexture(47004, _GRAVEL, _SLATE, (Placed("coffee-cup", Pose(225, 185, 0.66, 14)),)),
    OverTexture(47005, _GRASS, _STRAW, (Placed("coffee-cup", Pose(270, 170, 0.55, -10), flip=True, light=_BRIGHT),)),
    OverTexture(
        47006,
        _BRICK,
        _SAND,
        (Placed("coffee-cup", Pose(130, 140, 0.46)), Placed("coffee-cup", Pose(350, 230, 0.5, 20), flip=True, light=_DIM)),
    ),
    # for the rules to refuse: a cup too small to be a support, and a crowd
    OverTexture(
        90001,
        _GRAVEL,
        _SAND,
        (Placed("camera-man", Pose(165, 225, 0.74)), Placed("coffee-cup", Pose(400, 90, 0.06)), Placed("coffee-cup", Pose(380, 240, 0.3))),
    ),
    OverTexture(
        90002,
        _BRICK,
        _RED,
        (
            Placed("astronaut", Pose(130, 240, 0.52)),
            *(Placed("cat-bust", Pose(258 + 62 * step, 70 + 25 * (step % 2), 0.15), flip=step % 2 == 1, kind="crowd") for step in range(4)),
            Placed("cat-bust", Pose(370, 290, 0.48), light=_WARM),
        ),
    ),
)


def clipped(polygon: Polygon, size: Size) -> Polygon:
    """The part of a polygon inside an image of `size`, by Sutherland and Hodgman's method; perhaps of no points."""
    for axis, bound, sign in ((0, 0.0, 1.0), (0, float(size[1]), -1.0), (1, 0.0, 1.0), (1, float(size[0]), -1.0)):
        kept: list[Polygon] = []
        for here, following in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
            inside, next_inside = sign * (here[axis] - bound) >= 0, sign * (following[axis] - bound) >= 0
            if inside:
                kept.append(here)
            if inside != next_inside:
                kept.append(here + (following - here) * (bound - here[axis]) / (following[axis] - here[axis]))
        polygon = np.array(kept).reshape(-1, 2)
    return polygon


def _moved(outline: str, to_image_pixels: Affine, size: Size) -> tuple[Polygon, ...]:
    """The outline's polygons after the map between pixel centres, cut to the image."""
    linear, shift = to_image_pixels[:, :2], to_image_pixels[:, 2]
    moved = (clipped((polygon - 0.5) @ linear.T + shift + 0.5, size) for polygon in bridged(outlines()[outline]))
    return tuple(np.round(polygon, 2) for polygon in moved if len(polygon) > 2)


def _part_of_photograph(plan: InPhotograph) -> tuple[Image, list[tuple[Placed, tuple[Polygon, ...]]]]:
    left, top, right, bottom = plan.box
    height, width = plan.size
    about, to = ((left + right - 1) / 2, (top + bottom - 1) / 2), ((width - 1) / 2, (height - 1) / 2)
    to_picture = turn(width / (right - left), plan.angle, about, to)
    if plan.flip:
        to_picture = after(_MIRROR + np.array([[0.0, 0.0, width - 1.0], [0.0, 0.0, 0.0]]), to_picture)
    source = photograph(outlines()[plan.outline].photograph)
    image = cv2.warpAffine(source, to_picture, (width, height), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE)
    return lit(as_bytes(image), plan.light), [(Placed(plan.outline, Pose()), _moved(plan.outline, to_picture, plan.size))]


def _over_texture(plan: OverTexture) -> tuple[Image, list[tuple[Placed, tuple[Polygon, ...]]]]:
    canvas = texture(plan.texture, plan.size, tint=plan.tint).astype(np.float32)
    found = []
    for placed in plan.placed:
        sprite = cut_out(placed.outline, placed.flip)
        to_picture = place(sprite, placed.pose)
        stamp(canvas, np.zeros(plan.size, np.uint8), Layer(sprite, (), light=placed.light, shadow=True), to_picture)
        from_photograph = turn(1.0, 0.0, sprite.origin, (0.0, 0.0))
        if placed.flip:
            width = sprite.colours[0].shape[1]
            from_photograph = after(_MIRROR + np.array([[0.0, 0.0, width - 1.0], [0.0, 0.0, 0.0]]), from_photograph)
        found.append((placed, _moved(placed.outline, after(to_picture, from_photograph), plan.size)))
    return to_image(canvas), found


def _box(polygons: tuple[Polygon, ...]) -> list[float]:
    points = np.concatenate(polygons)
    low, high = points.min(axis=0), points.max(axis=0)
    return [round(float(value), 2) for value in (*low, *(high - low))]


def _object(polygons: tuple[Polygon, ...], size: Size) -> dict[str, Any]:
    segmentation = [[float(value) for value in polygon.ravel()] for polygon in polygons]
    area = float(coco_mask.area(coco_mask.merge(coco_mask.frPyObjects(segmentation, *size))))
    return {"segmentation": segmentation, "area": area, "iscrowd": 0, "bbox": _box(polygons)}


def _crowd(polygons: tuple[Polygon, ...], size: Size) -> dict[str, Any]:
    """COCO's form of a crowd: run lengths down the columns, the first of background."""
    mask = (fill(polygons, size) >= 128).ravel(order="F")
    edges = np.flatnonzero(np.diff(mask.astype(np.int8), prepend=0)) if mask.any() else np.zeros(0, np.int64)
    counts = np.diff(np.concatenate(([0], edges, [mask.size]))).tolist()
    return {"segmentation": {"counts": counts, "size": list(size)}, "area": float(mask.sum()), "iscrowd": 1, "bbox": _box(polygons)}


def _annotations(found: list[tuple[Placed, tuple[Polygon, ...]]], image_id: int, size: Size) -> Iterator[dict[str, Any]]:
    number = image_id * 100
    crowd = [(placed, polygons) for placed, polygons in found if placed.kind == "crowd"]
    entries = [(placed.outline, _object(polygons, size)) for placed, polygons in found if placed.kind == "object"]
    if crowd:
        entries.append((crowd[0][0].outline, _crowd(tuple(polygon for _, polygons in crowd for polygon in polygons), size)))
    for outline, entry in entries:
        number += 1
        yield {**entry, "image_id": image_id, "category_id": BY_NAME[_CLASS_OF[outline]].id, "id": number}


def _categories() -> list[dict[str, Any]]:
    firsts = [first for first, _ in _SUPERCATEGORIES]
    groups = [_SUPERCATEGORIES[bisect_right(firsts, category.id) - 1][1] for category in CATEGORIES]
    return [{"supercategory": group, "id": category.id, "name": category.name} for group, category in zip(groups, CATEGORIES, strict=True)]


def coco_paths() -> Iterator[str]:
    """Every file of the tree, relative to its root."""
    yield from (f"val2017/{plan.id:012d}.jpg" for plan in PLANS)
    yield "annotations/instances_val2017.json"


def write_coco(root: AnyPath, seed: int) -> None:
    """Draws every support image and writes the tree under `root`."""
    root = Path(root)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for plan in PLANS:
        image, found = _part_of_photograph(plan) if isinstance(plan, InPhotograph) else _over_texture(plan)
        exposure = np.random.default_rng((seed, plan.id)).uniform(0.94, 1.06)
        name = f"{plan.id:012d}.jpg"
        write_bytes(root / "val2017" / name, jpeg_bytes(lit(image, (exposure,) * 3)))
        license_id = 2 if any(placed.outline == "astronaut" for placed, _ in found) else 1
        images.append({"license": license_id, "file_name": name, "height": plan.size[0], "width": plan.size[1], "id": plan.id})
        annotations.extend(_annotations(found, plan.id, plan.size))
    info = {"description": "icvos playground: photographs of scikit-image, cut out and set anew", "version": "1.0"}
    document = {"info": info, "licenses": _LICENSES, "images": images, "annotations": annotations, "categories": _categories()}
    write_text(root / "annotations/instances_val2017.json", to_json(document))
