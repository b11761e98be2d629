"""The boards of a page: one static file that opens from a disk, fetches nothing, and is readable on a phone and in the dark.

The tables are written here and stand without a script; the page's own script sorts, filters and leads through episodes. It is
the only one that may run: the page's policy names its hash, and what is foreign is text, in the tables and in the data.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from math import ceil, floor
from typing import TYPE_CHECKING, TypeAlias

from icvos.render import text
from icvos.render.page import TEMPLATES, page_environment
from icvos.render.page_data import board_data, page_json
from icvos.render.text import Cell, one_line

if TYPE_CHECKING:
    from icvos.board import Leaderboard, Row
    from icvos.entries import Entry
    from icvos.render.over_time import Curve
    from icvos.render.pictures import Pictures
    from icvos.reported import ReportedRow

Charts: TypeAlias = "Callable[[Sequence[Row], str, Mapping[str, Mapping[str, Curve]]], dict[str, list[str]]]"

SCRIPT = ("data", "table", "filters", "failures", "viewer", "start")  # the parts of the page's script, in order
_LINE = 34  # pixels of one row of the plot: its name, and its whisker below
_TOP = 6
_LONGEST = 40  # characters of a name in the plot; the table has it whole
_SHADES = 10  # steps of a heat map


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
class Shaded:
    """A cell of a heat map: its text, its shade from 0 to 10, and whether it is the best of the methods'."""

    text: str
    shade: int
    best: bool


@dataclass(frozen=True, slots=True)
class Breakdown:
    """One score of every row in every group of one kind: a line for each group."""

    kind: str
    lines: tuple[tuple[str, str, tuple[Shaded, ...]], ...]  # group, its tubes, the scores


@dataclass(frozen=True, slots=True)
class Section:
    """One board on the page, and what is computed for it."""

    board: Leaderboard
    rows: tuple[Row, ...]
    plot: Plot
    breakdowns: tuple[Breakdown, ...]
    charts: Mapping[str, Sequence[str]]

    @property
    def tables(self) -> tuple[tuple[str, str, list[tuple[int, Row]]], ...]:
        """Methods, and what stands apart from them: the table's name, its first heading, its rows with their places."""
        rows = list(enumerate(self.rows))
        methods, apart = [pair for pair in rows if pair[1].kind == "method"], [pair for pair in rows if pair[1].kind != "method"]
        return tuple(table for table in ((text.METHODS, "rank", methods), (text.APART, "kind", apart)) if table[2])

    def columns(self, by: str, first: str) -> dict[str, Callable[[Row], Cell]]:
        """The columns of a table; groups within noise are of methods, whose first column is their rank."""
        return (text.noise_columns(self.rows) if first == "rank" else {}) | text.columns(self.rows, by)


def boards_of(entries: Iterable[Entry], protocol: str | None, reported: Sequence[ReportedRow] = ()) -> list[Leaderboard]:
    """A board for each protocol among `entries`, the one with the most rows first; with `protocol`, that one alone.

    Raises:
        UserInputError, DataError: what `Leaderboard.collect` raises.
    """
    from icvos.board import Leaderboard

    given = list(entries)
    protocols = sorted({str(entry.result.protocol) for entry in given})
    if protocol is not None or not protocols:
        return [Leaderboard.collect(given, protocol=protocol, reported=reported)]
    boards = [Leaderboard.collect(given, protocol=name, reported=reported) for name in protocols]
    return sorted(boards, key=lambda board: -len(board.rows))


def render_html(board: Leaderboard, by: str, group: str | None) -> str:
    """The page of one board from its results alone: no charts, no curves, no pictures."""
    return render_page([board], by, group)


def render_page(
    boards: Sequence[Leaderboard],
    by: str,
    group: str | None,
    *,
    curves: Mapping[str, Mapping[str, Curve]] | None = None,
    charts: Charts | None = None,
    pictures: Pictures | None = None,
) -> str:
    """One self-contained page; scores in percent.

    Args:
        boards: one for each protocol; the page shows one at a time and ranks none with another.
        by: the score that rows are ranked by.
        group: the group that they are ranked by.
        curves: signature of a result -> episode -> its J and F over time.
        charts: draws a board's, as `icvos.render.charts.board_charts` does: name -> SVGs, whose text is escaped already.
        pictures: of episodes, in a folder beside the page.
    """
    from markupsafe import Markup

    curves = curves or {}
    sections = []
    for board in boards:
        rows = board.rank(by, group)
        drawn = {name: [*map(Markup, svgs)] for name, svgs in charts(rows, by, curves).items()} if charts else {}
        sections.append(Section(board, rows, plot(rows), breakdowns(rows, by), drawn))
    data = [board_data(section.board, section.rows, by, group, curves, pictures) for section in sections]
    environment = page_environment()
    environment.filters |= {"percent": text.percent, "line": one_line, "shortened": text.shortened}
    script = _script()
    style = environment.get_template("board/board.css").render()
    return environment.get_template("board.html.j2").render(
        sections=sections,
        reported=boards[0].reported,
        by=by,
        group=group,
        text=text,
        charted=charts is not None,
        pictures=pictures,
        script=Markup(script),
        style=Markup(style),
        script_hash=_hash(script),
        style_hash=_hash(style),
        data=Markup(page_json(data, pictures)),
    )


def _script() -> str:
    parts = [(TEMPLATES / "board" / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPT]
    return '"use strict";\n(() => {\n' + "\n".join(parts) + "})();\n"


def _hash(code: str) -> str:
    """How a content security policy names a script or a style."""
    return f"sha256-{b64encode(sha256(code.encode()).digest()).decode()}"


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
        if len(names) > 1  # of one group the tables above say all
    )


def _group_cells(rows: Sequence[Row], kind: str, name: str, by: str) -> tuple[Shaded, ...]:
    """The score of each row in one group, the best of the methods marked."""
    from icvos.board import LOWER_IS_BETTER

    groups = [row.result.groups.get(kind, {}).get(name) for row in rows]
    scores = [None if found is None else found.as_dict()[by] for found in groups]
    rivals = [score for row, score in zip(rows, scores, strict=True) if score is not None and row.kind == "method"]
    best = text.percent((min if by in LOWER_IS_BETTER else max)(rivals)) if len(rivals) > 1 else ""
    return tuple(
        Shaded(text.percent(score), _shade(score), row.kind == "method" and text.percent(score) == best)
        for row, score in zip(rows, scores, strict=True)
    )


def _shade(score: float | None) -> int:
    return 0 if score is None else round(_SHADES * min(max(score, 0.0), 1.0))


def _tubes(rows: Sequence[Row], kind: str, name: str) -> str:
    """How many tubes a class or a source has; the file of a result does not say it of other kinds."""
    if kind not in ("class", "source"):
        return ""
    found = max(sum(name == (tube.category if kind == "class" else tube.source) for tube in row.result.tubes) for row in rows)
    return str(found) if found else ""
