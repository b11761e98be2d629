"""The board as one static page: no script, nothing fetched, readable on a phone and in the dark.

The page is made by a template with autoescape on; what is computed for it is computed here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor
from typing import TYPE_CHECKING

from icvos.render import text
from icvos.render.page import page_environment
from icvos.render.text import Cell, one_line

if TYPE_CHECKING:
    from icvos.board import Leaderboard, Row

_LINE = 34  # pixels of one row of the plot: its name, and its whisker below
_TOP = 6
_LONGEST = 40  # characters of a name in the plot; the table has it whole


@dataclass(frozen=True, slots=True)
class Mark:
    """One row of the plot; `at`, `low` and `high` are percents of the plot's width."""

    label: str
    value: str
    kind: str
    y: int
    at: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Plot:
    """Dots and whiskers of J&F. Places are percents of the width, so that text keeps its size on a narrow screen."""

    marks: tuple[Mark, ...]
    ticks: tuple[tuple[float, str], ...]  # place, percent
    height: int


@dataclass(frozen=True, slots=True)
class Breakdown:
    """One score of every row in every group of one kind: a line for each group."""

    kind: str
    lines: tuple[tuple[str, str, tuple[Cell, ...]], ...]  # group, its tubes, the scores; a cell's aside marks the best


def render_html(board: Leaderboard, by: str, group: str | None) -> str:
    """One self-contained page; scores in percent."""
    environment = page_environment()
    environment.filters |= {"percent": text.percent, "line": one_line, "shortened": text.shortened}
    rows = board.rank(by, group)
    return environment.get_template("board.html.j2").render(
        board=board,
        by=by,
        group=group,
        text=text,
        rows=rows,
        methods=[row for row in rows if row.kind == "method"],
        apart=[row for row in rows if row.kind != "method"],
        columns=text.columns(rows, by),
        plot=plot(rows),
        breakdowns=breakdowns(rows, by),
    )


def plot(rows: Sequence[Row]) -> Plot:
    """The plot of J&F of `rows`, those without a score left out."""
    scored = [(row, score, row.interval("J&F")) for row in rows if (score := row.score("J&F")) is not None]
    low, high, step = _scale([end for _, score, interval in scored for end in (score, *(interval or ()))])

    def place(value: float) -> float:
        return round(3 + 94 * (10 * value - low) / (high - low), 2)  # a margin, so that no tick's text is cut off

    marks = tuple(
        Mark(
            label=text.shortened(one_line(row.label), _LONGEST),
            value=text.percent(score),
            kind=row.kind,
            y=_TOP + _LINE * line,
            at=place(score),
            low=place(interval[0]) if interval else None,
            high=place(interval[1]) if interval else None,
        )
        for line, (row, score, interval) in enumerate(scored)
    )
    ticks = tuple((place(tenth / 10), str(10 * tenth)) for tenth in range(low, high + 1, step))
    return Plot(marks, ticks, _TOP + _LINE * len(marks) + 24)


def _scale(ends: Sequence[float]) -> tuple[int, int, int]:
    """Where the axis begins and ends, and its step, in tenths: round numbers around all `ends`."""
    low, high = floor(10 * min(ends, default=0.0) + 1e-9), ceil(10 * max(ends, default=1.0) - 1e-9)
    if high <= low:  # all on one tick
        low, high = (low - 1, low) if low > 0 else (low, low + 1)
    if high - low <= 5:
        return low, high, 1
    odd = (high - low) % 2
    return (low - odd, high, 2) if low > 0 else (low, high + odd, 2)


def breakdowns(rows: Sequence[Row], by: str) -> tuple[Breakdown, ...]:
    """A table for each kind of group (class, source, length, support), kinds and groups in the order of the results."""
    kinds: dict[str, dict[str, None]] = {}
    for row in rows:
        for kind, groups in row.result.groups.items():
            kinds.setdefault(kind, {}).update(dict.fromkeys(groups))
    return tuple(
        Breakdown(kind, tuple((name, _tubes(rows, kind, name), _group_cells(rows, kind, name, by)) for name in names))
        for kind, names in kinds.items()
    )


def _group_cells(rows: Sequence[Row], kind: str, name: str, by: str) -> tuple[Cell, ...]:
    """The score of each row in one group, the best of the methods marked."""
    from icvos.board import LOWER_IS_BETTER

    groups = [row.result.groups.get(kind, {}).get(name) for row in rows]
    cells = [text.percent(None if scores is None else scores.as_dict()[by]) for scores in groups]
    rivals = [scores.as_dict()[by] for row, scores in zip(rows, groups, strict=True) if scores is not None and row.kind == "method"]
    best = text.percent((min if by in LOWER_IS_BETTER else max)(rivals)) if len(rivals) > 1 else ""
    return tuple(Cell(cell, "best" if row.kind == "method" and cell == best else "") for row, cell in zip(rows, cells, strict=True))


def _tubes(rows: Sequence[Row], kind: str, name: str) -> str:
    """How many tubes a class or a source has; the file of a result does not say it of other kinds."""
    if kind not in ("class", "source"):
        return ""
    found = max(sum(name == (tube.category if kind == "class" else tube.source) for tube in row.result.tubes) for row in rows)
    return str(found) if found else ""
