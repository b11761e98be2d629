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
from pathlib import Path

from icvos.comparison.losses import Loss, losses_of, mean_loss
from icvos.comparison.pairs import BY, Difference, Pair, Variance, mean_score, neighbour_differences, pair_of, too_few, variance_of
from icvos.entries import Entry, comparable, labels, version_notes
from icvos.errors import DataError, UserInputError, did_you_mean
from icvos.files import AnyPath
from icvos.ranks import PRINTED, clip_sums, groups_within_noise, intervals_of_ranks, same_tubes, tubes_by_clip
from icvos.results import Result, abridged, find_results, is_image_result
from icvos.stats import RESAMPLES, flips_are_exact, smallest_p

ORACLE = "oracle-first-frame"


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
        order = sorted(range(len(chosen)), key=lambda i: (-mean_score(chosen[i].result, by), names[i]))
        chosen, names = [chosen[i] for i in order], [names[i] for i in order]
    found = [entry.result for entry in chosen]
    differences = neighbour_differences(found, resamples, seed)
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
        pairs=tuple(pair_of(place, found, names, by, differences) for place in range(len(found) - 1)),
        oracle=str(teller.result.method["name"]) if teller else None,
        notes=(*_notes(standings, len(tubes), resamples), *_left_out(left_out), *_of_oracle(teller, standings), *why_none),
    )


def load_results(paths: Sequence[AnyPath]) -> list[Entry]:
    """The results at `paths`, which are result files, or folders with results somewhere below, in the order given, each once.

    Raises:
        DataError: a path does not exist, or holds no result that can be read.
    """
    entries: list[Entry] = []
    for path in map(Path, paths):
        if not (found := [file for file in find_results([path]) if file == path or not is_image_result(file)]):
            raise DataError("no results", path, expected="a scored run of clips", fix="run `icvos score` first or check the path")
        seen = {entry.path.resolve() for entry in entries if entry.path}
        entries += [Entry.load(file) for file in found if file.resolve() not in seen]
    return entries


def compare_files(paths: Sequence[AnyPath], *, by: str = "J&F", protocol: str | None = None, oracle: AnyPath | None = None) -> Comparison:
    """`compare` on files and folders; `oracle` must hold one result under the protocol compared. Raises what `compare` raises."""
    oracle = None if oracle is None else Path(oracle)
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
    scores = [{name: mean_score(result, name) for name in BY} for result in results]
    printed = [round(row[by], PRINTED) for row in scores]
    if scores[0][by] < scores[-1][by]:  # two in the order given, the worse one first
        groups = groups[::-1]
    standings = []
    for place, result in enumerate(results):
        losses = losses_of(result, oracle, by)
        standings.append(
            Standing(
                names[place],
                result,
                scores[place],
                1 + sum(other > printed[place] for other in printed),
                intervals[place],
                groups[place],
                variance_of([result], by),
                mean_loss(losses),
                losses,
            )
        )
    return tuple(standings)


def _notes(standings: Sequence[Standing], clips: int, resamples: int) -> tuple[str, ...]:
    """What qualifies the whole comparison."""
    incomplete = [
        f"{standing.label}: {coverage.expected - coverage.present} of {coverage.expected} masks missing, counted as 0"
        for standing in standings
        if (coverage := standing.result.coverage).present < coverage.expected
    ]
    seen = [
        f"{standing.label}: contaminated, {len(standing.result.seen_clips)} of {clips} clips seen in training"
        for standing in standings
        if standing.result.seen_clips
    ]
    optimistic = [
        f"{standing.label}: optimistic, its settings were chosen on {len(standing.result.validation_clips)} of {clips} clips"
        for standing in standings
        if standing.result.validation_clips
    ]
    return (
        *too_few(clips, "clip", len(standings) - 1, resamples),
        *incomplete,
        *seen,
        *optimistic,
        *version_notes(standing.result.environment for standing in standings),
    )


def _left_out(entries: Sequence[Entry]) -> tuple[str, ...]:
    names = ", ".join(sorted(str(entry.result.method["name"]) for entry in entries))
    return (f"left out, being floors or ceilings: {names} (give one and a method to compare these two)",) if entries else ()
