"""What streaming costs and saves: icvos' propagator beside `SAM2VideoPredictor`, same model, same JPEG files, in turns.

    python benchmarks/propagation.py speed [--sam sam2_nano] [--frames 60] [--rounds 5]
    python benchmarks/propagation.py memory [--frames 200 2000]
    python benchmarks/propagation.py harness

From files to masks in all cases, in one process on all cores (`memory`: one process a figure). The last figures stand in
benchmarks/README.md. Speed does not depend on weights: `--weights untrained` needs no download.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image as PillowImage
from sam2 import sam2_video_predictor
from sam2.sam2_video_predictor import SAM2VideoPredictor
from skimage import data

from icvos.masks import read_image
from icvos.models import build_sam2
from icvos.parallel import ahead
from icvos.passes import peak_rss_bytes
from icvos.propagate.sam2 import Sam2Propagator
from icvos.types import BoxPrompt

SIZE = (480, 854)  # of the clip


@contextmanager
def clip(frames: int) -> Iterator[list[Path]]:
    """A folder of JPEG files as the predictor wants them: a photograph under a swinging camera; long clips repeat 60 files."""
    scene = PillowImage.fromarray(data.astronaut()).resize((SIZE[1] + 60, SIZE[1] + 60))
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number:05d}.jpg" for number in range(frames)]
        for number, path in enumerate(paths):
            if number >= 60:
                os.link(paths[number % 60], path)
                continue
            left, top = (int(30 + 29 * np.sin(number / 5 + phase)) for phase in (0, 1))
            scene.crop((left, top, left + SIZE[1], top + SIZE[0])).save(path, quality=90)
        yield paths


def boxes(count: int) -> list[np.ndarray]:
    """Boxes side by side."""
    width = SIZE[1] / count
    return [np.array([width * k + 10, 80, width * (k + 1) - 10, 400], np.float32) for k in range(count)]


def ours(model: SAM2VideoPredictor, paths: list[Path], count: int) -> int:
    """Masks out of icvos."""
    frames = ahead(read_image, paths, 4, threads=2)
    prompts = [BoxPrompt(box) for box in boxes(count)]
    return sum(mask.any() for masks in Sam2Propagator(model, largest_hole=0).propagate(frames, prompts) for mask in masks)


def theirs(model: SAM2VideoPredictor, paths: list[Path], count: int) -> int:
    """Masks out of the official predictor."""
    state = model.init_state(str(paths[0].parent))
    for number, box in enumerate(boxes(count)):
        model.add_new_points_or_box(state, 0, number, box=box)
    return sum((logits[:, 0] > 0).cpu().numpy().any((1, 2)).sum() for _, _, logits in model.propagate_in_video(state))


def speed(options: argparse.Namespace) -> None:
    """Seconds a frame, medians over rounds that take turns, and their ratio."""
    model = build_sam2(options.sam, options.weights, options.device, cls=SAM2VideoPredictor)
    print(f"{options.sam}, {options.frames} frames of {SIZE[0]} x {SIZE[1]}, {torch.get_num_threads()} threads, {model.device}")
    with clip(options.frames) as paths:
        for count in options.objects:
            times: dict[str, list[float]] = {"SAM2VideoPredictor": [], "icvos": []}
            for turn in range(options.rounds + 1):
                for name, way in (("SAM2VideoPredictor", theirs), ("icvos", ours)):
                    started = time.perf_counter()
                    way(model, paths, count)
                    if turn:  # the first round warms up
                        times[name].append((time.perf_counter() - started) / options.frames)
            median = {name: statistics.median(values) for name, values in times.items()}
            pairs = [before / after for before, after in zip(*times.values(), strict=True)]
            said = "  ".join(f"{name} {1000 * value:7.1f} ms a frame" for name, value in median.items())
            print(f"{count} objects  {said}   x {statistics.median(pairs):.2f} ({min(pairs):.2f} to {max(pairs):.2f})")


def memory(options: argparse.Namespace) -> None:
    """Peak resident size of a process that follows one object; imports and weights are in it."""
    for name in ("icvos", "SAM2VideoPredictor"):
        peaks = []
        for frames in options.frames:
            words = [sys.executable, __file__, "peak", "--way", name, "--sam", options.sam, "--weights", options.weights]
            said = subprocess.run([*words, "--frames", str(frames)], check=True, capture_output=True, text=True).stdout
            peaks.append(int(said))
            print(f"{name:<20} {frames:5} frames  {peaks[-1] / 2**20:7.0f} MiB   x {peaks[-1] / peaks[0]:.2f}", flush=True)


def peak(options: argparse.Namespace) -> None:
    """One process of `memory`."""
    model = build_sam2(options.sam, options.weights, "cpu", cls=SAM2VideoPredictor)
    way: Callable[..., int] = ours if options.way == "icvos" else theirs
    with clip(options.frames[0]) as paths:
        way(model, paths, 1)
    print(peak_rss_bytes())


def harness(options: argparse.Namespace) -> None:
    """A run of `icvos.runner` (decode with hashes checked, propagate, pack, write) beside the bare propagator on decoded frames."""
    from icvos.benchmark import Benchmark
    from icvos.registry import load_method
    from icvos.runner import open_store, run
    from icvos.types import Compute, MaskPrompt

    method = load_method("oracle-first-frame", Compute(sam=options.sam, weights=options.weights))
    release = Benchmark.open(options.benchmark)
    method.segmenter.warm_up()
    bare: list[float] = []
    whole: list[float] = []
    for turn in range(options.rounds + 1):
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            run(method, release, open_store(release, method, Path(folder) / "run"))
            whole += [time.perf_counter() - started] if turn else []
        seconds = 0.0
        for tube in release.tubes.values():
            frames, first = [frame.read_image() for frame in tube.clip.frames], next(iter(tube.masks()))
            started = time.perf_counter()
            for _ in method.segmenter.propagator.propagate(frames, [MaskPrompt(first)]):
                pass
            seconds += time.perf_counter() - started
        bare += [seconds] if turn else []
    pairs = [after / before for before, after in zip(bare, whole, strict=True)]
    print(f"bare {statistics.median(bare):.2f} s, run {statistics.median(whole):.2f} s: x {statistics.median(pairs):.3f}")


def main() -> None:
    """Measure what is asked for."""
    sam2_video_predictor.tqdm = lambda items, **_: items  # its bars are not what is timed
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("speed", "memory", "peak", "harness"))
    parser.add_argument("--sam", default="sam2_nano")
    parser.add_argument("--weights", default="untrained")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--frames", type=int, nargs="+")
    parser.add_argument("--objects", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--way", default="icvos", help=argparse.SUPPRESS)
    parser.add_argument("--benchmark", type=Path, default=Path("ic-vos"), help="a release, for `harness`")
    options = parser.parse_args()
    torch.manual_seed(0)
    if options.what == "speed":
        options.frames = (options.frames or [60])[0]
    options.frames = options.frames or [200, 2000]
    {"speed": speed, "memory": memory, "peak": peak, "harness": harness}[options.what](options)


if __name__ == "__main__":
    main()
