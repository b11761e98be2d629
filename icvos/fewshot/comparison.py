"""Methods against one another on images: how large a difference is, whether pictures or chance make it, and in which episodes it lies.

As with clips (docs/compare.md has the definitions), two methods are compared in the order given; more are ranked, and each is compared
with the next, floors and ceilings left out. A picture is drawn again, or its counts change hands, with all its episodes of all seeds.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from icvos.comparison.pairs import too_few
from icvos.entries import version_notes
from icvos.errors import DataError, UserInputError, did_you_mean
from icvos.fewshot.board import labelled, of_one_protocol
from icvos.fewshot.pairs import BY, ImagePair, Measured, folds_of, measure, pairs_of
from icvos.fewshot.results import ImageResult, read_counts
from icvos.fewshot.scoring import EpisodeCounts
from icvos.files import AnyPath
from icvos.ranks import PRINTED, groups_within_noise, ranks_among
from icvos.render.text import many
from icvos.results import find_results, is_image_result
from icvos.stats import RESAMPLES, flips_are_exact, smallest_p


@dataclass(frozen=True, slots=True)
class ImageStanding:
    """One method among those compared: means over seeds, and of these over folds."""

    label: str
    scores: dict[str, float]
    folds: dict[int, dict[str, float]]
    rank: int
    rank_interval: tuple[int, int] | None
    noise_group: int
    signatures: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ImageComparison:
    """Two methods or more on the same episodes under one protocol, with how sure their order is."""

    protocol: str
    by: str
    folds: tuple[int, ...]
    seeds: tuple[int, ...]
    pictures: int
    episodes: int
    resamples: int
    standings: tuple[ImageStanding, ...]  # two in the order given, more from the best down
    pairs: tuple[ImagePair, ...]  # neighbours in `standings`
    notes: tuple[str, ...]

    @property
    def exact(self) -> bool:
        """Whether p is that of all choices of pictures rather than of a sample."""
        return flips_are_exact(self.pictures, self.resamples)

    @property
    def smallest_p(self) -> float:
        """The least p that so many pictures can give a pair, before any correction."""
        return smallest_p(self.pictures, self.resamples)


def image_files(paths: Sequence[AnyPath], protocol: str | None = None) -> dict[Path, ImageResult]:
    """The results on images among those at `paths`, files or folders, in order; none where it is clips that are to be compared.

    Raises:
        UserInputError: there are results on clips, too, and `protocol` does not say which are meant.
        DataError: a path does not exist or holds no result, or one cannot be read.
    """
    for path in map(Path, paths):
        if next(find_results([path]), None) is None:
            raise DataError("no results", path, expected="a scored run", fix="run `icvos score` first or check the path")
    files = list(find_results(paths))
    results = {path: ImageResult.load(path) for path in files if is_image_result(path)}
    clips = [path for path in files if path not in results]
    if results and clips and protocol is None:
        found = f"{many(len(results), 'result')} on images ({next(iter(results))}) and {len(clips)} on clips ({clips[0]})"
        fix = "leave one kind out, or choose with --protocol NAME"
        raise UserInputError("images and clips cannot be compared", found=found, expected="one kind", fix=fix)
    return {} if clips and all(result.protocol != protocol for result in results.values()) else results


def compare_images(
    results: Mapping[Path, ImageResult], *, by: str = "mIoU", protocol: str | None = None, resamples: int = RESAMPLES, seed: int = 0
) -> ImageComparison:
    """Compare two methods in the order given, or rank several and compare neighbours.

    Args:
        results: by their files, beside which the counts of episodes lie; a method may have several folds and seeds.
        by: the score that ranks, mIoU or FB-IoU; differences are given in both.
        protocol: those of other protocols are left out.
        resamples: of the bootstrap, and of flips where pictures are too many to try all.
        seed: of both; the same results give the same comparison.

    Raises:
        UserInputError: there are not two methods with the same folds and seeds, one is there twice, or they are of several protocols
            or releases.
        DataError: counts are missing, unreadable, not those of their result, or of other episodes.
    """
    if by not in BY:
        raise UserInputError("unknown score to compare by", by, fix=did_you_mean(by, BY))
    methods, notes = _contestants(labelled(of_one_protocol(list(results.values()), protocol)))
    files = {result.signature: path for path, result in results.items()}
    rows = {label: {(one.fold, one.seed): _counts(files[one.signature]) for one in same} for label, same in methods.items()}
    measured = measure(rows, resamples, seed)
    if len(rows) > 2:
        order = sorted(measured, key=lambda label: (-measured[label].scores[-1, BY.index(by)], label))
        measured = {label: measured[label] for label in order}
    pairs, one = pairs_of(measured, resamples, seed), next(iter(rows.values()))
    pictures = len({row.picture for found in one.values() for row in found})
    return ImageComparison(
        protocol=next(iter(methods.values()))[0].protocol,
        by=by,
        folds=folds_of(one),
        seeds=tuple(sorted({seed for _, seed in one})),
        pictures=pictures,
        episodes=sum(map(len, one.values())),
        resamples=resamples,
        standings=_standings(methods, measured, pairs, by),
        pairs=tuple(pairs),
        notes=(*too_few(pictures, "picture", len(pairs), resamples), *notes, *_notes(methods)),
    )


def _counts(path: Path) -> list[EpisodeCounts]:
    """What was counted for a result, which was held to it when it was opened."""
    if not (rows := read_counts(path)):
        expected, fix = "*.episodes.csv beside the result", "copy it along, or score the run again"
        raise DataError("no counts of episodes to pair", path, expected=expected, fix=fix)
    return rows


def _contestants(methods: dict[str, list[ImageResult]]) -> tuple[dict[str, list[ImageResult]], list[str]]:
    """Who is compared, and what is said of those left out: of more than two, floors; and whoever has other folds or seeds than most."""
    if len(methods) < 2:
        fix = "give another method's result too (a file that is named twice counts once)"
        raise UserInputError("nothing to compare", found=f"one method: {', '.join(methods)}", expected="two or more", fix=fix)
    rivals = [label for label, same in methods.items() if same[0].method.get("kind", "method") == "method"]
    chosen = rivals if len(methods) > 2 and len(rivals) > 1 else list(methods)
    floors = sorted(methods.keys() - set(chosen))
    parts = {label: tuple(sorted((one.fold, one.seed) for one in methods[label])) for label in chosen}
    often = Counter(parts.values())
    most = min(often, key=lambda part: (-often[part], -len(part), part))
    others = "; ".join(f"{label}: {_said(part)}" for label, part in sorted(parts.items()) if part != most or often[most] < 2)
    if often[most] < 2:
        expected, fix = "the same folds and seeds", "give results of the same folds and seeds"
        raise UserInputError("methods of other folds or seeds cannot be paired", found=others, expected=expected, fix=fix)
    notes = [f"left out, being floors or ceilings: {', '.join(floors)} (give one and a method to compare these two)"] if floors else []
    notes += [f"left out, being of other folds or seeds than {_said(most)}: {others}"] if others else []
    kept = {label: sorted(methods[label], key=lambda one: (one.fold, one.seed)) for label in chosen if parts[label] == most}
    _refuse_releases(kept)
    return kept, notes


def _said(part: Sequence[tuple[int, int]]) -> str:
    folds, seeds = (", ".join(map(str, sorted(set(numbers)))) for numbers in zip(*part, strict=True))
    return f"{many(len(part), 'result')} of fold {folds}, seed {seeds}"


def _refuse_releases(methods: Mapping[str, Sequence[ImageResult]]) -> None:
    for together in zip(*methods.values(), strict=True):
        if len({one.digest for one in together}) > 1:
            named = zip(methods, together, strict=True)
            found = ", ".join(dict.fromkeys(f"{label} on {one.release}#{one.digest[:12]}" for label, one in named))
            where, fix = f"fold {together[0].fold}, seed {together[0].seed}", "run and score the others on the same frozen episodes"
            raise UserInputError("results on different releases cannot be compared", where, found, "one release", fix)


def _standings(
    methods: Mapping[str, Sequence[ImageResult]], measured: Mapping[str, Measured], pairs: Sequence[ImagePair], by: str
) -> tuple[ImageStanding, ...]:
    column = BY.index(by)
    known = [mean[:, column] for one in measured.values() if (mean := one.resampled[-1]) is not None]
    intervals = ranks_among(np.stack(known)) if known else (None,) * len(measured)
    groups = groups_within_noise([pair.differences[by].corrected for pair in pairs])
    printed = [round(float(one.scores[-1, column]), PRINTED) for one in measured.values()]
    if pairs[0].differences[by].value < 0:  # two in the order given, the worse one first
        groups = groups[::-1]
    found = []
    for place, (label, one) in enumerate(measured.items()):
        scores = [dict(zip(BY, row, strict=True)) for row in one.scores.tolist()]
        rank = 1 + sum(other > printed[place] for other in printed)
        folds, signatures = dict(zip(folds_of(one.rows), scores, strict=False)), tuple(result.signature for result in methods[label])
        found.append(ImageStanding(label, scores[-1], folds, rank, intervals[place], groups[place], signatures))
    return tuple(found)


def _notes(methods: Mapping[str, Sequence[ImageResult]]) -> tuple[str, ...]:
    """What the results say of themselves, each note once, with whose it is."""
    whose: defaultdict[str, list[str]] = defaultdict(list)
    for label, same in sorted(methods.items()):
        for note in dict.fromkeys(f"fold {one.fold}: {note}" for one in same for note in one.notes):
            whose[note].append(label)
    said = [note if len(names) == len(methods) else f"{', '.join(names)}: {note}" for note, names in sorted(whose.items())]
    return (*said, *version_notes(one.environment for same in methods.values() for one in same))
