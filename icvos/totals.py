"""What follows from the scores of tubes: the overall scores, intervals, groups, spread and the number of masks that were asked for.

A result holds all of it for whoever reads the file. Whoever opens one derives it again, so that no total is believed for being there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from importlib.metadata import version
from math import fsum
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from icvos.cards import seen_in_training
from icvos.scores import MISSING_ALLOWED, Scores, TubeScores
from icvos.stats import cluster_interval, resampled_means, spread

if TYPE_CHECKING:
    from icvos.results import Result

LENGTHS = ((100, "up to 100 frames"), (500, "101 to 500 frames"))
LONGEST = "over 500 frames"
ROUNDING = 1e-9  # two derivations of one number differ by less, whatever the order of additions
# Another NumPy or SciPy may draw other resamples. Two bootstraps of 9,999 differ in an end by 1 % of the interval's width (one
# standard deviation, of a normal mean): by more than 5 % as good as never.
REDRAWN = 0.05

Interval: TypeAlias = tuple[float, float] | None
Intervals: TypeAlias = Mapping[str, Interval]
_RANKED: dict[str, Callable[[Scores], float]] = {"J&F": lambda s: s.JF, "J": lambda s: s.J, "F": lambda s: s.F}
_NAMES = tuple(field.name for field in fields(Scores))
_VALUES = attrgetter(*_NAMES)
_SIGNED = frozenset({"J_decay", "F_decay"})


@dataclass(frozen=True, slots=True)
class Totals:
    """What a result says beside its tubes; the fields are those of `icvos.results.Result`. `expected` counts masks."""

    overall: Scores
    intervals: dict[str, Interval]
    support_spread: float
    groups: dict[str, dict[str, Scores]]
    expected: int


class Disagreement(NamedTuple):
    """A field of a result that does not follow from its tubes: its name in the file, what stands there, what should."""

    field: str
    found: str
    expected: str


def mean_scores(rows: Iterable[Scores]) -> Scores:
    """Field by field, the mean of at least one row."""
    columns = np.ascontiguousarray(np.array([_VALUES(row) for row in rows], np.float64).T)
    return Scores(*np.mean(columns, axis=1).tolist())


def totals_of(tubes: Sequence[TubeScores], card: Mapping[str, Any], intervals: Callable[[Sequence[TubeScores]], Intervals]) -> Totals:
    """Everything that follows from tubes, of which there is at least one; `intervals` makes those of J, F and J&F."""
    return Totals(
        overall=mean_scores(tube.mean for tube in tubes),
        intervals=dict(intervals(tubes)),
        support_spread=spread([[scores.JF for scores in tube.draws.values()] for tube in tubes]),
        groups=_groups(tubes, card),
        expected=sum(tube.frames * len(tube.draws) for tube in tubes),
    )


def bootstrap_intervals(tubes: Sequence[TubeScores]) -> dict[str, Interval]:
    """95 % intervals of J, F and J&F by SciPy's bootstrap over clips, as results have them; None with fewer than two clips."""
    return {
        name: cluster_interval({clip: [pick(tube.mean) for tube in same] for clip, same in _by_clip(tubes).items()})
        for name, pick in _RANKED.items()
    }


def quick_intervals(tubes: Sequence[TubeScores]) -> dict[str, Interval]:
    """The same to 1e-9, of the same resamples, drawn once for all three scores and without SciPy, which takes a second to load."""
    clips = [same for _, same in sorted(_by_clip(tubes).items())]
    if len(clips) < 2:
        return dict.fromkeys(_RANKED)
    sums = np.array([[fsum(pick(tube.mean) for tube in same) for same in clips] for pick in _RANKED.values()])
    means = resampled_means(sums, np.array([len(same) for same in clips], np.int64))
    ends = np.percentile(means, [2.5, 97.5], axis=1).T
    found: dict[str, Interval] = {}
    for (name, pick), (low, high) in zip(_RANKED.items(), ends.tolist(), strict=True):
        values = [pick(tube.mean) for tube in tubes]
        found[name] = (min(max(low, min(values)), max(values)), min(max(high, min(values)), max(values)))
    return found


def disagreements(result: Result) -> Iterator[Disagreement]:
    """Every number of a result, and every note, that does not follow from its tubes; first what is wrong with the tubes themselves."""
    wrong = tuple(_of_tubes(result.tubes))
    if wrong:
        yield from wrong
        return
    derived = totals_of(result.tubes, result.method, quick_intervals)
    yield from _of_scores("overall", result.overall, derived.overall)
    yield from _of_groups(result.groups, derived.groups)
    yield from _of_intervals(result, derived.intervals)
    if _apart(result.support_spread, derived.support_spread):
        yield Disagreement("support_spread", repr(result.support_spread), f"{derived.support_spread!r}, that of its draws")
    yield from _of_coverage(result, derived.expected)


def _of_tubes(tubes: Sequence[TubeScores]) -> Iterator[Disagreement]:
    if not tubes:
        yield Disagreement("tubes", "none", "at least one")
    often = Counter(tube.id for tube in tubes if isinstance(tube.id, str))
    for place, tube in enumerate(tubes):
        at = f"tubes[{place}]"
        names = {"source": tube.source, "clip": tube.clip, "class": tube.category}
        if wrong := next((key for key, name in names.items() if not isinstance(name, str)), ""):
            yield Disagreement(f"{at}.{wrong}", repr(names[wrong]), "text")
            continue
        if tube.id != (named := f"{tube.source}/{tube.clip}/{tube.category.replace(' ', '-')}"):
            yield Disagreement(f"{at}.id", repr(tube.id), f"{named!r}, of its source, clip and class")
        elif often[tube.id] > 1:
            yield Disagreement(f"{at}.id", f"{tube.id!r} {often[tube.id]} times", "each tube once")
        if type(tube.frames) is not int or tube.frames < 1:
            yield Disagreement(f"{at}.frames", repr(tube.frames), "a whole number from 1 on")
        if not tube.draws:
            yield Disagreement(f"{at}.draws", "none", "at least one")
            continue
        for draw, scores in tube.draws.items():
            yield from _of_draw(f"{at}.draws.{draw}", scores)
        yield from _of_scores(f"{at}.mean", tube.mean, mean_scores(tube.draws.values()))


