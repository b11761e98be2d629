"""Results that are to stand side by side: where they came from, whether they may, and what to call them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from pathlib import Path
from typing import Any

from icvos.errors import DataError, UserInputError, did_you_mean
from icvos.files import AnyPath
from icvos.results import Result, Scores, Timing, abridged, release_label

KINDS = ("method", "ceiling", "floor")  # in the order of the board

_NAMES = tuple(entry.name for entry in fields(Scores))
_VALUES = attrgetter(*_NAMES)
_TELLS_APART = {"version": "1", "weights": "none", "precision": "none"}  # fields of a card, and what their absence means


@dataclass(frozen=True, slots=True)
class Entry:
    """A result and where it came from, so that a refusal can name the file."""

    result: Result
    path: Path | None = None
    timing: Timing | None = None

    @classmethod
    def load(cls, path: AnyPath) -> Entry:
        """The result file at `path`, with the timing beside it.

        Raises:
            DataError: either cannot be read.
        """
        path = Path(path)
        return cls(Result.load(path), path, Timing.beside(path))

    def __str__(self) -> str:
        name = str(self.result.method.get("name"))
        return f"{name} ({self.path})" if self.path else name


def comparable(entries: Iterable[Entry], protocol: str | None = None) -> list[Entry]:
    """The entries that may stand side by side, in the order given; with `protocol`, those scored under it, the others left out.

    Raises:
        UserInputError: none is left, or they are of several protocols or of several releases.
        DataError: a result holds something that is no score.
    """
    given = list(entries)
    for entry in given:
        _check(entry)
    chosen = _of_one_protocol(given, protocol)
    _refuse_releases(chosen)
    return chosen


def _of_one_protocol(entries: list[Entry], protocol: str | None) -> list[Entry]:
    if not entries:
        raise UserInputError("no results", expected="at least one scored run", fix="run `icvos score` first or check the path")
    by_protocol = _grouped((entry.result.protocol, entry) for entry in entries)
    if protocol is not None:
        if protocol not in by_protocol:
            raise UserInputError("no result under this protocol", protocol, fix=did_you_mean(protocol, by_protocol))
        return by_protocol[protocol]
    if len(by_protocol) > 1:
        choice = " or ".join(f"--protocol {name}" for name in sorted(by_protocol))
        raise UserInputError(
            "results of different protocols cannot be compared",
            found=_listed(by_protocol),
            expected="one protocol",
            fix=f"choose {choice}",
        )
    return entries


def _refuse_releases(entries: list[Entry]) -> None:
    by_digest = _grouped((entry.result.benchmark["digest"], entry) for entry in entries)
    if len(by_digest) > 1:
        by_release: dict[str, list[Entry]] = {}
        for group in by_digest.values():
            by_release[release_label(group[0].result.benchmark)] = group
        raise UserInputError(
            "results on different releases of the benchmark cannot be compared",
            found=_listed(by_release),
            expected="one release",
            fix="give the results of one release only, or run and score the others on it",
        )


def labels(entries: Sequence[Entry]) -> list[str]:
    """A name for each entry: the method's, with whatever tells it apart from another entry of that name.

    Raises:
        UserInputError: one method is there twice, and nothing tells its two results apart.
    """
    by_name = _grouped((entry.result.method["name"], entry) for entry in entries)
    named = {}
    for name, same in by_name.items():
        variants = {_variant(entry): entry for entry in same}
        if len(variants) < len(same):
            twice = Counter(_variant(entry) for entry in same).most_common(1)[0][0]
            raise UserInputError(
                "one method twice",
                name,
                found=", ".join(str(entry) for entry in same if _variant(entry) == twice),
                expected="one result for each version, weights and precision of a method",
                fix="leave all but one out, or give the variants their own version or name in the method's card",
            )
        varying = [i for i, values in enumerate(zip(*variants, strict=True)) if len(set(values)) > 1]
        for variant in variants:
            told = ", ".join(f"{tuple(_TELLS_APART)[i]} {variant[i]}" for i in varying)
            named[name, variant] = f"{name} ({told})" if told else name
    return [named[entry.result.method["name"], _variant(entry)] for entry in entries]


def version_notes(environments: Iterable[Mapping[str, str]]) -> tuple[str, ...]:
    """What to say where several versions of icvos scored, by the results' environments."""
    versions = sorted({str(environment.get("icvos", "unknown")) for environment in environments})
    return (f"scored by several versions of icvos: {', '.join(versions)}",) if len(versions) > 1 else ()


