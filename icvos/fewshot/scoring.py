"""From masks to intersections and unions, and from those to class-wise mIoU and FB-IoU with intervals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from icvos.categories import BY_ID
from icvos.errors import Finding, SubmissionError
from icvos.fewshot.protocols import ImageProtocol
from icvos.fewshot.release import ImageRelease
from icvos.fewshot.sums import class_ious, picture_sums, resampled_scores, scores_of
from icvos.handed_in.asked import Asked
from icvos.handed_in.layout import Layout, laid_out
from icvos.handed_in.masks import STRICT, EpisodeMasks, Leniency, Rules
from icvos.handed_in.nodes import Node
from icvos.kernels import kernel_named
from icvos.masks import resize_nearest
from icvos.parallel import core_count, in_processes
from icvos.scoring import refuse
from icvos.store import PredictionStore
from icvos.types import Mask

RESAMPLES = 1000
FEW = 2000  # episodes that one process has scored before a second one has started
_STEP = 64  # episodes a job


class Counts(NamedTuple):
    """Pixels of one episode, or of several together: of the class and of the rest, in both masks and in either."""

    intersection: int
    union: int
    rest_intersection: int
    rest_union: int

    @property
    def iou(self) -> float:
        """Of the class, in [0, 1]; 0 where neither mask has a pixel."""
        return self.intersection / self.union if self.union else 0.0


@dataclass(frozen=True, slots=True)
class EpisodeCounts:
    """One episode: its id, its class and picture, what was counted, whether there was a mask, and what is wrong with it."""

    id: str
    category: str
    picture: str
    counts: Counts
    there: bool = True
    findings: tuple[Finding, ...] = ()
    mask: str = field(default="", compare=False)  # a hash of the mask that was read


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
    """What one episode adds to the sums: masks (H, W) bool, at the size that the protocol says; where `void`, nothing counts.

    `predicted` may be of the protocol's size already.
    """
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
    sums = picture_sums([rows])
    whole = sums.table.sum(axis=0)
    miou, fb = scores_of(whole).tolist()
    found = resampled_scores(sums.table, resamples, seed)
    low_high = None if found is None else np.percentile(found, [2.5, 97.5], axis=0)
    intervals = [None if low_high is None else (float(low_high[0, k]), float(low_high[1, k])) for k in range(2)]
    return ImageScores(miou, fb, dict(zip(sums.classes, class_ious(whole[0]).tolist(), strict=True)), intervals[0], intervals[1])


def count_run(
    store: PredictionStore,
    release: ImageRelease,
    *,
    leniency: Leniency = STRICT,
    workers: int | None = None,
    findings: Sequence[Finding] = (),
    on_event: Callable[[int], None] = lambda episodes: None,
) -> list[EpisodeCounts]:
    """Count every episode of a run or a folder of masks, in the order of the release; the same for any number of `workers`.

    Args:
        store: the run, a plain folder of masks, or a zip of either.
        release: the release.
        leniency: which faults are let pass; a mask that is missing counts as an empty one.
        workers: processes; by default all cores where there is enough to do.
        findings: faults that are known already, to be listed with the others.
        on_event: called with the number of episodes that were counted.

    Raises:
        SubmissionError: a prediction is missing or faulty, or none is there; all faults are listed.
    """
    asked = release.asked()
    with closing(store.tree()) as root:
        layout = laid_out(root, asked)
    findings = (*findings, *layout.findings)
    if layout.lost:
        refuse(store.root, findings)
    jobs = [range(start, min(start + _STEP, len(release.records))) for start in range(0, len(release.records), _STEP)]
    found: dict[str, EpisodeCounts] = {}
    counter = _Counter(store, release, layout, leniency)
    for rows in in_processes(counter, jobs, workers or (core_count() if len(release.records) > FEW else 1)):
        found |= {row.id: row for row in rows}
        on_event(len(rows))
    ordered = [found[episode_id] for episode_id in release.episode_ids]
    refuse(store.root, [*findings, *(finding for row in ordered for finding in row.findings)])
    if not any(row.there for row in ordered):
        fix = f"check the folder: {asked.shape}"
        raise SubmissionError("no predictions", store.root, "no mask of this release", f"masks of {asked.label}", fix)
    return ordered


@dataclass(frozen=True, slots=True)
class _Counter:
    """Gives, once a process, the function that counts some episodes by their numbers."""

    store: PredictionStore
    release: ImageRelease
    layout: Layout
    leniency: Leniency

    def __call__(self) -> Callable[[Sequence[int]], list[EpisodeCounts]]:
        asked, root = self.release.asked(), self.store.tree(self.layout.limits)
        rules = Rules(asked.protocol, self.leniency, kernel_named("numpy"))
        return lambda numbers: [self._count(number, asked, root, rules) for number in numbers]

    def _count(self, number: int, asked: Asked, root: Node, rules: Rules) -> EpisodeCounts:
        episode_id, record = self.release.episode_ids[number], self.release.records[number]
        truth, void = self.release.truth(record)
        with closing(EpisodeMasks(episode_id, root, self.layout, asked.of(episode_id), rules)) as masks:
            data = masks.read(record.query)
            packed = None if data is None else masks.decode(data, record.query)
            predicted = np.zeros_like(truth) if packed is None else rules.kernel.unpack(packed)
            counts = count_pixels(predicted, truth, void, self.release.protocol)
            name, findings = BY_ID[record.class_id].name, tuple(masks.findings)
            return EpisodeCounts(episode_id, name, record.query, counts, packed is not None, findings, masks.sha256)


def by_class(rows: Sequence[EpisodeCounts]) -> Mapping[str, int]:
    """Episodes of each class."""
    return dict(sorted(Counter(row.category for row in rows).items()))
