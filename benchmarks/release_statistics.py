"""Measuring the tubes of a release beside the plain way: Pillow and `numpy.unique`, one tube after the other.

    python benchmarks/release_statistics.py speed --clips 100 --frames 100
    python benchmarks/release_statistics.py memory --frames 1000 10000

The release is made for it: clips of 480 x 854 with a person, two dogs and a kite that drift, as DAVIS stores them.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from curation.statistics import statistics
from icvos.benchmark import Benchmark, ClipRecord, EpisodeRecord, Manifest, SourceRecord, SupportRecord, TubeRecord, write_release
from icvos.categories import BY_NAME
from icvos.files import sha256_file
from icvos.masks import encode_rle

SIZE = (480, 854)
CLASSES = {"person": (1,), "dog": (2, 3), "kite": (4,)}
DIFFERENT = 50  # masks that are drawn; longer clips come back to the first, as links


def make_release(folder: Path, clips: int, frames: int) -> Benchmark:
    """A release of `clips` clips of `frames` frames, its masks on disk."""
    root = folder / "source"
    drawn = [_draw(folder / "drawn" / f"{number}.png", number) for number in range(min(frames, DIFFERENT))]
    hashes = [sha256_file(path) for path in drawn]
    for clip in range(clips):
        (root / f"{clip:03d}").mkdir(parents=True)
        for frame in range(frames):
            (root / f"{clip:03d}" / f"{frame:05d}.png").hardlink_to(drawn[frame % len(drawn)])
    own = tuple(hashes[frame % len(hashes)] for frame in range(frames))
    records = tuple(_clip(f"{clip:03d}", own) for clip in range(clips))
    made = SourceRecord(title="made", page="", licence="none")
    manifest = Manifest(
        format="icvos-release/1", name="made", version="1", seed="", draws=1, rules={}, sources={"made": made, "coco": made}, clips=records
    )
    support = SupportRecord(
        image_id=1, file="1.jpg", sha256=own[0], annotations=(1,), size=(8, 8), counts=encode_rle(np.ones((8, 8), np.bool_)).counts
    )
    episodes = [EpisodeRecord(id=f"made/{clip.name}/{name}#s0", supports=(support,)) for clip in records for name in CLASSES]
    return write_release(folder / "release", manifest, episodes, {"made": root})


def _draw(path: Path, number: int) -> Path:
    path.parent.mkdir(exist_ok=True)
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    ids = np.zeros(SIZE, np.uint8)
    for place in range(1, 5):
        inside = (rows - 90 * place) ** 2 + (columns - 150 * place - 2 * number) ** 2 < (20 * place) ** 2
        ids[inside & (rows % 7 != place)] = place
    picture = Image.frombytes("P", (SIZE[1], SIZE[0]), ids.tobytes())
    picture.putpalette([value for entry in range(256) for value in (entry, entry, entry)])
    picture.save(path)
    return path


def _clip(name: str, hashes: tuple[str, ...]) -> ClipRecord:
    tubes = tuple(
        TubeRecord(class_id=BY_NAME[word].id, class_name=word, objects=objects, encoding="ids", mask=name + "/{}.png", mask_sha256=hashes)
        for word, objects in CLASSES.items()
    )
    frames = tuple(f"{frame:05d}" for frame in range(len(hashes)))
    return ClipRecord(source="made", name=name, size=SIZE, frames=frames, image=name + "/{}.png", image_sha256=hashes, tubes=tubes)


def plainly(benchmark: Benchmark, clips: int) -> dict[str, float]:
    """The mean area of every tube of the first clips, each tube read by itself."""
    means = {}
    for tube in [tube for record in benchmark.manifest.clips[:clips] for tube in benchmark.tubes_of(record)]:
        areas = []
        for frame in tube.clip.frames:
            assert frame.mask
            with Image.open(frame.mask) as picture:
                found = dict(zip(*np.unique(np.asarray(picture), return_counts=True), strict=True))
            areas.append(sum(int(found.get(number, 0)) for number in tube.instances) / (SIZE[0] * SIZE[1]))
        means[tube.id] = float(np.mean([area for area in areas if area]))
    return means


def speed(clips: int, frames: int) -> None:
    """Masks a second of both ways; each mask counts once a tube."""
    with tempfile.TemporaryDirectory() as folder:
        benchmark = make_release(Path(folder), clips, frames)
        masks, few = len(CLASSES) * clips * frames, min(clips, 5)
        start = time.perf_counter()
        expected = plainly(benchmark, few)
        plain = len(CLASSES) * few * frames / (time.perf_counter() - start)
        print(f"{masks} masks of {SIZE[0]} x {SIZE[1]} in {clips * frames} files")
        print(f"Pillow + numpy.unique  {plain:7.0f} masks/s, on {few} clips")
        for workers in (1, 2):
            start = time.perf_counter()
            found = statistics(benchmark, workers=workers)
            rate = masks / (time.perf_counter() - start)
            means = {tube.id: tube.attributes.mean_area for tube in found.tubes if tube.attributes}
            assert all(np.isclose(means[name], mean) for name, mean in expected.items())
            print(f"icvos, {workers} process{'es' if workers > 1 else '  '}     {rate:7.0f} masks/s, x {rate / plain:.1f}")


def memory(frames: list[int]) -> None:
    """The peak of a process of its own that opens a release of clips of 100 frames, and of one that measures it, too."""
    for number in frames:
        with tempfile.TemporaryDirectory() as folder:
            release = make_release(Path(folder), number // 100, 100).path
            for way in ("open", "measure"):
                done = subprocess.run([sys.executable, __file__, way, str(release)], check=True, capture_output=True, text=True)
                print(f"{number:7d} frames  {way:8} {done.stdout}", end="")


def peak(release: Path, *, measured: bool) -> None:
    """This process' peak."""
    benchmark = Benchmark.open(release)
    if measured:
        statistics(benchmark, workers=1)
    print(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:5.0f} MiB")


def main() -> None:
    """Speed or memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="kind", required=True)
    for_speed = kinds.add_parser("speed")
    for_speed.add_argument("--clips", type=int, default=100)
    for_speed.add_argument("--frames", type=int, default=100)
    kinds.add_parser("memory").add_argument("--frames", type=int, nargs="+", default=[1000, 10000])
    for way in ("open", "measure"):
        kinds.add_parser(way).add_argument("release", type=Path)
    given = parser.parse_args()
    if given.kind == "speed":
        speed(given.clips, given.frames)
    elif given.kind == "memory":
        memory(given.frames)
    else:
        peak(given.release, measured=given.kind == "measure")


if __name__ == "__main__":
    main()
