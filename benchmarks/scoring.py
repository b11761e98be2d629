"""How long it takes to get J and F of a frame out of two PNG files, beside the usual way of doing it.

    python benchmarks/scoring.py [--truth DIR --predictions DIR] [--cores N] [--repetitions N]

The naive way is the arithmetic of vos-benchmark and of the DAVIS tools, in our own words and without their detours: Pillow
decodes both files, the boundary maps are made in numpy over the whole frame and dilated over the whole frame by OpenCV with a
disc. vos-benchmark also searches both images of every frame for their ids (numpy.unique); "naive + ids" does so too, and is
what that tool's cost compares with. All ways run interleaved in one run; reading the files is part of each; every J and F
must be equal to the last bit. The last figures stand in benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from icvos.kernels import Kernel, kernel_named
from icvos.metrics import boundary_tolerance
from icvos.png import read_scanlines
from icvos.types import Size

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
Score = tuple[float, float]
Bools = NDArray[np.bool_]


class Pair(NamedTuple):
    """A truth file and a prediction file, and which stored values are foreground in either."""

    truth: Path
    prediction: Path
    truth_values: tuple[int, ...]
    prediction_values: tuple[int, ...]


def boundary_map(mask: Bools) -> Bools:
    """Pixels that differ from their right, lower or lower right neighbour."""
    edge = np.zeros_like(mask)
    edge[:, :-1] |= mask[:, :-1] != mask[:, 1:]
    edge[:-1] |= mask[:-1] != mask[1:]
    edge[:-1, :-1] |= mask[:-1, :-1] != mask[1:, 1:]
    return edge


def disc(radius: int) -> NDArray[np.uint8]:
    """The pixels within `radius` of the middle one."""
    offsets = np.arange(-radius, radius + 1)
    return (offsets[:, None] ** 2 + offsets**2 <= radius**2).astype(np.uint8)


def naive(pair: Pair, search: bool = False) -> Score:
    """J and F the usual way."""
    masks = []
    for path, values in ((pair.truth, pair.truth_values), (pair.prediction, pair.prediction_values)):
        ids = np.array(Image.open(path))
        if search:
            np.unique(ids)
        masks.append(np.logical_or.reduce([ids == value for value in values]))
    truth, prediction = masks
    common, total = (truth * prediction).sum(), truth.sum() + prediction.sum()
    similarity = common / (total - common) if total - common else 1.0
    kernel = disc(int(np.ceil(0.008 * np.linalg.norm(truth.shape))))
    due, found = boundary_map(truth), boundary_map(prediction)
    due_grown = cv2.dilate(due.astype(np.uint8), kernel)
    found_grown = cv2.dilate(found.astype(np.uint8), kernel)
    due_count, found_count = due.sum(), found.sum()
    if due_count and found_count:
        precision, recall = (found * due_grown).sum() / float(found_count), (due * found_grown).sum() / float(due_count)
    else:
        precision, recall = float(not found_count), float(not due_count)
    return float(similarity), float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0


def naive_with_ids(pair: Pair) -> Score:
    """The naive way after a search for the ids in both images."""
    return naive(pair, search=True)


@cache
def table(values: tuple[int, ...]) -> Bools:
    """The look-up table of some foreground values."""
    marked = np.zeros(256, np.bool_)
    marked[list(values)] = True
    return marked


@cache
def tolerance_of(size: Size) -> int:
    """Worked out once a clip, as the scorer does."""
    return boundary_tolerance(size)


def read(path: Path) -> bytes:
    """A small file, without a buffer in between."""
    with path.open("rb", buffering=0) as stream:
        return stream.read()


def with_kernel(kernel: Kernel) -> Callable[[Pair], Score]:
    """J and F with one of the scorer's kernels."""

    def score(pair: Pair) -> Score:
        truth = kernel.read(read(pair.truth), table(pair.truth_values))
        prediction = kernel.read(read(pair.prediction), table(pair.prediction_values))
        return kernel.compare(prediction, kernel.prepare(truth, tolerance_of(truth.size)))

    return score


def inflate_only(pair: Pair) -> None:
    """What no way through these files can do without: read both and inflate them."""
    read_scanlines(read(pair.truth))
    read_scanlines(read(pair.prediction))


