"""The board for a paper: booktabs tables to \\input, and below them a numbered line a row that says where its numbers come from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from icvos.render import text
from icvos.render.text import Cell, one_line

if TYPE_CHECKING:
    from icvos.board import Leaderboard, Row
    from icvos.reported import ReportedRow

# A bracket or star that opens a row would be taken for an option of the line break before it.
_ESCAPES = {
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "`": r"\textasciigrave{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\char34{}",
    "[": "{[}",
    "*": "{*}",
    "–": r"\textendash{}",
    "\N{REPLACEMENT CHARACTER}": "?",  # which pdfLaTeX has not
    **{mark: "\\" + mark for mark in "{}$&#%_"},
}
_JOINED = "-',"  # twice in a row they would become one longer mark


def render_latex(board: Leaderboard, by: str, group: str | None) -> str:
    """Tables for a document that loads booktabs; scores in percent.

    UTF-8, so that names in other than Latin letters need XeLaTeX or LuaLaTeX, and a font that has them.
    """
    rows = board.rank(by, group)
    methods = [row for row in rows if row.kind == "method"]
    apart = [row for row in rows if row.kind != "method"]  # after the methods, and so numbered after them
    columns = text.columns(rows, by)
    title = f"{escape(text.release(board))} under {escape(one_line(board.protocol))}"
    parts = ["% needs \\usepackage{booktabs}", *_head(board, by, group, rows)]
    if methods:
        ranks = [str(text.rank_cell(row)) for row in methods]
        ranked = text.noise_columns(methods) | columns
        parts.append(_table(f"{title}: {text.METHODS.lower()}.", "rank", ranks, methods, ranked, start=1))
    if apart:
        caption = f"{title}: {text.APART.lower()}. {escape(text.APART_WHY)}"
        parts.append(_table(caption, "kind", [row.kind for row in apart], apart, columns, start=len(methods) + 1))
    parts.append(listed("enumerate", [_footnote(row) for row in rows]))
    if board.reported:
        parts.append(_reported(board.reported))
    return "\n\n".join(parts) + "\n"


def _head(board: Leaderboard, by: str, group: str | None, rows: Sequence[Row]) -> Iterator[str]:
    yield escape(f"{text.ranked_by(by, group)}, in percent. {text.how_sure(rows, group)}{text.SPREAD}")
    digest = f"digest of the release: {code(board.benchmark['digest'])}"
    yield listed("itemize", [digest, *(escape(one_line(note)) for note in board.notes)])


def _table(
    caption: str, first: str, firsts: Sequence[str], rows: Sequence[Row], columns: Mapping[str, Callable[[Row], Cell]], start: int
) -> str:
    """A table of measured rows, each with the number of its footnote, counted from `start`."""
    lines = [[first, "method", *columns]]
    for number, (value, row) in enumerate(zip(firsts, rows, strict=True), start):
        lines.append([value, f"{one_line(row.label)} [{number}]", *(str(cell(row)) for cell in columns.values())])
    return table(caption, lines, ("r" if first == "rank" else "l") + "l" + "r" * len(columns))


def _footnote(row: Row) -> str:
    remarks, badge = "".join(f"; {escape(remark)}" for remark in text.remarks(row)), row.result.badge_here
    return f"\\textbf{{{escape(one_line(row.label))}}}: {code(row.result.signature)}; {badge}; {escape(text.counts(row))}{remarks}"


def _reported(rows: Sequence[ReportedRow]) -> str:
    notes = dict.fromkeys(escape(one_line(row.note)) for row in rows if row.note)
    lines = [["method", "J&F", "J", "F", "source", "protocol", "flag"]]
    for row in rows:
        words = [one_line(word) for word in (row.method, row.where, row.protocol, row.flag)]
        lines.append([words[0], *(text.printed(row, name) for name in ("J&F", "J", "F")), *words[1:]])
    return table(" ".join([f"{text.REPORTED}.", *notes]), lines, "lrrrlll")


def table(caption: str, lines: Sequence[Sequence[str]], align: str) -> str:
    """A table as wide as the page, the first line its heading; `align` says l or r for each column.

    Cells are escaped here, the caption is already.
    """
    heading, *body = (" & ".join(map(escape, line)) + r" \\" for line in lines)
    inside = [rf"\begin{{tabular}}{{{align}}}", r"\toprule", heading, r"\midrule", *body, r"\bottomrule", r"\end{tabular}"]
    opening = [r"\begin{table*}", r"\centering", rf"\caption{{{caption}}}", r"\footnotesize", r"\setlength{\tabcolsep}{4pt}"]
    return "\n".join([*opening, *inside, r"\end{table*}"])


def listed(kind: str, items: Sequence[str]) -> str:
    """A list; braces keep an item that opens with a bracket from being taken for a label."""
    return "\n".join([rf"\begin{{{kind}}}\raggedright", *(rf"\item {{}}{item}" for item in items), rf"\end{{{kind}}}"])


def escape(string: str) -> str:
    """Foreign text as LaTeX that shows it: no command, no comment, no cell border, no letters joined into others."""
    shown = [_ESCAPES.get(mark, mark) for mark in string]
    for place, (mark, following) in enumerate(pairwise(string)):
        if mark == following and mark in _JOINED:
            shown[place] = rf"{mark}\kern0pt{{}}"  # braces alone keep nothing apart in LuaTeX
    return "".join(shown)


def code(string: str) -> str:
    """Foreign text in small typewriter letters, which may break after a bar: a signature is longer than a line."""
    shown = escape(one_line(string)).replace(r"\textbar{}", r"\textbar\allowbreak{}")
    return rf"\texttt{{\footnotesize {shown}}}"
