"""How well the embedded `sam2_nano` answers clicks and boxes, on the 129 VOC pictures that its training never saw.

    python benchmarks/nano/evaluate.py --data ../shared/data [--weights FILE]

Every object of every picture: IoU after one click in its middle, after two more in the middle of the largest error, and
for its box. A box filled to its brim is the floor. Sizes are the pictures' own.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from icvos.metrics import region_similarity
from icvos.models import build_sam2
from icvos.propagate.sam2 import Sam2Propagator
from icvos.training.pictures import centre_of, held_back, voc_pictures
from icvos.training.prompts import correction
from icvos.types import BoxPrompt, Image, Mask, PointPrompt


def clicked(propagator: Sam2Propagator, image: Image, truth: Mask, clicks: int) -> list[float]:
    """IoU after each click; each further one corrects what came out."""
    points, labels, scores = [centre_of(truth)], [1], []
    for _ in range(clicks):
        prompt = PointPrompt(np.array(points, np.float32), np.array(labels, np.int32))
        found = next(iter(propagator.propagate([image], [prompt])))[0]
        scores.append(region_similarity(found, truth))
        point, label = correction(truth, found, np.random.default_rng(0))
        points.append(tuple(point[0]))
        labels.append(int(label[0]))
    return scores


def boxed(propagator: Sam2Propagator, image: Image, truth: Mask) -> tuple[float, float]:
    """IoU for the object's box, and of the box itself."""
    ys, xs = np.nonzero(truth)
    box = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])
    filled = np.zeros_like(truth)
    filled[box[1] : box[3], box[0] : box[2]] = True
    found = next(iter(propagator.propagate([image], [BoxPrompt(box.astype(np.float32))])))[0]
    return region_similarity(found, truth), region_similarity(filled, truth)


def main() -> None:
    """Print means over objects."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder with voc2012_small")
    parser.add_argument("--weights", help="instead of the embedded ones")
    parser.add_argument("--limit", type=int, help="only so many pictures")
    options = parser.parse_args()
    propagator = Sam2Propagator(build_sam2("sam2_nano", options.weights, "cpu"))
    _, pictures = held_back(voc_pictures(options.data / "voc2012_small"), 25)
    clicks, boxes = [], []
    for picture in pictures[: options.limit]:
        image, masks = picture.read()
        for truth in masks:
            clicks.append(clicked(propagator, image, truth, 3))
            boxes.append(boxed(propagator, image, truth))
    one, _, three = np.mean(clicks, 0)
    box, filled = np.mean(boxes, 0)
    means = {"objects": len(boxes), "1 click": one, "3 clicks": three, "box": box, "the box itself": filled}
    print(json.dumps({name: round(float(value), 4) for name, value in means.items()}))


if __name__ == "__main__":
    main()
