"""From masks to intersections and unions, and from those to class-wise mIoU and FB-IoU with intervals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from icvos.categories import BY_ID
from icvos.errors import Finding, SubmissionError
from icvos.fewshot.protocols import ImageProtocol
from icvos.fewshot.release import ImageRelease
from icvos.masks import resize_nearest, size_text
from icvos.parallel import core_count, in_processes
from icvos.png import PngError, decode_png
from icvos.store import Prediction, PredictionStore
from icvos.types import Mask, Size

RESAMPLES = 1000
FEW = 2000  # episodes that one process has scored before a second one has started
_STEP = 64  # episodes a job


class Counts(NamedTuple):
    """Pixels of one episode, or of several together: of the class and of the rest, in both masks and in either."""

    intersection: int
    union: int
    rest_intersection: int
    rest_union: int


@dataclass(frozen=True, slots=True)
class EpisodeCounts:
    """One episode: its id, its class and picture, and what was counted, or what is wrong with its prediction."""

    id: str
    category: str
    picture: str
    counts: Counts
    fault: Finding | None = None


@dataclass(frozen=True, slots=True)
class ImageScores:
    """mIoU: the mean over classes of summed intersection over summed union. FB-IoU: the mean of the same for all classes' pixels
    together and for all the rest. In [0, 1]; intervals of 95 %, None where all episodes are of one picture.
    """

    miou: float
    fb_iou: float
    classes: dict[str, float]
    miou_interval: tuple[float, float] | None
    fb_interval: tuple[float, float] | None


def count_pixels(predicted: Mask, truth: Mask, void: Mask | None, protocol: ImageProtocol) -> Counts:
    """What one episode adds to the sums: masks (H, W) bool, at the size that the protocol says; where `void`, nothing counts."""
    size = protocol.size((truth.shape[0], truth.shape[1]))
    if size != truth.shape:
        predicted, truth = resize_nearest(predicted, size), resize_nearest(truth, size)
        void = None if void is None else resize_nearest(void, size)
    counted = truth.size if void is None else int((~void).sum())
    if void is not None:
        predicted, truth = predicted & ~void, truth & ~void
    both, either = int((predicted & truth).sum()), int((predicted | truth).sum())
    return Counts(both, either, counted - either, counted - both)


def summarise_counts(rows: Sequence[EpisodeCounts], *, resamples: int = RESAMPLES, seed: int = 0) -> ImageScores:
    """Scores of episodes, of which there is at least one; intervals by a bootstrap over pictures, each with all its episodes.

    The same rows give the same scores in any order.
    """
    rows = sorted(rows, key=lambda row: row.id)
    names = sorted({row.category for row in rows})
    table = np.array([row.counts for row in rows], np.int64)
    place = np.array([names.index(row.category) for row in rows])
    pictures = np.unique([row.picture for row in rows], return_inverse=True)[1].ravel()
    whole = np.ones(len(rows))
    ious = _class_ious(table, place, whole, len(names))
    found = [_scores(table, place, times[pictures], len(names)) for times in _resampled(pictures, resamples, seed)]
    miou, fb = _scores(table, place, whole, len(names))
    low_high = np.percentile(np.array(found), [2.5, 97.5], axis=0) if found else None
    intervals = [None if low_high is None else (float(low_high[0, k]), float(low_high[1, k])) for k in range(2)]
    return ImageScores(miou, fb, dict(zip(names, ious.tolist(), strict=True)), intervals[0], intervals[1])


def _resampled(pictures: NDArray[np.int64], resamples: int, seed: int) -> list[NDArray[np.int64]]:
    """How often each picture is drawn in each resample; none where there is but one picture."""
    rng, number = np.random.default_rng(seed), int(pictures.max()) + 1
    drawn = (rng.integers(0, number, number) for _ in range(resamples if number > 1 else 0))
    return [np.bincount(places, minlength=number) for places in drawn]


def _scores(table: NDArray[np.int64], place: NDArray[np.int64], weights: NDArray[Any], classes: int) -> tuple[float, float]:
    ious = _class_ious(table, place, weights, classes)
    inside, either, outside, outside_either = weights @ table
    return float(np.nanmean(ious)), float((_divided(inside, either) + _divided(outside, outside_either)) / 2)


def _class_ious(table: NDArray[np.int64], place: NDArray[np.int64], weights: NDArray[Any], classes: int) -> NDArray[np.float64]:
    """Of each class; NaN for one that a resample does not have."""
    both, either = (np.bincount(place, weights * table[:, column], classes) for column in (0, 1))
    times = np.bincount(place, weights, classes)
    ious: NDArray[np.float64] = np.where(times > 0, _divided(both, either), np.nan)
    return ious


def _divided(both: NDArray[Any], either: NDArray[Any]) -> NDArray[np.float64]:
    """Intersection over union; 0 where both are, as the field's codes have it."""
    ious: NDArray[np.float64] = np.divide(both, either, out=np.zeros(np.shape(both)), where=np.asarray(either) > 0)
    return ious


