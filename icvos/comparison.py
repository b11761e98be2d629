"""Results against one another: how large a difference is, whether clips or chance make it, and where it comes from.

Decisions that a reader may want to know (docs/compare.md has the definitions):

- Two results are compared in the order given: a difference is the first less the second. More are ranked, and each is compared
  with the one below it; p is then corrected for the number of pairs.
- Among more than two, floors and ceilings are left out, as on a board, unless fewer than two methods would remain.
- The oracle that is told the first mask measures what propagation loses; beside two other results it is that and no rival.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import fsum, sqrt
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from icvos.entries import Entry, comparable, labels, version_notes
from icvos.errors import DataError, UserInputError, did_you_mean
from icvos.ranks import ALPHA, PRINTED, clip_sums, groups_within_noise, intervals_of_ranks, same_tubes, tubes_by_clip
from icvos.results import Result, Scores, TubeScores, abridged, find_results
from icvos.stats import RESAMPLES, flips_are_exact, holm, resampled_means, sign_flip_p, smallest_p, variance_of_mean, variance_parts

BY = ("J&F", "J", "F")
ORACLE = "oracle-first-frame"


@dataclass(frozen=True, slots=True)
class Difference:
    """The mean over tubes of the first result less that of the second, in one score.

    `interval` is the 95 % percentile interval by a bootstrap over clips, None with one clip. `p` is that of the sign flips of
    clips, `corrected` the same after Holm's correction over all pairs compared (equal where there is one pair).
    """

    first: float
    second: float
    interval: tuple[float, float] | None
    p: float
    corrected: float

    @property
    def value(self) -> float:
        """First less second."""
        return self.first - self.second


@dataclass(frozen=True, slots=True)
class Variance:
    """What makes scores vary: two components as standard deviations, and what each adds to the mean's standard error.

    `clips` is the deviation between clips (of the mean of a clip's tubes, had they endless draws), `draws` that between the support
    draws of one tube; see `icvos.stats.variance_parts`. None where there are too few of either.
    """

    clips: float | None
    draws: float | None
    error_of_clips: float | None
    error_of_draws: float | None


@dataclass(frozen=True, slots=True)
class Loss:
    """Where a score S falls short of 1, split in two ways, each of which adds up to 1 - S.

    By the first frame's own score: `on_first` = 1 - S(first frame), `afterwards` = S(first frame) - S. By the oracle, which is told
    the true first mask and propagates it: `propagation` = 1 - S(oracle), `first_frame` = S(oracle) - S; None without an oracle.
    `afterwards` and `first_frame` are below 0 where a method gets better after the first frame, or beats the oracle.
    """

    on_first: float
    afterwards: float
    propagation: float | None
    first_frame: float | None


@dataclass(frozen=True, slots=True)
class Standing:
    """One result among those compared. Ranks, intervals of ranks and groups are by the score compared by."""

    label: str
    result: Result
    scores: dict[str, float]  # J&F, J, F: means over tubes
    rank: int
    rank_interval: tuple[int, int] | None
    noise_group: int
    variance: Variance
    loss: Loss
    losses: dict[str, Loss]  # tube id -> ...


@dataclass(frozen=True, slots=True)
class TubeGap:
    """One tube in both results of a pair, in the score compared by."""

    tube: str
    first: float
    second: float

    @property
    def value(self) -> float:
        """First less second."""
        return self.first - self.second

    @property
    def outcome(self) -> int:
        """1 where the first wins, -1 where the second does, 0 where both print the same percent."""
        first, second = round(self.first, PRINTED), round(self.second, PRINTED)
        return (first > second) - (first < second)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two results side by side."""

    first: str
    second: str
    differences: dict[str, Difference]  # J&F, J, F
    gaps: tuple[TubeGap, ...]  # every tube, the largest gain of the first at the front
    variance: Variance  # of the difference, draw by draw: both were given the same supports

    @property
    def wins(self) -> int:
        """Tubes on which the first scores more."""
        return sum(gap.outcome > 0 for gap in self.gaps)

    @property
    def ties(self) -> int:
        """Tubes on which both print the same percent."""
        return sum(gap.outcome == 0 for gap in self.gaps)

    @property
    def losses(self) -> int:
        """Tubes on which the second scores more."""
        return sum(gap.outcome < 0 for gap in self.gaps)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two results or more on one release under one protocol, with how sure their order is."""

    benchmark: dict[str, str]  # name, version, digest
    protocol: str
    by: str
    clips: int
    tubes: int
    resamples: int
    standings: tuple[Standing, ...]  # two in the order given, more from the best down
    pairs: tuple[Pair, ...]  # neighbours in `standings`
    oracle: str | None
    notes: tuple[str, ...]

    @property
    def exact(self) -> bool:
        """Whether p is that of all sign flips rather than of a sample."""
        return flips_are_exact(self.clips, self.resamples)

    @property
    def smallest_p(self) -> float:
        """The least p that so many clips can give a pair, before any correction."""
        return smallest_p(self.clips, self.resamples)


def compare(
    results: Iterable[Result | Entry],
    *,
    by: str = "J&F",
    protocol: str | None = None,
    oracle: Result | Entry | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """Compare two results in the order given, or rank several and compare neighbours.

    Args:
        results: two or more, of the same release; with `protocol`, those of other protocols are left out.
        by: the score that ranks, counts wins and orders gaps: J&F, J or F. Differences are given in all three.
        oracle: the run that was told the true first mask; without it, one called `oracle-first-frame` among the results.
        resamples: of the bootstrap, and of sign flips where clips are too many to try all.
        seed: of both; the same results give the same comparison.

    Raises:
        UserInputError: there are not two results, one method is there twice, or they are of several protocols or releases.
        DataError: a result holds something that is no score, or results are of other tubes than the first.
    """
    if by not in BY:
        raise UserInputError("unknown score to compare by", by, fix=did_you_mean(by, BY))
    entries = comparable(map(_entry, results), protocol)
    if len(entries) < 2:
        fix = "give another result too (a file that is named twice counts once)"
        raise UserInputError("nothing to compare", found=f"one result: {entries[0]}", expected="two or more", fix=fix)
    chosen, left_out = _contestants(entries)
    names = labels(chosen)
    teller, why_none = _oracle(entries, None if oracle is None else _entry(oracle))
    _refuse_other_tubes([*chosen, *([teller] if teller else [])])
    if len(chosen) > 2:
        order = sorted(range(len(chosen)), key=lambda i: (-_mean(chosen[i].result.tubes, by), names[i]))
        chosen, names = [chosen[i] for i in order], [names[i] for i in order]
    found = [entry.result for entry in chosen]
    differences = _differences(found, resamples, seed)
    standings = _standings(found, names, teller.result if teller else None, by, differences[by], resamples, seed)
    tubes = tubes_by_clip(found[0])
    return Comparison(
        benchmark=found[0].benchmark,
        protocol=found[0].protocol,
        by=by,
        clips=len(tubes),
        tubes=len(found[0].tubes),
        resamples=resamples,
        standings=standings,
        pairs=tuple(_pair(place, found, names, by, differences) for place in range(len(found) - 1)),
        oracle=str(teller.result.method["name"]) if teller else None,
        notes=(*_notes(standings, len(tubes), resamples), *_left_out(left_out), *_of_oracle(teller, standings), *why_none),
    )


def load_results(paths: Sequence[Path]) -> list[Entry]:
    """The results at `paths`, which are result files, or folders with results somewhere below, in the order given, each once.

    Raises:
        DataError: a path does not exist, or holds no result that can be read.
    """
    entries: list[Entry] = []
    for path in paths:
        if not (found := list(find_results([path]))):
            raise DataError("no results", path, expected="a scored run", fix="run `icvos score` first or check the path")
        seen = {entry.path.resolve() for entry in entries if entry.path}
        entries += [Entry.load(file) for file in found if file.resolve() not in seen]
    return entries


def compare_files(paths: Sequence[Path], *, by: str = "J&F", protocol: str | None = None, oracle: Path | None = None) -> Comparison:
    """`compare` on files and folders; `oracle` must hold one result under the protocol compared. Raises what `compare` raises."""
    entries = comparable(load_results(paths), protocol)
    if oracle is None:
        return compare(entries, by=by)
    told = comparable(load_results([oracle]), entries[0].result.protocol)
    if len(told) > 1:
        raise UserInputError("not one oracle", oracle, ", ".join(map(str, told)), "one result", "name its result file")
    return compare(entries, by=by, oracle=told[0])


def _entry(item: Result | Entry) -> Entry:
    return item if isinstance(item, Entry) else Entry(item)


def _is_oracle(entry: Entry) -> bool:
    return bool(entry.result.method["name"] == ORACLE)


def _contestants(entries: list[Entry]) -> tuple[list[Entry], list[Entry]]:
    """Who is compared, and who is left out: of more than two, methods; where these are too few, all but oracles; else all."""
    methods = [entry for entry in entries if entry.result.method.get("kind", "method") == "method"]
    others = [entry for entry in entries if not _is_oracle(entry)]
    chosen = entries if len(entries) == 2 else next(some for some in (methods, others, entries) if len(some) > 1)
    taken = set(map(id, chosen))
    return chosen, [entry for entry in entries if id(entry) not in taken and not _is_oracle(entry)]


def _oracle(entries: list[Entry], given: Entry | None) -> tuple[Entry | None, tuple[str, ...]]:
    """The run that measures propagation, and what to say where there is none."""
    if given is not None:
        comparable([entries[0], given])
        return given, ()
    found = [entry for entry in entries if _is_oracle(entry)]
    if len(found) == 1:
        return found[0], ()
    why = "no oracle-first-frame result is given" if not found else f"there are {len(found)} oracle-first-frame results"
    return None, (f"{why}, so propagation error is not known: what is lost after the first frame stands in for it (say --oracle RESULT)",)


def _of_oracle(oracle: Entry | None, standings: Sequence[Standing]) -> tuple[str, ...]:
    """Whose propagation error is not their own: the oracle followed with other weights than they did."""
    weights = str(oracle.result.method.get("weights", "none")) if oracle else ""
    others = [row.label for row in standings if weights not in str(row.result.method.get("weights", "none"))]
    said = f"propagation error is that of the oracle's weights ({abridged(weights)}), which these did not use: {', '.join(others)}"
    return (said,) if others else ()


def _refuse_other_tubes(entries: list[Entry]) -> None:
    """Paired tests need pairs: every result must be of the tubes and draws of the first."""
    first = {tube.id: tube for tube in entries[0].result.tubes}
    for entry in entries:
        if same_tubes([entries[0].result, entry.result]):
            continue
        tubes = {tube.id: tube for tube in entry.result.tubes}
        odd = sorted(first.keys() ^ tubes.keys()) or sorted(name for name in first if set(first[name].draws) != set(tubes[name].draws))
        raise DataError(
            "results of other tubes or draws cannot be compared",
            entry,
            found=f"{len(tubes)} tubes, and {', '.join(odd[:3]) or 'other clips'} not as in {entries[0]}" if tubes else "no tubes",
            expected=f"its {len(first)} tubes and their draws",
            fix="score both runs again, on the same release",
        )


def _field(by: str) -> str:
    return "JF" if by == "J&F" else by


def _mean(tubes: Sequence[TubeScores], by: str) -> float:
    return fsum(getattr(tube.mean, _field(by)) for tube in tubes) / len(tubes)


def _differences(results: Sequence[Result], resamples: int, seed: int) -> dict[str, list[Difference]]:
    """For J&F, J and F, the difference of each result and the next."""
    found = {}
    for by in BY:
        scores = clip_sums(results, by)
        gaps = scores.sums[:-1] - scores.sums[1:]
        p = [float(value) for value in sign_flip_p(gaps, resamples=resamples, seed=seed)]
        means = [_mean(result.tubes, by) for result in results]
        intervals = _intervals(gaps, scores.counts, resamples, seed)
        found[by] = [Difference(*row) for row in zip(means[:-1], means[1:], intervals, p, holm(p), strict=True)]
    return found


def _intervals(gaps: NDArray[np.float64], counts: NDArray[np.int64], resamples: int, seed: int) -> list[tuple[float, float] | None]:
    if len(counts) < 2:
        return [None] * len(gaps)
    ends = np.quantile(resampled_means(gaps, counts, resamples=resamples, seed=seed), (0.025, 0.975), axis=1)
    return [(float(low), float(high)) for low, high in ends.T]


def _standings(
    results: Sequence[Result],
    names: Sequence[str],
    oracle: Result | None,
    by: str,
    differences: Sequence[Difference],
    resamples: int,
    seed: int,
) -> tuple[Standing, ...]:
    sums = clip_sums(results, by)
    intervals = intervals_of_ranks(sums, resamples=resamples, seed=seed) or (None,) * len(results)
    groups = groups_within_noise([pair.corrected for pair in differences])
    scores = [{name: _mean(result.tubes, name) for name in BY} for result in results]
    printed = [round(row[by], PRINTED) for row in scores]
    if printed[0] < printed[-1]:  # two in the order given, the worse one first
        groups = groups[::-1]
    truth = {tube.id: tube.mean for tube in oracle.tubes} if oracle else {}
    standings = []
    for place, result in enumerate(results):
        losses = {tube.id: _loss(tube.mean, truth.get(tube.id), by) for tube in sorted(result.tubes, key=lambda tube: tube.id)}
        standings.append(
            Standing(
                names[place],
                result,
                scores[place],
                1 + sum(other > printed[place] for other in printed),
                intervals[place],
                groups[place],
                _variance([result], by),
                _mean_loss(list(losses.values())),
                losses,
            )
        )
    return tuple(standings)


def _loss(scores: Scores, oracle: Scores | None, by: str) -> Loss:
    score = getattr(scores, _field(by))
    first = {"J&F": (scores.J_first + scores.F_first) / 2, "J": scores.J_first, "F": scores.F_first}[by]
    told = None if oracle is None else getattr(oracle, _field(by))
    return Loss(1 - first, first - score, None if told is None else 1 - told, None if told is None else told - score)


def _mean_loss(losses: Sequence[Loss]) -> Loss:
    """Part by part, the mean over tubes."""

    def mean(values: Sequence[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return fsum(known) / len(known) if known else None

    columns = zip(*((loss.on_first, loss.afterwards, loss.propagation, loss.first_frame) for loss in losses), strict=True)
    on_first, afterwards, propagation, first_frame = map(mean, columns)
    return Loss(on_first or 0.0, afterwards or 0.0, propagation, first_frame)


def _variance(results: Sequence[Result], by: str) -> Variance:
    """Of one result, or of the first less the second, tube by tube and draw by draw."""
    field, clips = _field(by), {}
    by_clip = [tubes_by_clip(result) for result in results]
    for clip in by_clip[0]:
        together = zip(*(tubes[clip] for tubes in by_clip), strict=True)
        clips[clip] = [
            [_signed([getattr(tube.draws[draw], field) for tube in tubes]) for draw in sorted(tubes[0].draws)] for tubes in together
        ]
    between, within = variance_parts(clips)
    tubes = [tube for clip in clips.values() for tube in clip]
    weights = sqrt(sum(len(clip) ** 2 for clip in clips.values())) / len(tubes)
    return Variance(
        clips=None if between is None else sqrt(between),
        draws=None if within is None else sqrt(within),
        error_of_clips=None if between is None else weights * sqrt(between),
        error_of_draws=None if within is None else sqrt(fsum(map(variance_of_mean, tubes))) / len(tubes),
    )


def _signed(values: Sequence[float]) -> float:
    return values[0] - sum(values[1:])


def _pair(place: int, results: Sequence[Result], names: Sequence[str], by: str, differences: dict[str, list[Difference]]) -> Pair:
    first, second = results[place : place + 2]
    other = {tube.id: getattr(tube.mean, _field(by)) for tube in second.tubes}
    gaps = [TubeGap(tube.id, getattr(tube.mean, _field(by)), other[tube.id]) for tube in first.tubes]
    return Pair(
        names[place],
        names[place + 1],
        {score: rows[place] for score, rows in differences.items()},
        tuple(sorted(gaps, key=lambda gap: (-gap.value, gap.tube))),
        _variance([first, second], by),
    )


def _notes(standings: Sequence[Standing], clips: int, resamples: int) -> tuple[str, ...]:
    """What qualifies the whole comparison."""
    pairs, least = len(standings) - 1, smallest_p(clips, resamples)
    many = f" ({pairs} times that with Holm's correction, {min(1.0, pairs * least):.3g})" if pairs > 1 else ""
    few = f"with {clips} clip{'s' * (clips != 1)} the smallest possible p is {least:.4g}{many}"
    hopeless = f"{few}: no difference, however large, can be told from noise at {ALPHA}"
    incomplete = [
        f"{standing.label}: {coverage.expected - coverage.present} of {coverage.expected} masks missing, counted as 0"
        for standing in standings
        if (coverage := standing.result.coverage).present < coverage.expected
    ]
    return (*([hopeless] if pairs * least >= ALPHA else []), *incomplete, *version_notes([standing.result for standing in standings]))


def _left_out(entries: Sequence[Entry]) -> tuple[str, ...]:
    names = ", ".join(sorted(str(entry.result.method["name"]) for entry in entries))
    return (f"left out, being floors or ceilings: {names} (give one and a method to compare these two)",) if entries else ()
