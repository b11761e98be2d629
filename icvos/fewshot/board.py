"""The board of images: folds side by side, their mean, seeds averaged; a pure function of result files."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import sqrt
from statistics import fmean, stdev

from icvos.badges import REPORTED
from icvos.entries import KINDS
from icvos.errors import UserInputError, did_you_mean
from icvos.fewshot.folds import FOLDS
from icvos.fewshot.results import ImageResult
from icvos.files import AnyPath
from icvos.results import abridged, find_results, is_image_result
from icvos.stats import cluster_interval

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class ImageRow:
    """One method: its mIoU on each fold, averaged over seeds; their mean where all four are there, and FB-IoU over those that are.

    `interval`, of the mean, is that of the episodes drawn: those of folds and seeds put together as independent ones.
    `seed_interval` is a bootstrap over seeds, `seed_spread` their standard deviation; None with a single seed.
    """

    label: str
    kind: str
    folds: Mapping[int, float]
    fold_intervals: Mapping[int, Interval | None]
    mean: float | None
    fb_iou: float
    interval: Interval | None
    seeds: tuple[int, ...]
    seed_spread: float | None
    seed_interval: Interval | None
    episodes: int
    signatures: tuple[str, ...]
    notes: tuple[str, ...]
    contaminated: bool  # trained on a class that it was asked for
    rank: int | None = None
    badge: str = REPORTED  # what holds for all of its results

    @property
    def title(self) -> str:
        """The label, and what qualifies all of its numbers."""
        return f"{self.label} (contaminated)" if self.contaminated else self.label

    @property
    def score(self) -> float:
        """What it is ordered by among rows of the same folds."""
        return fmean(self.folds.values()) if self.mean is None else self.mean


@dataclass(frozen=True, slots=True)
class ImageBoard:
    """Rows under one protocol: methods from the best down, then floors."""

    protocol: str
    rows: tuple[ImageRow, ...]


def load_board(roots: Iterable[AnyPath], protocol: str | None = None) -> ImageBoard:
    """The board of all results on images below `roots`. Raises what `image_board` raises."""
    return image_board([ImageResult.load(path) for path in find_results(roots) if is_image_result(path)], protocol)


def image_board(results: Sequence[ImageResult], protocol: str | None = None) -> ImageBoard:
    """The board of results; with `protocol`, of those under it, the others left out.

    Only methods with the same folds are ranked: a mean over other classes is another number.

    Raises:
        UserInputError: there is no result, they are of several protocols, or one method has two on the same fold and seed.
    """
    chosen = of_one_protocol(results, protocol)
    rows = [_row(label, same) for label, same in sorted(labelled(chosen).items())]
    rows.sort(key=lambda row: (KINDS.index(row.kind), -len(row.folds), sorted(row.folds), -row.score, row.label))
    fullest = rows[0].folds.keys()
    ranked = [row for row in rows if row.kind == "method" and row.folds.keys() == fullest]
    numbered = [replace(row, rank=place) for place, row in enumerate(ranked, start=1)]
    return ImageBoard(chosen[0].protocol, (*numbered, *(row for row in rows if row not in ranked)))


def of_one_protocol(results: Sequence[ImageResult], protocol: str | None) -> list[ImageResult]:
    """Those under `protocol`, or all where they are of one.

    Raises:
        UserInputError: there is no result, or they are of several protocols.
    """
    protocols = sorted({result.protocol for result in results})
    if not protocols:
        raise UserInputError("no results on images", expected="at least one", fix="run `icvos fewshot` first or check the path")
    if protocol is not None and protocol not in protocols:
        raise UserInputError("no result under this protocol", protocol, fix=did_you_mean(protocol, protocols))
    if protocol is None and len(protocols) > 1:
        fix = "choose " + " or ".join(f"--protocol {name}" for name in protocols)
        what = "results of different protocols cannot be compared"
        raise UserInputError(what, found=", ".join(protocols), expected="one protocol", fix=fix)
    return [result for result in results if result.protocol == (protocol or protocols[0])]


def labelled(results: Sequence[ImageResult]) -> dict[str, list[ImageResult]]:
    """Results by method. Folds have weights of their own; those of one fold and seed tell two variants apart.

    Raises:
        UserInputError: one method has two results on the same fold and seed.
    """
    by_name: defaultdict[str, list[ImageResult]] = defaultdict(list)
    for result in results:
        by_name[_name(result)].append(result)
    found: dict[str, list[ImageResult]] = {}
    for name, same in by_name.items():
        parts = {name: same}
        if _twice(same):
            parts = defaultdict(list)
            for result in same:
                parts[f"{name} ({abridged(result.method.get('weights', 'none'))})"].append(result)
        for label, part in parts.items():
            if twice := _twice(part):
                raise UserInputError("one method twice on a fold", label, twice, "one result a fold and seed", "leave all but one out")
            found[label] = part
    return found


def _name(result: ImageResult) -> str:
    method = result.method
    usual = {"version": ("1",), "precision": ("none", "fp32")}
    told = [f"{key} {method[key]}" for key, values in usual.items() if method.get(key, values[0]) not in values]
    return f"{method['name']} ({', '.join(told)})" if told else str(method["name"])


def _twice(results: Sequence[ImageResult]) -> str:
    keys = [(result.fold, result.seed) for result in results]
    return next((f"fold {fold}, seed {seed}" for fold, seed in keys if keys.count((fold, seed)) > 1), "")


def _row(label: str, results: Sequence[ImageResult]) -> ImageRow:
    by_fold, by_seed = _grouped(results, "fold"), _grouped(results, "seed")
    folds = {fold: fmean(one.mIoU for one in same) for fold, same in by_fold.items()}
    whole = len(folds) == FOLDS
    of_seeds = {seed: fmean(one.mIoU for one in same) for seed, same in by_seed.items() if len(same) == len(folds)}
    alike = len(of_seeds) == len(by_seed) > 1  # every seed on every fold
    mean = fmean(folds.values()) if whole else None
    wide = [_halves(same) for same in by_fold.values()]
    return ImageRow(
        label=label,
        kind=str(results[0].method.get("kind", "method")),
        folds=folds,
        fold_intervals={fold: _of_fold(same, folds[fold]) for fold, same in by_fold.items()},
        mean=mean,
        fb_iou=fmean(fmean(one.FB_IoU for one in same) for same in by_fold.values()),
        interval=_around(mean, _together(wide)) if mean is not None else None,
        seeds=tuple(by_seed),
        seed_spread=stdev(of_seeds.values()) if alike else None,
        seed_interval=cluster_interval({str(seed): [value] for seed, value in of_seeds.items()}) if alike else None,
        episodes=sum(one.episodes for one in results),
        signatures=tuple(one.signature for one in sorted(results, key=lambda one: (one.fold, one.seed))),
        notes=tuple(dict.fromkeys(f"fold {one.fold}: {note}" for one in sorted(results, key=lambda one: one.fold) for note in one.notes)),
        contaminated=any(one.seen_classes for one in results),
        badge=REPORTED if any(one.badge_here == REPORTED for one in results) else results[0].badge_here,
    )


def _grouped(results: Sequence[ImageResult], field: str) -> dict[int, list[ImageResult]]:
    groups: defaultdict[int, list[ImageResult]] = defaultdict(list)
    for result in sorted(results, key=lambda one: (one.fold, one.seed)):
        groups[getattr(result, field)].append(result)
    return dict(sorted(groups.items()))


def _of_fold(results: Sequence[ImageResult], mean: float) -> Interval | None:
    """The interval of a fold: its own where there is one seed, put together where there are several."""
    return results[0].mIoU_interval if len(results) == 1 else _around(mean, _halves(results))


def _halves(results: Sequence[ImageResult]) -> float | None:
    """Half the width of the interval of a mean over seeds."""
    return _together([None if (pair := one.mIoU_interval) is None else (pair[1] - pair[0]) / 2 for one in results])


def _together(halves: Sequence[float | None]) -> float | None:
    """Of a mean of independent numbers, from each one's."""
    known = [half for half in halves if half is not None]
    return sqrt(sum(half**2 for half in known)) / len(halves) if len(known) == len(halves) else None


def _around(value: float, half: float | None) -> Interval | None:
    return None if half is None else (max(0.0, value - half), min(1.0, value + half))
