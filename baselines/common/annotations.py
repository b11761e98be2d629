"""How the object of a support can be marked: by its mask, a box, a scribble or points (VRP-SAM, Section 3.1)."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import cv2
import numpy as np

from icvos.errors import UserInputError, did_you_mean
from icvos.types import Mask

Annotation: TypeAlias = Literal["mask", "box", "scribble", "point"]
ANNOTATIONS: tuple[Annotation, ...] = get_args(Annotation)
POINTS = 20  # pixels of a point annotation, or all there are
STROKES, BENDS = 3, 4  # of a scribble: strokes, and places that each of them visits
PEN = 0.01  # of the image's diagonal: a stroke's width


def annotated(mask: Mask, kind: Annotation, rng: np.random.Generator) -> Mask:
    """What an annotator who marks so would leave of a true mask.

    Args:
        mask: (H, W) bool.
        kind: ``mask``: itself; ``box``: its bounding box, filled; ``point``: 20 of its pixels (fewer if it has fewer);
            ``scribble``: three bent strokes inside it.
        rng: decides which pixels.

    Returns:
        (H, W) bool; empty where the mask is. Points and scribbles lie inside the mask.

    Raises:
        UserInputError: no such kind.
    """
    if kind not in ANNOTATIONS:
        raise UserInputError("no such annotation of a support", kind, fix=did_you_mean(kind, ANNOTATIONS))
    if kind == "mask" or not mask.any():
        return mask
    ys, xs = np.nonzero(mask)
    marked = np.zeros_like(mask)
    if kind == "box":
        marked[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1] = True
        return marked
    if kind == "point":
        chosen = rng.choice(len(ys), min(POINTS, len(ys)), replace=False)
        marked[ys[chosen], xs[chosen]] = True
        return marked
    return _scribbled(mask, np.column_stack([xs, ys]), rng)


def _scribbled(mask: Mask, inside: np.ndarray, rng: np.random.Generator) -> Mask:
    """Strokes through random pixels of the object, cut where they leave it."""
    canvas = np.zeros(mask.shape, np.uint8)
    width = max(1, round(PEN * float(np.hypot(*mask.shape))))
    for _ in range(STROKES):
        visited = inside[rng.choice(len(inside), min(BENDS, len(inside)), replace=False)]
        ordered = visited[np.argsort(visited @ rng.normal(size=2))]  # one way across the object, not to and fro
        cv2.polylines(canvas, [ordered.astype(np.int32)], False, 1, width)
        canvas[visited[:, 1], visited[:, 0]] = 1  # of a stroke through a single pixel nothing is drawn
    return mask & (canvas > 0)
