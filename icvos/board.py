"""The board: a pure function of result files. Nothing is ranked together that was not measured alike.

Decisions that a reader may want to know:

- Rows whose printed score is the same (0.01 %) share a rank, and the rank after them is skipped (1, 1, 3).
- Floors and ceilings stand apart, sorted but without a rank number.
- A run that did not predict everything keeps its rank, because absent masks already count 0; it is flagged.
- One method may stand on a board several times if its version, weights or precision differ; the label then says which.
  The same method twice with all of these equal is refused: nobody could tell the two numbers apart.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from icvos.errors import DataError, UserInputError, did_you_mean
from icvos.reported import ReportedRow
from icvos.results import Result, Scores, Timing, abridged

SCORES = ("J&F", "J", "F", "J_recall", "F_recall", "J_decay", "F_decay", "J_first", "F_first")
LOWER_IS_BETTER = frozenset({"J_decay", "F_decay"})
FORMATS = ("markdown", "html", "json", "csv", "latex")
KINDS = ("method", "ceiling", "floor")  # in the order of the board

_PRINTED = 4  # decimals of a score in [0, 1] that show in percent
_TELLS_APART = {"version": "1", "weights": "none", "precision": "none"}  # fields of a card, and what their absence means


@dataclass(frozen=True, slots=True)
class Entry:
    """A result and where it came from, so that a refusal can name the file."""

    result: Result
    path: Path | None = None
    timing: Timing | None = None

    @classmethod
    def load(cls, path: Path) -> Entry:
        """The result file at `path`, with the timing beside it.

        Raises:
            DataError: either cannot be read.
        """
        return cls(Result.load(path), path, Timing.beside(path))

    def __str__(self) -> str:
        name = str(self.result.method.get("name"))
        return f"{name} ({self.path})" if self.path else name


@dataclass(frozen=True, slots=True)
class Row:
    """One measured line. `scores` and `intervals` are those it is ranked by: of the whole run, or of one group.

    `scores` is None where the run has nothing of that group; a group has no intervals. `clips`, `tubes` and `episodes`
    are always those of the whole run.
    """

    label: str
    result: Result
    timing: Timing | None
    scores: Scores | None
    intervals: dict[str, tuple[float, float] | None]
    rank: int | None = None

    @property
    def kind(self) -> str:
        """``method``, ``ceiling`` or ``floor``."""
        return str(self.result.method.get("kind", "method"))

    @property
    def clips(self) -> int:
        """How many videos were scored."""
        return len(self.result.clips)

    @property
    def tubes(self) -> int:
        """How many tubes were scored."""
        return len(self.result.tubes)

    @property
    def episodes(self) -> int:
        """How many episodes were scored: the support draws of all tubes."""
        return sum(len(tube.draws) for tube in self.result.tubes)

    @property
    def complete(self) -> bool:
        """Whether every mask of the release was predicted."""
        return self.result.coverage.present >= self.result.coverage.expected

    def score(self, by: str) -> float | None:
        """The score called `by`, in [0, 1]."""
        return None if self.scores is None else self.scores.as_dict()[by]

    def interval(self, by: str) -> tuple[float, float] | None:
        """The 95 % interval of the score called `by`, where there is one."""
        return self.intervals.get(by)


@dataclass(frozen=True, slots=True)
class Leaderboard:
    """Runs on one release under one protocol, sorted by label, and what papers report beside them."""

    benchmark: dict[str, str]  # name, version, digest
    protocol: str
    rows: tuple[Row, ...]
    reported: tuple[ReportedRow, ...] = ()

    @classmethod
    def collect(
        cls, results: Iterable[Result | Entry], *, protocol: str | None = None, reported: Sequence[ReportedRow] = ()
    ) -> Leaderboard:
        """The board of `results`; with `protocol`, of those scored under it, the others left out.

        Raises:
            UserInputError: no result is left, or they are of several protocols, of several releases, or one method twice.
            DataError: a result holds something that is no score.
        """
        entries = [item if isinstance(item, Entry) else Entry(item) for item in results]
        for entry in entries:
            _check(entry)
        entries = _of_one_protocol(sorted(entries, key=str), protocol)
        _refuse_releases(entries)
        labels = _labels(entries)
        rows = [Row(label, e.result, e.timing, e.result.overall, e.result.intervals) for label, e in zip(labels, entries, strict=True)]
        rows.sort(key=lambda row: (row.label, row.result.signature))
        return cls(rows[0].result.benchmark, rows[0].result.protocol, tuple(rows), tuple(reported))

    @classmethod
    def load(cls, paths: Iterable[Path], *, protocol: str | None = None, reported: Sequence[ReportedRow] = ()) -> Leaderboard:
        """The board of the result files at `paths`, with the timings beside them. Raises what `collect` raises."""
        return cls.collect((Entry.load(path) for path in paths), protocol=protocol, reported=reported)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know of the board as a whole."""
        versions = sorted({str(row.result.environment.get("icvos", "unknown")) for row in self.rows})
        return (f"scored by several versions of icvos: {', '.join(versions)}",) if len(versions) > 1 else ()

    def groups(self) -> dict[str, tuple[str, str]]:
        """Every group that some run has: ``"class=dog"`` -> ``("class", "dog")``."""
        return {f"{kind}={name}": (kind, name) for row in self.rows for kind, names in row.result.groups.items() for name in names}

    def rank(self, by: str = "J&F", group: str | None = None) -> tuple[Row, ...]:
        """Methods from the best down with their ranks, then ceilings, then floors, both without a rank.

        Args:
            by: any of `SCORES`; of decay the lower is the better.
            group: rank by the scores of one group (``"class=dog"``, ``"source=davis"``); rows without it come last, unranked.

        Raises:
            UserInputError: there is no such score or group.
        """
        if by not in SCORES:
            raise UserInputError("unknown score to rank by", by, fix=did_you_mean(by, SCORES))
        rows = self.rows if group is None else tuple(_of_group(row, self._group(group)) for row in self.rows)
        sign = 1 if by in LOWER_IS_BETTER else -1

        def order(row: Row) -> tuple[int, bool, float, str]:
            score = row.score(by)
            return KINDS.index(row.kind), score is None, 0.0 if score is None else sign * score, row.label

        return _numbered(sorted(rows, key=order), by)

    def render(self, format: str = "markdown", *, by: str = "J&F", group: str | None = None) -> str:
        """The board as ``markdown``, ``html``, ``json`` or ``csv`` text: the same bytes for the same results in any order.

        Raises:
            UserInputError: there is no such format, score or group.
        """
        if format not in FORMATS:
            raise UserInputError("unknown format", format, fix=did_you_mean(format, FORMATS))
        from icvos.render import RENDERERS

        # JSON may name half a surrogate pair, which no UTF-8 file can hold.
        return RENDERERS[format](self, by, group).encode("utf-8", "replace").decode()

    def _group(self, group: str) -> tuple[str, str]:
        known = self.groups()
        if group not in known:
            raise UserInputError("unknown group", group, expected="kind=name", fix=did_you_mean(group, known))
        return known[group]


