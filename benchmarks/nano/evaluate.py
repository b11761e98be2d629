"""How well the embedded `sam2_nano` answers clicks and boxes, on the 129 VOC pictures that its training never saw.

    python benchmarks/nano/evaluate.py --data ../shared/data [--weights FILE]

IoU after one click in the object's middle, after two more in the middle of the largest error, and for its box. A box filled
to its brim is the floor. Sizes are the pictures' own. VOC names classes and not objects, so there are two lists: every class
of a picture as one object (void left out, as VOC's own evaluation does), and beside the classes also their large connected
parts, many of which are pieces of something that another class hides (void counts as background).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from icvos.masks import read_ids
from icvos.metrics import region_similarity
from icvos.models import build_sam2
from icvos.propagate.sam2 import Sam2Propagator
from icvos.training.pictures import SMALLEST_OBJECT, VOID, Picture, centre_of, held_back, voc_pictures
from icvos.training.prompts import correction
from icvos.types import BoxPrompt, Image, Mask, PointPrompt


def clicked(propagator: Sam2Propagator, image: Image, truth: Mask, void: Mask | None, clicks: int) -> list[float]:
    """IoU after each click; each further one corrects what came out."""
    points, labels, scores = [centre_of(truth)], [1], []
    for _ in range(clicks):
        prompt = PointPrompt(np.array(points, np.float32), np.array(labels, np.int32))
        found = next(iter(propagator.propagate([image], [prompt])))[0]
        scores.append(region_similarity(found, truth, void=void))
        point, label = correction(truth, found, np.random.default_rng(0))
        points.append(tuple(point[0]))
        labels.append(int(label[0]))
    return scores


def boxed(propagator: Sam2Propagator, image: Image, truth: Mask, void: Mask | None) -> tuple[float, float]:
    """IoU for the object's box, and of the box itself."""
    ys, xs = np.nonzero(truth)
    box = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])
    filled = np.zeros_like(truth)
    filled[box[1] : box[3], box[0] : box[2]] = True
    found = next(iter(propagator.propagate([image], [BoxPrompt(box.astype(np.float32))])))[0]
    return region_similarity(found, truth, void=void), region_similarity(filled, truth, void=void)


def main() -> None:
    """Print means over objects."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder with voc2012_small")
    parser.add_argument("--weights", help="instead of the embedded ones")
    parser.add_argument("--limit", type=int, help="only so many pictures")
    options = parser.parse_args()
    propagator = Sam2Propagator(build_sam2("sam2_nano", options.weights, "cpu"))
    _, pictures = held_back(voc_pictures(options.data / "voc2012_small"), 25)
    lists = {"classes": [], "classes and parts": []}
    for picture in pictures[: options.limit]:
        image, masks = picture.read()
        lists["classes"] += [measured(propagator, image, *marked) for marked in classes_of(picture)]
        lists["classes and parts"] += [measured(propagator, image, mask, None) for mask in masks]
    names = ("1 click", "3 clicks", "box", "the box itself")
    for what, rows in lists.items():
        means = dict(zip(names, np.mean(rows, 0).round(4).tolist(), strict=True))
        print(json.dumps({"objects": what, "count": len(rows), **means}))


def classes_of(picture: Picture) -> list[tuple[Mask, Mask]]:
    """The mask of every class that is not too small, and void."""
    values = read_ids(picture.class_mask)
    void = values == VOID
    masks = [values == value for value in np.unique(values[(values != 0) & ~void])]
    return [(mask, void) for mask in masks if mask.mean() >= SMALLEST_OBJECT]


def measured(propagator: Sam2Propagator, image: Image, truth: Mask, void: Mask | None) -> tuple[float, float, float, float]:
    """IoU after one click, after three, for a box, and of the box itself."""
    one, _, three = clicked(propagator, image, truth, void, 3)
    return (one, three, *boxed(propagator, image, truth, void))


if __name__ == "__main__":
    main()
