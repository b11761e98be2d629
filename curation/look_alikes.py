"""A warning for reviewers: the first frame shows something like the class outside of all masks.

The paper's first rule wants every instance of the class annotated there. Only a person can say; this points where to look.
The frozen backbone compares the mean feature of the tube's objects with every cell of 32 pixels that no mask touches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import cv2
import numpy as np

from curation.candidates import Warned
from curation.rules import EVERY_INSTANCE
from curation.suggest import Looker
from curation.tubes import Curated
from icvos.masks import foreground_values, read_ids, read_image
from icvos.types import Tube

LONGEST_SIDE = 640  # pixels of the frame as the backbone sees it
MARGIN = 0.2  # two cells less alike than the objects' own by this much, or less, are worth a look (benchmarks/labels.py)
_TOUCHED, _COVERED = 0.05, 0.5  # parts of a cell


def with_look_alikes(curated: Curated, looker: Looker, on_tube: Callable[[int, str], None] = lambda tubes, name: None) -> Curated:
    """The same with a warning at each tube whose first frame shows something like it outside of the masks.

    Raises:
        DataError: a first frame or its mask cannot be read.
    """
    found: dict[str, str | None] = {}
    for tube in curated.tubes:
        found[tube.id] = look_alike(tube, looker)
        on_tube(1, tube.id)
    return replace(curated, warnings=_added(curated.warnings, ((name, reason) for name, reason in found.items() if reason)))


def _added(warnings: Mapping[str, tuple[Warned, ...]], found: Iterable[tuple[str, str]]) -> dict[str, tuple[Warned, ...]]:
    return dict(warnings) | {name: (*warnings.get(name, ()), Warned(rule=EVERY_INSTANCE, reason=reason)) for name, reason in found}


def look_alike(tube: Tube, looker: Looker) -> str | None:
    """Where on the first frame something outside of all masks looks like the tube's objects, in words; None where nothing does."""
    first = tube.clip.frames[0]
    if first.mask is None:
        return None
    image, ids = read_image(first.image), read_ids(first.mask)
    scale = LONGEST_SIDE / max(image.shape[:2])
    shown = cv2.resize(image, (round(image.shape[1] * scale), round(image.shape[0] * scale)), interpolation=cv2.INTER_AREA)
    maps = looker.maps(np.asarray(shown, np.uint8)[None])[0].numpy()  # (D, h, w)
    features = maps / np.maximum(np.linalg.norm(maps, axis=0), 1e-9)
    grid = features.shape[:0:-1]  # w, h: OpenCV's order
    own = foreground_values(tube.instances, tube.clip.encoding)[ids]
    covered = cv2.resize(own.astype(np.float32), grid, interpolation=cv2.INTER_AREA)
    masked = cv2.resize((ids > 0).astype(np.float32), grid, interpolation=cv2.INTER_AREA)
    inside = covered >= min(_COVERED, float(covered.max()))
    outside = cv2.dilate((masked > _TOUCHED).astype(np.uint8), np.ones((3, 3), np.uint8)) == 0
    mean = features[:, inside].mean(1)
    likeness = np.tensordot(mean / np.linalg.norm(mean), features, 1)  # (h, w)
    if outside.sum() < 2 or not covered.any():
        return None
    best = np.sort(likeness[outside])[-2:].mean()
    if np.median(likeness[inside]) - best > MARGIN:
        return None
    row, column = np.unravel_index(np.argmax(np.where(outside, likeness, -2)), likeness.shape)
    x, y = ((place + 0.5) * side / cells for place, side, cells in ((column, image.shape[1], grid[0]), (row, image.shape[0], grid[1])))
    return f"something like the {tube.category.name} is outside of the masks on frame {first.id}, near x {x:.0f}, y {y:.0f}"
