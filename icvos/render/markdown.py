"""The board for a README or an issue: tables, and below them a numbered line a row that says where its numbers come from."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from icvos.render import text
from icvos.render.text import Cell, one_line

if TYPE_CHECKING:
    from icvos.board import Leaderboard, Row
    from icvos.reported import ReportedRow


def render_markdown(board: Leaderboard, by: str, group: str | None) -> str:
    """GitHub-flavoured markdown; scores in percent."""
    rows = board.rank(by, group)
    methods = [row for row in rows if row.kind == "method"]
    apart = [row for row in rows if row.kind != "method"]  # after the methods, and so numbered after them
    columns = text.columns(rows, by)
    parts = [f"# {escape(text.release(board))} under {escape(one_line(board.protocol))}", *_head(board, by, group, rows)]
    if methods:
        ranks = [str(text.rank_cell(row)) for row in methods]
        ranked = text.noise_columns(methods) | columns
        parts += [f"## {text.METHODS}", _table("rank", ranks, methods, ranked, start=1)]
    if apart:
        kinds = [row.kind for row in apart]
        parts += [f"## {text.APART}", text.APART_WHY, _table("kind", kinds, apart, columns, start=len(methods) + 1)]
    parts += ["## Where the numbers come from", "\n".join(_footnote(number, row) for number, row in enumerate(rows, start=1))]
    if board.reported:
        parts += [f"## {text.REPORTED}", *_reported(board.reported)]
    return "\n\n".join(parts) + "\n"


def _head(board: Leaderboard, by: str, group: str | None, rows: Sequence[Row]) -> Iterator[str]:
    yield escape(text.ranked_by(by, group)) + f", in percent. {text.how_sure(rows, group)}{text.SPREAD}"
    yield "\n".join([f"- digest of the release: {code(board.benchmark['digest'])}", *(f"- {escape(one_line(n))}" for n in board.notes)])


def _table(first: str, firsts: Sequence[str], rows: Sequence[Row], columns: Mapping[str, Callable[[Row], Cell]], start: int) -> str:
    """A table of measured rows, each with the number of its footnote, counted from `start`."""
    lines = [[first, "method", *map(escape, columns)]]
    for number, (value, row) in enumerate(zip(firsts, rows, strict=True), start):
        lines.append([value, f"{escape(one_line(row.label))} [{number}]", *(str(cell(row)) for cell in columns.values())])
    return pipe_table(lines, ("r" if first == "rank" else "l") + "l" + "r" * len(columns))


def _footnote(number: int, row: Row) -> str:
    remarks, badge = "".join(f"; {escape(remark)}" for remark in text.remarks(row)), row.result.badge_here
    return f"{number}. **{escape(one_line(row.label))}**: {code(row.result.signature)}; {badge}; {text.counts(row)}{remarks}"


def _reported(rows: Sequence[ReportedRow]) -> Iterator[str]:
    yield from dict.fromkeys(escape(one_line(row.note)) for row in rows if row.note)
    lines = [["method", "J&F", "J", "F", "source", "protocol", "flag"]]
    for row in rows:
        words = [escape(one_line(word)) for word in (row.method, row.where, row.protocol, row.flag)]
        lines.append([words[0], *(text.printed(row, name) for name in ("J&F", "J", "F")), *words[1:]])
    yield pipe_table(lines, "lrrrlll")


def pipe_table(lines: Sequence[Sequence[str]], align: str) -> str:
    """A table, the first line its heading; `align` says l or r for each column."""
    rules = [":---" if side == "l" else "---:" for side in align]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (lines[0], rules, *lines[1:]))


def escape(string: str) -> str:
    """Foreign text as markdown that shows it: no markup, no HTML, no cell border."""
    marked = re.sub(r"([\\`*_\[\]|~$])", r"\\\1", string)
    return re.sub(r"&(?=#?\w+;)", "&amp;", marked).replace("<", "&lt;").replace(">", "&gt;")


def code(string: str) -> str:
    """Foreign text as a code span, whatever backticks it holds."""
    line = one_line(string)
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    pad = " " if "`" in line else ""
    return f"{fence}{pad}{line}{pad}{fence}"
