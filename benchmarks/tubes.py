"""Tubes packed, and review clips drawn, on a synthetic tree; each beside Pillow in the same run.

Usage: ``python benchmarks/tubes.py [--clips 200] [--frames 100] [--review-clips 3] [--real DAVIS]``

The tree is made in a temporary folder: in each clip two wobbling objects move over one of a few pictures, annotations are palette
PNGs as DAVIS writes them. One process on one core where it says "a core", all cores where it says "all".
"""

from __future__ import annotations

import argparse
import io
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from PIL import Image as PillowImage

from curation.overlay import review_frames
from curation.review_clips import encode_gif, encode_mp4
from icvos.categories import BY_NAME
from icvos.files import map_files, write_bytes
from icvos.masks import read_ids, union_of_objects
from icvos.png import encode_png
from icvos.types import Clip, Frame, Tube

SIZE = (480, 854)
OBJECTS = (1, 3)  # two dogs; 2 is something else
# Clips and annotated masks as published: DAVIS 2017, MOSE train, LVOS v2.
PUBLISHED_MASKS = 600_000
PUBLISHED_CLIPS = {"DAVIS": 90, "MOSE": 2149, "LVOS v2": 720}


def make_tree(root: Path, clips: int, frames: int) -> list[Tube]:
    """A DAVIS-like tree of `clips` clips of `frames` frames of 480 x 854, with one tube a clip."""
    root.mkdir(parents=True, exist_ok=True)
    there_and_back = [*range(min(frames, 8)), *range(min(frames, 8) - 2, 0, -1)]
    wide = _wide_picture()
    pictures = [_cut(wide, root / f"picture{number}.jpg", number) for number in there_and_back]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(lambda place: _make_clip(root, place, frames, pictures), range(clips)))


def _wide_picture() -> np.ndarray:
    """Smooth shapes with grain, so that a cut of it makes a JPEG as heavy as a photograph's."""
    random = np.random.default_rng(0)
    size = (SIZE[0], SIZE[1] + 64)
    rough = cv2.resize(random.integers(0, 255, (12, 20, 3)).astype(np.uint8), size[::-1], interpolation=cv2.INTER_CUBIC)
    grain = cv2.GaussianBlur(random.normal(0, 45, (*size, 3)).astype(np.float32), (0, 0), 1)
    return np.clip(rough + grain, 0, 255).astype(np.uint8)


def _cut(wide: np.ndarray, path: Path, number: int) -> Path:
    """What a camera sees that pans by a few pixels a frame."""
    PillowImage.fromarray(wide[:, 6 * number : 6 * number + SIZE[1]]).save(path, quality=90)
    return path


def _make_clip(root: Path, place: int, frames: int, pictures: Sequence[Path]) -> Tube:
    name, random = f"clip{place:04d}", np.random.default_rng(place)
    (root / name).mkdir(exist_ok=True)
    shapes = [(random.uniform(60, 100), random.normal(0, 0.06, 6), random.uniform(0, 6.28, 6)) for _ in range(3)]
    found = []
    for number in range(frames):
        ids = np.zeros(SIZE, np.uint8)
        for value, (radius, waves, phases) in enumerate(shapes, 1):
            middle = (180 + 240 * (value - 1) + 60 * np.sin(number / 15 + value), 240 + 40 * np.cos(number / 20 + value))
            cv2.fillPoly(ids, [_outline(middle, radius, waves, phases + number / 10)], value)
        mask = root / name / f"{number:05d}.png"
        mask.write_bytes(_palette_png(ids))
        image = root / name / f"{number:05d}.jpg"
        image.hardlink_to(pictures[number % len(pictures)])
        found.append(Frame(f"{number:05d}", image, mask))
    return Tube(Clip("synthetic", name, SIZE, tuple(found)), BY_NAME["dog"], OBJECTS)


def _outline(middle: tuple[float, float], radius: float, waves: np.ndarray, phases: np.ndarray) -> np.ndarray:
    angles = np.linspace(0, 2 * np.pi, 240)
    turns = np.arange(2, 2 + len(waves))[:, None]
    reach = radius * (1 + (waves[:, None] * np.sin(turns * angles + phases[:, None])).sum(axis=0))
    return np.stack([middle[0] + reach * np.cos(angles), middle[1] + reach * np.sin(angles)], axis=1).astype(np.int32)


def _palette_png(ids: np.ndarray) -> bytes:
    picture = PillowImage.frombytes("P", ids.shape[::-1], ids.tobytes())
    picture.putpalette([channel for entry in range(256) for channel in (entry, entry * 5 % 256, entry * 11 % 256)])
    file = io.BytesIO()
    picture.save(file, "PNG", compress_level=1)
    return file.getvalue()


# One mask, from an annotation file to the bytes of a binary PNG.


def packed(tube: Tube, frame: Frame) -> bytes:
    """As icvos writes it: 1 bit a pixel."""
    assert frame.mask
    return encode_png(union_of_objects(read_ids(frame.mask), tube.instances, tube.clip.encoding))


def by_pillow(tube: Tube, frame: Frame) -> bytes:
    """As scripts of the field write it: read, compare and save as 8-bit grey by Pillow."""
    with PillowImage.open(frame.mask) as picture:
        ids = np.array(picture)
    file = io.BytesIO()
    PillowImage.fromarray(np.isin(ids, tube.instances).astype(np.uint8) * 255).save(file, "PNG")
    return file.getvalue()