def _of_draw(at: str, scores: Scores) -> Iterator[Disagreement]:
    for name in _NAMES:
        value, least = getattr(scores, name), -1 if name in _SIGNED else 0
        if not least - ROUNDING <= value <= 1 + ROUNDING:
            yield Disagreement(f"{at}.{_in_file(name)}", repr(value), f"a score in [{least}, 1]")
    if _apart(scores.JF, (mean := (scores.J + scores.F) / 2)):
        yield Disagreement(f"{at}.J&F", repr(scores.JF), f"{mean!r}, the mean of its J and F")


def _of_scores(at: str, found: Scores, derived: Scores) -> Iterator[Disagreement]:
    for name in _NAMES:
        if _apart(getattr(found, name), (value := getattr(derived, name))):
            what = "the mean of its draws" if at.endswith(".mean") else "the mean of its tubes"
            yield Disagreement(f"{at}.{_in_file(name)}", repr(getattr(found, name)), f"{value!r}, {what}")


def _of_groups(found: Mapping[str, Mapping[str, Scores]], derived: Mapping[str, Mapping[str, Scores]]) -> Iterator[Disagreement]:
    yield from _of_names("groups", found, derived)
    for kind in found.keys() & derived.keys():
        yield from _of_names(f"groups.{kind}", found[kind], derived[kind])
        for name in sorted(found[kind].keys() & derived[kind].keys()):
            yield from _of_scores(f"groups.{kind}.{name}", found[kind][name], derived[kind][name])


def _of_names(at: str, found: Mapping[str, object], derived: Mapping[str, object]) -> Iterator[Disagreement]:
    for name in sorted(found.keys() ^ derived.keys()):
        said = ("scores", "nothing: no tube is of it") if name in found else ("nothing", "the scores of its tubes")
        yield Disagreement(f"{at}.{name}", *said)


def _of_intervals(result: Result, derived: Mapping[str, Interval]) -> Iterator[Disagreement]:
    yield from _of_names("intervals", result.intervals, derived)
    alike = all(result.environment.get(package) == version(package) for package in ("numpy", "scipy"))
    for name in [name for name in derived if name in result.intervals]:
        found, right = result.intervals[name], derived[name]
        room = ROUNDING if alike or right is None else ROUNDING + REDRAWN * (right[1] - right[0])
        if found is None or right is None:
            wrong = found is not right
        else:
            wrong = any(not isinstance(end, int | float) or _apart(end, other, room) for end, other in zip(found, right, strict=True))
        if wrong:
            yield Disagreement(f"intervals.{name}", _ends(found), f"{_ends(right)}, by the bootstrap over its clips")


def _of_coverage(result: Result, expected: int) -> Iterator[Disagreement]:
    coverage = result.coverage
    if type(coverage.expected) is not int or coverage.expected != expected:
        yield Disagreement("coverage.expected", repr(coverage.expected), f"{expected}, the frames of all draws of its tubes")
    if type(coverage.present) is not int or not 0 <= coverage.present <= expected:
        yield Disagreement("coverage.present", repr(coverage.present), f"a number from 0 to {expected}")
    elif coverage.present < expected and MISSING_ALLOWED not in result.notes:
        yield Disagreement("notes", f"none of the {expected - coverage.present} masks that are missing", repr(MISSING_ALLOWED))


def _apart(found: object, derived: float, room: float = ROUNDING) -> bool:
    """Whether something is not this number; NaN is none."""
    return isinstance(found, bool) or not isinstance(found, int | float) or not abs(found - derived) <= room


def _ends(pair: Interval) -> str:
    return "null" if pair is None else f"[{pair[0]!r}, {pair[1]!r}]"


def _in_file(name: str) -> str:
    return "J&F" if name == "JF" else name


def _by_clip(tubes: Iterable[TubeScores]) -> dict[str, list[TubeScores]]:
    clips: dict[str, list[TubeScores]] = {}
    for tube in tubes:
        clips.setdefault(f"{tube.source}/{tube.clip}", []).append(tube)
    return clips


def _groups(tubes: Sequence[TubeScores], card: Mapping[str, Any]) -> dict[str, dict[str, Scores]]:
    trained = _grouped((seen, tube.mean) for tube in tubes if (seen := seen_in_training(card, tube.category)))
    return {
        "class": _grouped((tube.category, tube.mean) for tube in tubes),
        "source": _grouped((tube.source, tube.mean) for tube in tubes),
        "length": _grouped((length_group(tube.frames), tube.mean) for tube in tubes),
        "support": _grouped((draw, scores) for tube in tubes for draw, scores in tube.draws.items()),
    } | ({"training": trained} if trained else {})


def _grouped(pairs: Iterable[tuple[str, Scores]]) -> dict[str, Scores]:
    groups: dict[str, list[Scores]] = {}
    for name, scores in pairs:
        groups.setdefault(name, []).append(scores)
    return {name: mean_scores(groups[name]) for name in sorted(groups)}


def length_group(frames: int) -> str:
    """The group of clips of about this many frames, in words."""
    return next((name for most, name in LENGTHS if frames <= most), LONGEST)