def count_run(
    store: PredictionStore, release: ImageRelease, *, workers: int | None = None, on_event: Callable[[int], None] = lambda done: None
) -> list[EpisodeCounts]:
    """Count every episode of a run, in the order of the release; the same for any number of `workers`.

    Raises:
        SubmissionError: a prediction is missing or faulty; all are listed.
    """
    jobs = [range(start, min(start + _STEP, len(release.records))) for start in range(0, len(release.records), _STEP)]
    found: dict[str, EpisodeCounts] = {}
    for rows in in_processes(_Counter(store.root, release), jobs, workers or (core_count() if len(release.records) > FEW else 1)):
        found |= {row.id: row for row in rows}
        on_event(len(rows))
    ordered = [found[episode_id] for episode_id in release.episode_ids]
    if faults := [row.fault for row in ordered if row.fault]:
        fix = "run the same command again; what is faulty must be removed first"
        raise SubmissionError("the predictions have faults", store.root, f"{len(faults)}", "none", fix, faults)
    return ordered


@dataclass(frozen=True, slots=True)
class _Counter:
    """Gives, once a process, the function that counts some episodes by their numbers."""

    root: Path
    release: ImageRelease

    def __call__(self) -> Callable[[Sequence[int]], list[EpisodeCounts]]:
        store = PredictionStore.open(self.root)
        return lambda numbers: [self._count(store, number) for number in numbers]

    def _count(self, store: PredictionStore, number: int) -> EpisodeCounts:
        episode_id, record = self.release.episode_ids[number], self.release.records[number]
        truth, void = self.release.truth(record)
        predicted = _prediction(store, episode_id, record.query, (truth.shape[0], truth.shape[1]))
        fault = predicted if isinstance(predicted, Finding) else None
        counts = Counts(0, 0, 0, 0) if isinstance(predicted, Finding) else count_pixels(predicted, truth, void, self.release.protocol)
        return EpisodeCounts(episode_id, BY_ID[record.class_id].name, record.query, counts, fault)


def _prediction(store: PredictionStore, episode_id: str, frame: str, size: Size) -> Mask | Finding:
    again = "run the same command again"
    path = store.path(episode_id)
    if not path.is_file():
        return Finding("missing-mask", episode_id, "no file", str(path), again)
    with closing(Prediction(path)) as found:
        if frame not in found.frame_ids:
            return Finding("missing-mask", episode_id, f"no {frame}.png", "one", f"remove {path}, then {again}")
        try:
            values = decode_png(found.read(frame))
        except (PngError, ValueError) as error:
            return Finding("unreadable-mask", episode_id, str(error), "a one-channel PNG", f"remove {found.path}, then {again}")
    if values.shape != size:
        return Finding("size", episode_id, size_text(values.shape), size_text(size), f"remove {found.path}, then {again}")
    return values > 0


def by_class(rows: Sequence[EpisodeCounts]) -> Mapping[str, int]:
    """Episodes of each class."""
    return dict(sorted(Counter(row.category for row in rows).items()))
