"""Two methods on the same episodes of images: differences with intervals and p, wins and losses, and the widest gaps.

A picture is drawn again, or its counts change hands, with all its episodes of all seeds; docs/compare.md has the definitions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import numpy as np

from icvos.comparison.pairs import Difference
from icvos.errors import DataError
from icvos.fewshot.scoring import EpisodeCounts
from icvos.fewshot.sums import Array, PictureSums, picture_sums, resampled_scores, scores_of
from icvos.ranks import PRINTED
from icvos.render.text import many
from icvos.stats import RESAMPLES, UNIT, flip_p, holm

BY = ("mIoU", "FB-IoU")
Rows: TypeAlias = Mapping[tuple[int, int], Sequence[EpisodeCounts]]  # by fold and seed
_MOST = 5  # episodes kept in each direction


@dataclass(frozen=True, slots=True)
class EpisodeGap:
    """One episode's IoU in both methods of a pair."""

    fold: int
    seed: int
    episode: str
    first: float
    second: float

    @property
    def value(self) -> float:
        """First less second."""
        return self.first - self.second


@dataclass(frozen=True, slots=True)
class ImagePair:
    """Two methods side by side. Wins, ties (both print the same percent) and losses count episodes by their IoU."""

    first: str
    second: str
    differences: dict[str, Difference]  # of `BY`: means over folds
    folds: dict[int, dict[str, Difference]]
    wins: int
    ties: int
    losses: int
    ahead: tuple[EpisodeGap, ...]  # where the first is furthest ahead, at most five
    behind: tuple[EpisodeGap, ...]  # where the second is


def paired(first: Sequence[EpisodeCounts], second: Sequence[EpisodeCounts], *, resamples: int = RESAMPLES, seed: int = 0) -> ImagePair:
    """What was counted in two results whose episodes have the same ids, pictures and classes, though their releases may differ: one
    shot against five.

    Raises:
        DataError: the episodes are not the same, or there is none.
    """
    return paired_folds({(0, 0): first}, {(0, 0): second}, resamples=resamples, seed=seed)


def paired_folds(first: Rows, second: Rows, *, resamples: int = RESAMPLES, seed: int = 0) -> ImagePair:
    """The same of several folds and seeds."""
    return pairs_of(measure({"first": first, "second": second}, resamples, seed), resamples, seed)[0]


@dataclass(frozen=True, slots=True)
class Measured:
    """One method: its scores on each fold and, last, their mean, (F + 1, 2); and each of these in resamples (R, 2), drawn fold by fold,
    None where pictures are too few.
    """

    rows: Rows
    scores: Array
    resampled: list[Array | None]


def measure(methods: Mapping[str, Rows], resamples: int, seed: int) -> dict[str, Measured]:
    """Every method on the same episodes.

    Raises:
        DataError: the episodes are not those of the first, or there is none.
    """
    first = next(iter(methods))
    for label, rows in methods.items():
        _refuse_other_episodes(first, methods[first], label, rows)
    return {label: _measured(rows, resamples, seed) for label, rows in methods.items()}


def pairs_of(methods: Mapping[str, Measured], resamples: int, seed: int) -> list[ImagePair]:
    """Each method and the next; p is corrected for how many pairs there are."""
    neighbours = list(pairwise(methods.items()))
    p = np.array([_flipped(first.rows, second.rows, resamples, seed) for (_, first), (_, second) in neighbours])
    corrected = np.apply_along_axis(lambda of_pairs: np.array(holm(of_pairs.tolist())), 0, p)
    return [
        ImagePair(name, other, found[-1], dict(zip(folds_of(first.rows), found, strict=False)), *_gaps(first.rows, second.rows))
        for place, ((name, first), (other, second)) in enumerate(neighbours)
        for found in [_differences(first, second, p[place], corrected[place])]
    ]


def folds_of(rows: Rows) -> tuple[int, ...]:
    """Sorted, each once."""
    return tuple(sorted({fold for fold, _ in rows}))


