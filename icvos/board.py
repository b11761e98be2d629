"""The board: a pure function of result files. Nothing is ranked together that was not measured alike.

Decisions that a reader may want to know:

- Rows whose printed score is the same (0.01 %) share a rank, and the rank after them is skipped (1, 1, 3).
- Floors and ceilings stand apart, sorted but without a rank number.
- Each rank has an interval, and methods that a paired test does not tell from the one above them share a group (`icvos.ranks`).
- A run that did not predict everything keeps its rank, because absent masks already count 0; it is flagged.
- One method may stand on a board several times if its version, weights or precision differ; the label then says which.
  The same method twice with all of these equal is refused: nobody could tell the two numbers apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from icvos.entries import KINDS, Entry, comparable, labels, version_notes
from icvos.errors import UserInputError, did_you_mean
from icvos.files import AnyPath
from icvos.ranks import PRINTED, noise_groups, rank_intervals, same_tubes
from icvos.reported import ReportedRow
from icvos.results import Result, Scores, Timing

SCORES = ("J&F", "J", "F", "J_recall", "F_recall", "J_decay", "F_decay", "J_first", "F_first")
LOWER_IS_BETTER = frozenset({"J_decay", "F_decay"})
FORMATS = ("markdown", "html", "json", "csv", "latex")


@dataclass(frozen=True, slots=True)
class Row:
    """One measured line. `scores` and `intervals` are those it is ranked by: of the whole run, or of one group.

    `scores` is None where the run has nothing of that group; a group has no intervals. `clips`, `tubes` and `episodes`
    are always those of the whole run. `rank_interval` and `noise_group` are of methods, on a board of whole runs only.
    """

    label: str
    result: Result
    timing: Timing | None
    scores: Scores | None
    intervals: dict[str, tuple[float, float] | None]
    rank: int | None = None
    rank_interval: tuple[int, int] | None = None  # best and worst, 95 %
    noise_group: int | None = None  # 1 for the best method and those within noise of it, then 2, ...

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
        entries = comparable(sorted(entries, key=str), protocol)
        named = zip(labels(entries), entries, strict=True)
        rows = [Row(label, entry.result, entry.timing, entry.result.overall, entry.result.intervals) for label, entry in named]
        rows.sort(key=lambda row: (row.label, row.result.signature))
        return cls(rows[0].result.benchmark, rows[0].result.protocol, tuple(rows), tuple(reported))

    @classmethod
    def load(cls, paths: Iterable[AnyPath], *, protocol: str | None = None, reported: Sequence[ReportedRow] = ()) -> Leaderboard:
        """The board of the result files at `paths`, with the timings beside them. Raises what `collect` raises."""
        return cls.collect((Entry.load(path) for path in paths), protocol=protocol, reported=reported)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know of the board as a whole."""
        methods = [row.result for row in self.rows if row.kind == "method"]
        other = () if same_tubes(methods) else ("runs on other tubes or draws, so methods are not tested against one another",)
        return (*version_notes(row.result.environment for row in self.rows), *other)

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

        numbered = _numbered(sorted(rows, key=order), by)
        return numbered if group else _with_noise(numbered, by)

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
        tied = above is not None and round(above.score(by) or 0.0, PRINTED) == round(score, PRINTED)
        numbered.append(replace(row, rank=above.rank if above is not None and tied else place))
    return tuple(numbered)


def _with_noise(rows: Sequence[Row], by: str) -> tuple[Row, ...]:
    """The ranked rows with how sure the ranks of the methods among them are."""
    methods = [row for row in rows if row.kind == "method"]
    results = [row.result for row in methods]
    groups = noise_groups(results, by) or (None,) * len(methods)
    intervals = rank_intervals(results, by, lower_is_better=by in LOWER_IS_BETTER) or (None,) * len(methods)
    sure = [replace(row, rank_interval=i, noise_group=g) for row, i, g in zip(methods, intervals, groups, strict=True)]
    return (*sure, *rows[len(sure) :])
