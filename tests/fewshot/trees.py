"""Toy trees of images: VOC and COCO in their own layouts, each class a box of enough pixels."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from toys import write_frame, write_ids

from icvos.categories import BY_NAME
from icvos.training.class_pictures import VOC_NAMES

SIZE = (64, 80)
FOLD0 = VOC_NAMES[:5]


def make_voc(root: Path, classes: Sequence[str] = FOLD0, each: int = 3, split: bool = True) -> Path:
    """`each` pictures of every class, a box of 50 x 50 pixels that moves, with a void border of two pixels above it."""
    stems = []
    for place, name in enumerate(classes):
        for number in range(each):
            stem = f"2007_{100 * place + number:06d}"
            labels = np.zeros(SIZE, np.uint8)
            left = 2 + 3 * number + place
            labels[8:58, left : left + 50] = VOC_NAMES.index(name) + 1
            labels[6:8, left : left + 50] = 255
            write_frame(root / "JPEGImages" / f"{stem}.jpg", place + number, SIZE)
            write_ids(root / "SegmentationClassAug" / f"{stem}.png", labels)
            stems.append(stem)
    if split:
        (root / "ImageSets/Segmentation").mkdir(parents=True)
        (root / "ImageSets/Segmentation/val.txt").write_text("\n".join(stems) + "\n")
    return root


def make_coco(root: Path, boxes: Mapping[int, Sequence[tuple[str, int, int, int, int]]], split: str = "val2017") -> Path:
    """A COCO tree: picture id -> boxes (class, left, top, width, height), painted in this order."""
    (root / split).mkdir(parents=True)
    (root / "annotations").mkdir(exist_ok=True)
    images, annotations = [], []
    for image_id, found in boxes.items():
        file = f"{'COCO_val2014_' if split == 'val2014' else ''}{image_id:012d}.jpg"
        write_frame(root / split / file, image_id, SIZE)
        images.append({"id": image_id, "file_name": file, "height": SIZE[0], "width": SIZE[1]})
        for name, left, top, width, height in found:
            outline = [left, top, left + width - 1, top, left + width - 1, top + height - 1, left, top + height - 1]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": BY_NAME[name].id,
                    "area": width * height,
                    "segmentation": [outline],
                    "iscrowd": 0,
                }
            )
    (root / "annotations" / f"instances_{split}.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    return root
