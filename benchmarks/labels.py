"""How good the helpers of labelling and review are: suggested classes beside guessing, look-alike warnings beside chance.

Both are measured on real COCO objects that gave no prototype: those of the split train2017, with prototypes from val2017.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image as PillowImage

from curation.look_alikes import look_alike
from curation.sources.coco import Coco
from curation.suggest import Looker, class_prototypes
from icvos.categories import CATEGORIES
from icvos.masks import decode_rle, read_image
from icvos.types import Category, Clip, Frame, Image, Mask, Tube

SMALLEST = 1024  # pixels of an object that is asked about
LARGE_TOO = 0.25  # another object counts as missed where it has this part of the largest one's pixels


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--coco", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=10**6, help="objects and pictures to ask about")
    parser.add_argument("--per-class", type=int, default=20)
    given = parser.parse_args()
    looker = Looker()
    suggestions(given.coco, looker, given.limit, given.per_class)
    look_alikes(given.coco, looker, given.limit)


def objects_by_picture(pool: Coco) -> Iterator[tuple[Category, Path, list[Mask]]]:
    """Each picture of each class, with the masks of the class's objects, the largest first."""
    for category in CATEGORIES:
        for candidate in pool.candidates(category)[0]:
            masks = [pool.mask_of(candidate.image_id, [number]) for number in candidate.annotations]
            decoded = [decode_rle(mask) for mask in masks if mask]
            yield category, pool.root / candidate.file, sorted(decoded, key=lambda mask: -int(mask.sum()))


def suggestions(root: Path, looker: Looker, limit: int, per_class: int) -> None:
    """How often the right class is the first, and among the first five; the alternative guesses the most common classes."""
    start = time.perf_counter()
    prototypes = class_prototypes(Coco(root, "val2017"), looker, per_class)
    made = time.perf_counter() - start
    asked: list[tuple[str, tuple[Image, Mask]]] = []
    for category, path, masks in objects_by_picture(Coco(root, "train2017")):
        asked += [(category.name, (read_image(path), mask)) for mask in masks[:3] if mask.sum() >= SMALLEST]
    asked = asked[:: max(1, len(asked) // limit)]
    start = time.perf_counter()
    features = np.concatenate([looker.features([thing for _, thing in asked[at : at + 16]]) for at in range(0, len(asked), 16)])
    seconds = time.perf_counter() - start
    order = np.argsort(-(features @ prototypes.features.T), axis=1)
    names = np.array([category.name for category in prototypes.classes])[order]
    truth = [name for name, _ in asked]
    common = [name for name, _ in Counter(truth).most_common(5)]
    first, five = (np.mean([name in row[:count] for name, row in zip(truth, names, strict=True)]) for count in (1, 5))
    guess_first, guess_five = (np.mean([name in common[:count] for name in truth]) for count in (1, 5))
    print(f"suggestions: {len(truth)} objects of {len(set(truth))} classes, prototypes of {len(prototypes.classes)} in {made:.1f} s")
    print(f"  icvos               first {first:.2f}, among five {five:.2f}, {1000 * seconds / len(asked):.0f} ms an object")
    print(f"  the commonest five  first {guess_first:.2f}, among five {guess_five:.2f}")


def look_alikes(root: Path, looker: Looker, limit: int) -> None:
    """How often a warning comes where only the largest object of a class has a mask: with others in the picture, and without."""
    warned: dict[bool, list[bool]] = {True: [], False: []}
    pictures: list[Any] = []
    for category, path, masks in objects_by_picture(Coco(root, "train2017")):
        others = [mask for mask in masks[1:] if mask.sum() >= LARGE_TOO * masks[0].sum()]
        if masks[0].mean() >= 0.01 and (others or len(masks) == 1):
            pictures.append((category, path, masks[0], bool(others)))
    with TemporaryDirectory() as folder:
        for category, path, mask, more in pictures[:: max(1, len(pictures) // limit)]:
            file = Path(folder) / "mask.png"
            PillowImage.fromarray(mask.astype(np.uint8)).save(file)
            clip = Clip("coco", path.stem, (mask.shape[0], mask.shape[1]), (Frame("0", path, file),))
            warned[more].append(look_alike(Tube(clip, category, (1,)), looker) is not None)
    counts = ", ".join(f"{sum(found)} of {len(found)} {what}" for found, what in ((warned[True], "with more"), (warned[False], "without")))
    rates = [np.mean(found) if found else float("nan") for found in (warned[True], warned[False])]
    print(f"look-alikes: warned of {counts}; {rates[0]:.2f} and {rates[1]:.2f}, {rates[0] / max(rates[1], 1e-9):.1f} x chance")


if __name__ == "__main__":
    main()
