"""What it takes to open COCO for training: icvos' index beside pycocotools' `COCO`, on annotations made at train2017's size.

    python benchmarks/coco_index.py [--images 118287] [--annotations 860001] [--folder DIR]

Each figure is of a process of its own: seconds, and the peak of its memory. *first* reads the JSON and writes the index, *again*
maps it; both then read the masks of 200 pictures. The annotations are made by a seed: boxes, polygons of about the lengths
of COCO's, one crowd in a hundred. With `--folder` they are kept.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np

from icvos.categories import CATEGORIES

WAYS = ("icvos, first", "icvos, again", "pycocotools")


def write_annotations(root: Path, images: int, annotations: int) -> Path:
    """A folder as COCO's: an instances file, and empty files in the places of its pictures."""
    rng = np.random.default_rng(0)
    (root / "train2017").mkdir(parents=True, exist_ok=True)
    path = root / "annotations" / "instances_train2017.json"
    path.parent.mkdir(exist_ok=True)
    names = [f"{number:012d}.jpg" for number in range(1, images + 1)]
    for name in names:
        (root / "train2017" / name).touch()
    categories = [{"id": category.id, "name": category.name} for category in CATEGORIES]
    pictures = [{"id": number, "file_name": name, "height": 480, "width": 640} for number, name in enumerate(names, 1)]
    with path.open("w") as stream:
        stream.write(f'{{"images": {json.dumps(pictures)}, "categories": {json.dumps(categories)}, "annotations": [')
        for number in range(annotations):
            stream.write((", " if number else "") + json.dumps(_annotation(number + 1, int(rng.integers(1, images + 1)), rng)))
        stream.write("]}")
    return path


def _annotation(number: int, picture: int, rng: np.random.Generator) -> dict[str, object]:
    """A star around a point: 12 to 60 corners, as polygons of COCO have."""
    corners = int(rng.integers(12, 60))
    angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
    reach = rng.uniform(10, 120) * rng.uniform(0.6, 1, corners)
    xs, ys = (np.clip(rng.uniform(0, most) + reach * turn(angles), 0, most) for most, turn in ((640, np.cos), (480, np.sin)))
    outline = np.stack([xs, ys], 1).round(2).ravel().tolist()
    left, top, right, bottom = float(xs.min()), float(ys.min()), float(xs.max()), float(ys.max())
    crowd = number % 100 == 0
    area = abs(float(np.dot(xs, np.roll(ys, 1)) - np.dot(ys, np.roll(xs, 1)))) / 2
    return {
        "id": number,
        "image_id": picture,
        "category_id": CATEGORIES[int(rng.integers(len(CATEGORIES)))].id,
        "segmentation": {"size": [480, 640], "counts": [100, 50, 307050]} if crowd else [outline],
        "area": round(area, 2),
        "bbox": [round(left, 2), round(top, 2), round(right - left, 2), round(bottom - top, 2)],
        "iscrowd": int(crowd),
    }


def measure(way: str, root: Path) -> None:
    """Open, read the masks of 200 pictures, and say what it took."""
    path = root / "annotations" / "instances_train2017.json"
    opened, reading, pixels = _pycocotools(path) if way == "pycocotools" else _icvos(path, root / "train2017")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"open": opened, "masks": reading, "peak_mib": peak, "pixels": pixels}))


def _pycocotools(path: Path) -> tuple[float, float, int]:
    from pycocotools.coco import COCO

    started = time.perf_counter()
    with redirect_stdout(StringIO()):
        data = COCO(str(path))
    opened, pixels = time.perf_counter(), 0
    for picture in data.getImgIds()[:200]:
        found = [item for item in data.loadAnns(data.getAnnIds(picture)) if not item["iscrowd"]]
        for category in {item["category_id"] for item in found}:
            pixels += int(np.any([data.annToMask(item) for item in found if item["category_id"] == category], 0).sum())
    return opened - started, time.perf_counter() - opened, pixels


def _icvos(path: Path, pictures: Path) -> tuple[float, float, int]:
    from icvos.training.coco_index import CocoClassPictures

    started = time.perf_counter()
    data = CocoClassPictures(path, pictures, smallest=0.0)
    opened = time.perf_counter() - started
    asked = [(picture, category) for picture in range(200) for category in data.categories if data.mask(picture, category).any()]
    started = time.perf_counter()
    pixels = sum(int(data.mask(*which).sum()) for which in asked)
    return opened, time.perf_counter() - started, pixels


def main() -> None:
    """Make the annotations, and measure each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=118_287)
    parser.add_argument("--annotations", type=int, default=860_001)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.way:
        measure(given.way, given.folder)
        return
    with tempfile.TemporaryDirectory() as scratch:
        root = given.folder or Path(scratch)
        path = root / "annotations" / "instances_train2017.json"
        if not path.is_file():
            write_annotations(root, given.images, given.annotations)
        print(f"{given.images} pictures, {given.annotations} annotations, {path.stat().st_size / 1e6:.0f} MB of JSON")
        said = {way: _alone(way, root, Path(scratch) / "cache") for way in WAYS}
    for way, found in said.items():
        ratios = (found["open"] / said["pycocotools"]["open"], found["peak_mib"] / said["pycocotools"]["peak_mib"])
        print(
            f"{way:14} open {found['open']:6.2f} s ({ratios[0]:.3f} x), masks of 200 pictures {found['masks']:5.2f} s, "
            f"peak {found['peak_mib']:6.0f} MiB ({ratios[1]:.2f} x), {found['pixels']} pixels"
        )


def _alone(way: str, root: Path, cache: Path) -> dict[str, float]:
    command = [sys.executable, __file__, "--way", way, "--folder", str(root)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | {"XDG_CACHE_HOME": str(cache)})
    found: dict[str, float] = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    main()