def _measured(rows: Rows, resamples: int, seed: int) -> Measured:
    tables = {fold: _sums(rows, fold).table for fold in folds_of(rows)}
    drawn = [resampled_scores(table, resamples, (seed, fold)) for fold, table in tables.items()]
    known = [one for one in drawn if one is not None]
    mean = np.mean(known, axis=0) if len(known) == len(drawn) else None
    return Measured(rows, _with_mean([scores_of(table.sum(axis=0)) for table in tables.values()]), [*drawn, mean])


def _sums(rows: Rows, fold: int) -> PictureSums:
    return picture_sums([rows[key] for key in sorted(rows) if key[0] == fold])


def _with_mean(of_folds: Sequence[Array]) -> Array:
    return np.stack([*of_folds, np.mean(of_folds, axis=0)])


def _differences(first: Measured, second: Measured, p: Array, corrected: Array) -> list[dict[str, Difference]]:
    """Of each fold and, last, of their mean."""
    found = []
    for place, (one, other) in enumerate(zip(first.resampled, second.resampled, strict=True)):
        ends = None if one is None or other is None else np.quantile(one - other, (0.025, 0.975), axis=0)
        intervals = [None if ends is None else (float(ends[0, column]), float(ends[1, column])) for column in range(len(BY))]
        columns = first.scores[place].tolist(), second.scores[place].tolist(), intervals, p[place].tolist(), corrected[place].tolist()
        found.append(dict(zip(BY, map(Difference, *columns), strict=True)))
    return found


def _flipped(first: Rows, second: Rows, resamples: int, seed: int) -> Array:
    """p of each fold and of the mean, (F + 1, 2): the two methods' counts of a picture change hands, in all episodes, seeds and folds."""
    sides = [(_sums(first, fold), _sums(second, fold)) for fold in folds_of(first)]
    pictures = sorted({name for one, _ in sides for name in one.pictures})
    parts = [(np.searchsorted(pictures, a.pictures), (a.table + b.table).sum(axis=0), a.table - b.table) for a, b in sides]

    def gaps(signs: Array) -> Array:
        turned = [(both, np.tensordot(signs[:, at], apart, 1)) for at, both, apart in parts]
        found = [scores_of((both + half) / 2) - scores_of((both - half) / 2) for both, half in turned]
        return np.rint(_with_mean(found) / UNIT).swapaxes(0, 1)

    return flip_p(gaps, len(pictures), resamples=resamples, seed=seed)


def _gaps(first: Rows, second: Rows) -> tuple[int, int, int, tuple[EpisodeGap, ...], tuple[EpisodeGap, ...]]:
    """Wins, ties and losses; and the episodes furthest ahead and behind."""
    asked = [(*key, row.id) for key in sorted(first) for row in sorted(first[key], key=_id)]
    ious = np.array([[row.counts.iou for key in sorted(rows) for row in sorted(rows[key], key=_id)] for rows in (first, second)])
    gap, printed = np.rint((ious[0] - ious[1]) / UNIT), np.round(ious, PRINTED)
    won = np.sign(printed[0] - printed[1]).astype(int)
    ends = []
    for side in (1, -1):
        furthest = [place for place in np.argsort(-side * gap, kind="stable")[:_MOST] if won[place] == side]
        ends.append(tuple(EpisodeGap(*asked[place], *ious[:, place].tolist()) for place in furthest))
    return int((won > 0).sum()), int((won == 0).sum()), int((won < 0).sum()), ends[0], ends[1]


def _id(row: EpisodeCounts) -> str:
    return row.id


def _refuse_other_episodes(name: str, first: Rows, other: str, second: Rows) -> None:
    """Paired tests need pairs."""
    one, two = ({(*key, row.id): (row.picture, row.category) for key in rows for row in rows[key]} for rows in (first, second))
    if one and one == two:
        return
    odd = sorted(key[-1] for key in one.keys() | two.keys() if one.get(key) != two.get(key))
    found = f"{many(len(two), 'episode')}, and {', '.join(odd[:3])} not as in {name}" if odd else "no episodes"
    expected = f"its {many(len(one), 'episode')}, of the same pictures and classes"
    raise DataError("results of other episodes cannot be paired", other, found, expected, "give results on the same episodes")