def _variant(entry: Entry) -> tuple[str, ...]:
    """What the signature says of a method besides its name."""
    return tuple(abridged(entry.result.method.get(key, absent)) for key, absent in _TELLS_APART.items())


def _grouped(pairs: Iterable[tuple[str, Entry]]) -> dict[str, list[Entry]]:
    groups: defaultdict[str, list[Entry]] = defaultdict(list)
    for key, entry in pairs:
        groups[key].append(entry)
    return dict(groups)


def _listed(groups: dict[str, list[Entry]], most: int = 3) -> str:
    """``native@1: a (path), b (path) and 4 more; paper-512@1: …`` in an order that does not depend on the input's."""
    parts = []
    for name, entries in sorted(groups.items()):
        more = f" and {len(entries) - most} more" if len(entries) > most else ""
        parts.append(f"{name}: {', '.join(str(entry) for entry in entries[:most])}{more}")
    return "; ".join(parts)


def _check(entry: Entry) -> None:
    """Refuse what the board could not print or sort: result files are other people's, and a NaN has no place in an order."""
    fault = next(_faults(entry.result), None)
    if fault is not None:
        raise DataError("unusable result", entry, found=fault, fix="score the run again")


def _faults(result: Result) -> Iterator[str]:
    name, kind = result.method.get("name"), result.method.get("kind", "method")
    if not (isinstance(name, str) and name.strip()):
        yield f"the method's name {name!r}"
    if kind not in KINDS:
        yield f"the kind of method {kind!r}"
    texts = {"protocol": result.protocol, **{key: result.benchmark.get(key) for key in ("name", "version", "digest")}}
    yield from (f"{key} {text!r}" for key, text in texts.items() if not isinstance(text, str))
    every = [result.overall, *(scores for rows in result.groups.values() for scores in rows.values())]
    every += [scores for tube in result.tubes for scores in (tube.mean, *tube.draws.values())]
    named = ((name, value) for scores in every for name, value in zip(_NAMES, _VALUES(scores), strict=True))
    yield from (f"{name} {value!r}" for name, value in named if not _is_score(value))
    yield from _faults_of_tubes(result)
    ends = [end for pair in result.intervals.values() if pair is not None for end in pair]
    yield from (f"interval end {end!r}" for end in ends if not _is_score(end))
    if not _is_score(result.support_spread):
        yield f"support spread {result.support_spread!r}"
    expected, present = result.coverage.expected, result.coverage.present
    if not (isinstance(expected, int) and isinstance(present, int) and 0 <= present <= expected):
        yield f"coverage {present!r} of {expected!r}"


def _faults_of_tubes(result: Result) -> Iterator[str]:
    names = [(tube.id, tube.source, tube.clip, tube.category) for tube in result.tubes]
    yield from (f"the name {word!r} of a tube" for words in names for word in words if not isinstance(word, str))
    yield from (f"{tube.frames!r} frames of the tube {tube.id}" for tube in result.tubes if type(tube.frames) is not int)
    twice = [tube for tube, count in Counter(str(words[0]) for words in names).items() if count > 1]
    yield from (f"no draw of the tube {tube.id}" for tube in result.tubes if not tube.draws)
    yield from (f"the tube {tube} more than once" for tube in twice)


def _is_score(value: Any) -> bool:
    """A number in [-1, 1] (decay may be negative), give or take rounding; NaN fails every comparison."""
    return isinstance(value, int | float) and abs(value) <= 1 + 1e-9