def measure_masks(tubes: Sequence[Tube], every: int) -> None:
    """Rates and sizes, and that both ways mean the same masks."""
    jobs = [(tube, frame) for tube in tubes for frame in tube.clip.frames][::every]
    for tube, frame in jobs[:: max(1, len(jobs) // 50)]:
        with PillowImage.open(io.BytesIO(by_pillow(tube, frame))) as theirs, PillowImage.open(io.BytesIO(packed(tube, frame))) as ours:
            assert (np.array(theirs) == np.array(ours.convert("L"))).all()
    theirs_rate, theirs_size = _rate(by_pillow, jobs[:: max(1, len(jobs) // 1000)])
    ours_rate, ours_size = _rate(packed, jobs)
    print(f"{len(jobs)} masks of 480 x 854, file to bytes, by the seconds of a core")
    print(f"  Pillow, 8 bits  {theirs_rate:7.0f} masks/s  {theirs_size:6.0f} bytes a mask")
    print(f"  icvos, 1 bit    {ours_rate:7.0f} masks/s  {ours_size:6.0f} bytes a mask  {ours_rate / theirs_rate:.1f} x Pillow's rate")
    with tempfile.TemporaryDirectory() as room:
        folder = Path(room)
        started, at_work = time.perf_counter(), time.process_time()
        places = [(folder / tube.clip.name / f"{frame.id}.png", tube, frame) for tube, frame in jobs]
        for _ in map_files(lambda place: write_bytes(place[0], packed(place[1], place[2])), places):
            pass
        wall, spent = ((now() - before) / len(jobs) for now, before in ((time.perf_counter, started), (time.process_time, at_work)))
    hours = f"{PUBLISHED_MASKS * wall / 3600:.2f} h by this clock, {PUBLISHED_MASKS * spent / 3600:.2f} h of a core"
    print(f"  icvos, to files {1 / spent:7.0f} masks/s  the {PUBLISHED_MASKS:,} masks as published: {hours}")


def _rate(way: Callable[[Tube, Frame], bytes], jobs: Sequence[tuple[Tube, Frame]]) -> tuple[float, float]:
    """Masks for each second of a core, however many others use this machine, and bytes a mask."""
    started, total = time.process_time(), 0
    for tube, frame in jobs:
        total += len(way(tube, frame))
    return len(jobs) / (time.process_time() - started), total / len(jobs)


# One review clip, from files to bytes.


def gif_by_pillow(tube: Tube) -> bytes:
    """The same overlays, saved as anybody would: a palette is found for each frame."""
    first, *rest = (PillowImage.fromarray(frame) for frame in review_frames(tube))
    file = io.BytesIO()
    first.save(file, "GIF", save_all=True, append_images=rest, duration=40, loop=0)
    return file.getvalue()


def measure_clips(tubes: Sequence[Tube]) -> None:
    """Seconds and megabytes a clip of each way, turns taken; the fastest of each counts, for others use this machine too."""
    ways: dict[str, Callable[[Tube], bytes]] = {"Pillow's GIF": gif_by_pillow, "icvos, GIF": lambda tube: encode_gif(review_frames(tube))}
    try:
        import av  # noqa: F401

        ways["icvos, MP4"] = lambda tube: encode_mp4(review_frames(tube))
    except ModuleNotFoundError:
        print("PyAV is not installed: no MP4")
    frames = len(tubes[0].clip.frames)
    print(f"review clips of {frames} frames at 240p, JPEG and PNG files to bytes, all cores")
    wall: dict[str, list[float]] = {name: [] for name in ways}
    spent: dict[str, list[float]] = {name: [] for name in ways}
    sizes: dict[str, list[int]] = {name: [] for name in ways}
    for tube in tubes:
        for name, way in ways.items():
            started, at_work = time.perf_counter(), time.process_time()
            sizes[name].append(len(way(tube)))
            wall[name].append(time.perf_counter() - started)
            spent[name].append(time.process_time() - at_work)
    for name in ways:
        faster = min(spent["Pillow's GIF"]) / min(spent[name])
        words = f"{min(wall[name]):6.2f} s  {min(spent[name]):6.2f} s of a core  {max(sizes[name]) / 1e6:6.2f} MB"
        print(f"  {name:<13} {words}  {faster:.1f} x less of it than Pillow's")
    best = min(spent[list(ways)[-1]]) / frames
    for source, count in PUBLISHED_CLIPS.items():
        hours = count * frames * best / 3600
        print(f"  {source}: {count} clips of {frames} frames: {hours:.2f} h of a core, while others are looked at")


def real_tubes(davis: Path) -> list[Tube]:
    """A tube of object 1 of each clip of a real DAVIS tree."""
    found = []
    for folder in sorted((davis / "Annotations/480p").iterdir()):
        images = sorted((davis / "JPEGImages/480p" / folder.name).glob("*.jpg"))[:100]
        frames = tuple(Frame(image.stem, image, folder / f"{image.stem}.png") for image in images)
        found.append(Tube(Clip("davis", folder.name, SIZE, frames), BY_NAME["dog"], (1,)))
    return found


def main() -> None:
    """Measure on the synthetic tree, or on real clips."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--review-clips", type=int, default=3, help="How many of the clips are drawn.")
    parser.add_argument("--every", type=int, default=1, help="Of the masks, only every so many.")
    parser.add_argument("--real", type=Path, help="A DAVIS folder, in the place of the synthetic tree.")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as room:
        started = time.perf_counter()
        tubes = real_tubes(given.real) if given.real else make_tree(Path(room) / "tree", given.clips, given.frames)
        frames = sum(len(tube.clip.frames) for tube in tubes)
        print(f"{len(tubes)} clips, {frames} frames, ready in {time.perf_counter() - started:.0f} s")
        measure_masks(tubes, given.every)
        measure_clips(sorted(tubes, key=lambda tube: -len(tube.clip.frames))[: given.review_clips])


if __name__ == "__main__":
    main()