def default_pairs() -> list[Pair]:
    """Real truth and real predictions of DAVIS sequences, as ids and as 0/255."""
    found = []
    for folder, values in (("Annotations", (1,)), ("Annotations_2016", (1, 255))):
        for truth in sorted((DATA / "davis" / folder / "480p").glob("*/*.png")):
            prediction = DATA / "davis_results" / "semi-supervised" / "osvos" / truth.parent.name / truth.name
            if prediction.exists():
                found.append(Pair(truth, prediction, values, (1,)))
    return found


def by_kind(pairs: list[Pair]) -> dict[str, list[Pair]]:
    """The pairs by the encoding of their truth: files of ids are unfiltered as a rule, those of DAVIS 2016 (0/255) filtered."""
    kinds = {"binary" if len(pair.truth_values) > 1 else "ids": None for pair in pairs}
    return {kind: [pair for pair in pairs if (len(pair.truth_values) > 1) == (kind == "binary")] for kind in kinds}


def pairs_of(truth_root: Path, prediction_root: Path) -> list[Pair]:
    """The pairs of two trees of binary masks."""
    names = sorted(path.relative_to(truth_root) for path in truth_root.rglob("*.png"))
    both = [name for name in names if (prediction_root / name).exists()]
    return [Pair(truth_root / name, prediction_root / name, (1, 255), (1, 255)) for name in both]


@cache
def ways() -> dict[str, Callable[[Pair], object]]:
    """Every way to go through a pair, made once a process."""
    cv2.setNumThreads(1)
    kernels = {name: with_kernel(kernel_named(name)) for name in ("numpy", "numba")}
    return {"naive": naive, "naive + ids": naive_with_ids, **kernels, "inflate only": inflate_only}


def go_through(name: str, pairs: list[Pair]) -> None:
    """One way through some pairs."""
    way = ways()[name]
    for pair in pairs:
        way(pair)


def measure(pairs: list[Pair], repetitions: int, pool: ProcessPoolExecutor | None, cores: int) -> dict[str, float]:
    """Milliseconds of wall time a pair. A batch at a time goes through each way in turn; of each batch, the fastest
    repetition counts. On several cores a batch is split evenly among as many processes."""
    size = 20 if pool is None else 160
    batches = [pairs[start : start + size] for start in range(0, len(pairs), size)]
    seconds = {name: np.full(len(batches), np.inf) for name in ways()}
    for _ in range(repetitions):
        for index, batch in enumerate(batches):
            for name in ways():
                start = time.perf_counter()
                if pool is None:
                    go_through(name, batch)
                else:
                    list(pool.map(go_through, [name] * cores, [batch[part::cores] for part in range(cores)]))
                seconds[name][index] = min(seconds[name][index], time.perf_counter() - start)
    return {name: 1e3 * float(times.sum()) / len(pairs) for name, times in seconds.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--truth", type=Path)
    parser.add_argument("--predictions", type=Path)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--cores", type=int, default=1, help="processes for every way, the naive ones too")
    parser.add_argument("--every", type=int, default=1, help="take only each so many-th pair")
    options = parser.parse_args()
    found = pairs_of(options.truth, options.predictions) if options.truth and options.predictions else default_pairs()
    pairs = found[:: options.every]
    if not pairs:
        parser.exit(2, "no pairs: give --truth DIR and --predictions DIR that hold PNG files of the same names\n")
    for pair in pairs:
        scores = {name: way(pair) for name, way in ways().items() if way is not inflate_only}
        assert len(set(scores.values())) == 1, (pair, scores)
    with ExitStack() as stack:
        pool = stack.enter_context(ProcessPoolExecutor(options.cores)) if options.cores > 1 else None
        if pool:  # everything is loaded and compiled before the clock runs
            for name in ways():
                list(pool.map(go_through, [name] * 4 * options.cores, [pairs[:20]] * 4 * options.cores))
        for group, members in by_kind(pairs).items():
            times = measure(members, options.repetitions, pool, options.cores)
            print(f"{group}: {len(members)} pairs, {options.cores} cores, {options.repetitions} repetitions, J and F equal everywhere")
            print(f"{'way':14}{'ms a pair':>12}{'x naive':>10}{'x naive + ids':>16}{'of it inflating':>18}")
            for name, best in times.items():
                ratios = f"{times['naive'] / best:10.1f}{times['naive + ids'] / best:16.1f}"
                print(f"{name:14}{best:12.3f}{ratios}{times['inflate only'] / best:18.0%}")


if __name__ == "__main__":
    main()
