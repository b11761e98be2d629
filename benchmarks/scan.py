"""What scanning a tree of masks takes: first, from the index, and as a part of `verify`, beside Pillow with `np.unique`.

    python benchmarks/scan.py [--clips 200] [--frames 100] [--cores N] [--folder DIR]

The tree is made by a seed in MOSE's layout: discs that move and grow on 480 x 854, one to four objects a clip, palette masks as
Pillow writes them. Pillow reads the masks of some of the clips, and is checked to find the same pixels. The last lines project to
the sizes that are published. With `--folder` the tree is kept. Files are in the system's cache when they are read.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from curation.sources.mose import Mose
from curation.sources.scan import MaskScan, scan, scan_masks
from icvos.parallel import core_count

SIZE = (480, 854)
PUBLISHED = {"DAVIS": 6_208, "MOSE v1, train": 94_000, "LVOS v2": 296_401, "600k masks": 600_000}  # masks; MOSE's rounded


def write_tree(root: Path, clips: int, frames: int) -> None:
    """The tree, unless it is there."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    picture = BytesIO()
    Image.fromarray((rows + columns & 255).astype(np.uint8)).convert("RGB").save(picture, "JPEG", quality=50)  # only headers are read
    palette = [channel for value in range(256) for channel in (value, value * 7 % 256, value * 31 % 256)]
    for clip in range(clips):
        images, masks = (root / "train" / part / f"{clip:08x}" for part in ("JPEGImages", "Annotations"))
        if len(list(masks.glob("*.png"))) == frames:
            continue
        images.mkdir(parents=True, exist_ok=True)
        masks.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(clip)
        discs = [(*rng.uniform(100, 380, 2), *rng.uniform(-2, 4, 2), rng.uniform(30, 90)) for _ in range(rng.integers(1, 5))]
        for frame in range(frames):
            canvas = Image.new("P", SIZE[::-1])
            canvas.putpalette(palette)
            for number, (top, left, down, right, radius) in enumerate(discs, 1):
                y, x, reach = top + frame * down, left + frame * right, radius + frame / 4
                ImageDraw.Draw(canvas).ellipse((x - reach, y - reach, x + reach, y + reach), fill=number)
            (images / f"{frame:05d}.jpg").write_bytes(picture.getvalue())
            canvas.save(masks / f"{frame:05d}.png")


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def pillow(masks: list[Path]) -> list[dict[int, int]]:
    """The areas of each mask, as one writes it without a thought."""
    found = []
    for path in masks:
        with Image.open(path) as picture:
            values, counts = np.unique(np.asarray(picture), return_counts=True)
        found.append({int(value): int(count) for value, count in zip(values, counts, strict=True) if value})
    return found


def measure(root: Path, cores: int) -> dict[str, float]:
    """Milliseconds a mask of each way; ways on several cores are of the whole machine."""
    source = Mose(root)
    names = source.sequences()
    masks = {name: list(source.listing(name).masks) for name in names}
    total = sum(map(len, masks.values()))
    some = [path for name in names[: max(1, len(names) // 20)] for path in masks[name]]
    reference: list[dict[int, int]] = []
    taken = {"Pillow + np.unique, 1 core": seconds(lambda: reference.extend(pillow(some))) / len(some)}
    taken[f"first scan, {cores} cores"] = seconds(lambda: source.index(workers=cores)) / total
    found = [mask for name in names[: max(1, len(names) // 20)] for mask in scan_masks(masks[name])]
    assert [dict(mask.values) for mask in found if isinstance(mask, MaskScan)] == reference, "the ways disagree"
    taken["scan again, 1 core"] = seconds(lambda: [scan(clip) for clip in source.clips()]) / total
    faults: list[object] = []
    taken[f"verify after a scan, {cores} cores"] = seconds(lambda: faults.extend(source.verify(workers=cores))) / total
    assert not faults, faults[0]
    return {name: 1e3 * value for name, value in taken.items()}


def main() -> None:
    """Make the tree, and measure each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--cores", type=int, default=core_count())
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["XDG_CACHE_HOME"] = str(Path(scratch) / "cache")  # the first scan is a first one
        root = given.folder or Path(scratch) / "MOSE"
        write_tree(root, given.clips, given.frames)
        print(f"{given.clips} clips of {given.frames} frames, {SIZE[0]} x {SIZE[1]}")
        taken = measure(root, given.cores)
        baseline = next(iter(taken.values()))
        for name, value in taken.items():
            print(f"{name:32} {value:7.3f} ms a mask   {baseline / value:6.1f} x as fast")
        for title, masks in PUBLISHED.items():
            hours = ", ".join(f"{name.partition(',')[0]} {value * masks / 3.6e6:.3f} h" for name, value in taken.items())
            print(f"{title} ({masks} masks): {hours}")


if __name__ == "__main__":
    main()