def _of_group(row: Row, group: tuple[str, str]) -> Row:
    kind, name = group
    return replace(row, scores=row.result.groups.get(kind, {}).get(name), intervals={})


def _numbered(rows: Sequence[Row], by: str) -> tuple[Row, ...]:
    """The sorted rows with the ranks of the methods among them: 1, 1, 3 where the first two print alike."""
    numbered: list[Row] = []
    for place, row in enumerate(rows, start=1):
        score = row.score(by)
        if row.kind != "method" or score is None:
            numbered.append(row)
            continue
        above = numbered[-1] if numbered else None
        tied = above is not None and round(above.score(by) or 0.0, _PRINTED) == round(score, _PRINTED)
        numbered.append(replace(row, rank=above.rank if above is not None and tied else place))
    return tuple(numbered)


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
            "results of different protocols cannot be ranked together",
            found=_listed(by_protocol),
            expected="one protocol",
            fix=f"choose {choice}",
        )
    return entries


def _refuse_releases(entries: list[Entry]) -> None:
    by_digest = _grouped((entry.result.benchmark["digest"], entry) for entry in entries)
    if len(by_digest) > 1:
        by_release: dict[str, list[Entry]] = {}
        for digest, group in by_digest.items():
            release = group[0].result.benchmark
            by_release[f"{release['name']}@{release['version']}#{digest[:12]}"] = group
        raise UserInputError(
            "results on different releases of the benchmark cannot be ranked together",
            found=_listed(by_release),
            expected="one release",
            fix="give the results of one release only, or run and score the others on it",
        )


def _labels(entries: list[Entry]) -> list[str]:
    """A name for each entry: the method's, with whatever tells it apart from another row of that name."""
    by_name = _grouped((entry.result.method["name"], entry) for entry in entries)
    labels = {}
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
            labels[name, variant] = f"{name} ({told})" if told else name
    return [labels[entry.result.method["name"], _variant(entry)] for entry in entries]


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
    yield from (f"{key} {value!r}" for scores in every for key, value in scores.as_dict().items() if not _is_score(value))
    ends = [end for pair in result.intervals.values() if pair is not None for end in pair]
    yield from (f"interval end {end!r}" for end in ends if not _is_score(end))
    if not _is_score(result.support_spread):
        yield f"support spread {result.support_spread!r}"
    expected, present = result.coverage.expected, result.coverage.present
    if not (isinstance(expected, int) and isinstance(present, int) and 0 <= present <= expected):
        yield f"coverage {present!r} of {expected!r}"


def _is_score(value: Any) -> bool:
    """A number in [-1, 1] (decay may be negative), give or take rounding; NaN fails every comparison."""
    return isinstance(value, int | float) and abs(value) <= 1 + 1e-9
