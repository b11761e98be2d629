"""The photographs of scikit-image's wheel, the outlines drawn on them, and the cut-outs that both give.

An outline is data (``outlines.json``): polygons in photograph pixels, x right and y down from the upper left corner, of
what belongs to the object, of the holes one looks through, and of what it carries. Carried things (a helmet, a saucer, a
tripod) are cut out with the object so that it does not look bitten, and are no part of its mask.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from icvos.errors import DataError
from icvos.masks import decode_image
from icvos.types import Image

Polygon: TypeAlias = NDArray[np.float64]  # (N, 2) x, y
Plane: TypeAlias = NDArray[np.uint8]  # (H, W), 0..255

_SUBPIXEL_BITS = 4
_MARGIN = 4  # transparent pixels around a cut-out, so that its soft edge is never cut
_SOFTNESS = 0.8  # of an edge, in pixels of the photograph
_HALF_SCALE = 0.6  # below this scale a sprite is drawn from its halved copy, which keeps fine texture from flickering


@dataclass(frozen=True, slots=True)
class Outline:
    """What was drawn on one photograph. `mirrored_above` rows above the photograph are its mirror image (negative y)."""

    photograph: str
    mirrored_above: int
    object: tuple[Polygon, ...]
    holes: tuple[Polygon, ...]
    carried: tuple[Polygon, ...]


@dataclass(frozen=True, slots=True)
class Sprite:
    """A cut-out to be placed in a picture, at full and at half size.

    `colours` are (H, W, 3); `alphas` (H, W, 2) hold how much of a pixel is shown and how much of it is the object.
    `origin` is the photograph's pixel under the upper left corner of the full size, `centre` the point it turns about.
    """

    colours: tuple[Image, Image]
    alphas: tuple[NDArray[np.uint8], NDArray[np.uint8]]
    origin: tuple[float, float]
    centre: tuple[float, float]

    def level(self, scale: float) -> int:
        """Which copy to draw at `scale`: 0 the full size, 1 the half."""
        return int(scale < _HALF_SCALE)


def as_bytes(pixels: Any) -> NDArray[np.uint8]:
    """What OpenCV gives back, named as what it is: 8-bit pixels."""
    return np.asarray(pixels, np.uint8)


def sprite_of(colour: Image, shown: Plane, mask: Plane, origin: tuple[float, float] = (0.0, 0.0)) -> Sprite:
    """A sprite out of a picture, what of it is shown, and what of that is the object, all of one size."""
    height, width = shown.shape
    alphas = np.dstack((shown, mask))
    half = (max(1, width // 2), max(1, height // 2))
    small_colour, small_alphas = (as_bytes(cv2.resize(pixels, half, interpolation=cv2.INTER_AREA)) for pixels in (colour, alphas))
    return Sprite((colour, small_colour), (alphas, small_alphas), origin, ((width - 1) / 2, (height - 1) / 2))


@cache
def photograph(name: str) -> Image:
    """The photograph `name` of scikit-image, (H, W, 3) RGB; grey ones have three equal channels. Not to be written to.

    Raises:
        DataError: scikit-image is there without it.
    """
    path = resources.files("skimage").joinpath("data", name)
    try:
        colour = np.array(decode_image(path.read_bytes(), path))
    except FileNotFoundError as error:
        fix = "run: pip install --force-reinstall scikit-image"
        raise DataError("photograph missing", path, expected="scikit-image's own wheel", fix=fix) from error
    colour.flags.writeable = False
    return colour


@cache
def outlines() -> dict[str, Outline]:
    """Every outline by name."""
    text = resources.files("icvos.playground").joinpath("outlines.json").read_text(encoding="utf-8")
    return {name: _outline(entry) for name, entry in json.loads(text).items()}


def _outline(entry: dict[str, Any]) -> Outline:
    drawn, holes, carried = (
        tuple(np.array(flat, np.float64).reshape(-1, 2) for flat in entry.get(key, ())) for key in ("object", "holes", "carried")
    )
    return Outline(entry["photograph"], entry.get("mirrored_above", 0), drawn, holes, carried)


def fill(polygons: tuple[Polygon, ...], size: tuple[int, int], *, offset: tuple[float, float] = (0.0, 0.0)) -> Plane:
    """The polygons' inside as 255, (H, W), after `offset` (x, y) is added to them; edges antialiased."""
    plane = np.zeros(size, np.uint8)
    for polygon in polygons:
        points = np.round((polygon + offset - 0.5) * (1 << _SUBPIXEL_BITS)).astype(np.int32)
        cv2.fillPoly(plane, [points], 255, lineType=cv2.LINE_AA, shift=_SUBPIXEL_BITS)
    return plane


def photograph_with_margin(outline: Outline) -> Image:
    """The photograph under its mirrored rows, where the outline has some."""
    return np.pad(photograph(outline.photograph), ((outline.mirrored_above, 0), (0, 0), (0, 0)), mode="symmetric")


@cache
def cut_out(name: str, flip: bool = False) -> Sprite:
    """The sprite of the outline `name`, mirrored left to right if `flip`."""
    outline = outlines()[name]
    colour = photograph_with_margin(outline)
    size, offset = (colour.shape[0], colour.shape[1]), (0.0, float(outline.mirrored_above))
    mask = np.minimum(fill(outline.object, size, offset=offset), 255 - fill(outline.holes, size, offset=offset))
    shown = np.maximum(mask, fill(outline.carried, size, offset=offset))
    x, y, width, height = cv2.boundingRect(shown)
    inside = (slice(y, y + height), slice(x, x + width))
    soft = [np.pad(as_bytes(cv2.GaussianBlur(plane, (0, 0), _SOFTNESS))[inside], _MARGIN) for plane in (shown, mask)]
    picture = np.pad(colour[inside], ((_MARGIN, _MARGIN), (_MARGIN, _MARGIN), (0, 0)), mode="edge")
    pixels = [np.ascontiguousarray(plane[:, ::-1]) for plane in (picture, *soft)] if flip else [picture, *soft]
    return sprite_of(pixels[0], pixels[1], pixels[2], (float(x - _MARGIN), float(y - _MARGIN - outline.mirrored_above)))


def bridged(outline: Outline) -> tuple[Polygon, ...]:
    """The object's polygons with each hole let in by a cut of no width, since COCO's polygons know no holes."""
    parts = list(outline.object)
    for hole in outline.holes:
        distances = np.linalg.norm(parts[0][:, None] - hole[None], axis=2)  # (N, M)
        outer, inner = np.unravel_index(int(distances.argmin()), distances.shape)
        loop = np.roll(hole, -int(inner), axis=0)
        if _signed_area(loop) * _signed_area(parts[0]) > 0:
            loop = np.roll(loop[::-1], 1, axis=0)
        at = int(outer) + 1
        parts[0] = np.concatenate((parts[0][:at], loop, loop[:1], parts[0][at - 1 :]))
    return tuple(parts)


def _signed_area(polygon: Polygon) -> float:
    x, y = polygon.T
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2
