"""A board as a short table for a terminal: ranks and scores, fitted to its columns; where the numbers come from only if asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from rich.cells import cell_len, set_cell_size

from icvos.render import text
from icvos.render.text import one_line, percent

if TYPE_CHECKING:
    from icvos.board import Leaderboard, Row
    from icvos.fewshot.board import ImageBoard, ImageRow

Line = TypeVar("Line")
_GAP = "  "
_SHORTEST_NAME = 16  # below this, columns are left out instead
WIDTH = 80  # where the output is no terminal


class _Column(NamedTuple):
    """A heading with its cells; those with the highest `spare` go first where there is no room."""

    heading: str
    cells: list[str]
    spare: int = 0

    @property
    def width(self) -> int:
        return max(map(cell_len, (self.heading, *self.cells)), default=0)


def render_table(board: Leaderboard, by: str = "J&F", group: str | None = None, *, width: int = WIDTH, verbose: bool = False) -> str:
    """The board of clips in lines of at most `width` columns; `verbose` adds signatures, badges and the release's digest.

    Raises:
        UserInputError: there is no such score or group.
    """
    rows = board.rank(by, group)
    methods = [row for row in rows if row.kind == "method"]
    firsts = [str(text.rank_cell(row)) if row.kind == "method" else row.kind for row in rows]
    names = [one_line(row.label) for row in rows]
    columns = [
        _Column(by, [percent(row.score(by)) for row in rows]),
        _Column("95 %", [text.score_cell(row, by).aside for row in rows], spare=2),
        *(_Column(name, [percent(row.score(name)) for row in rows], spare=1) for name in ("J&F", "J", "F") if name != by),
        _Column("frames/s", [text.speed(row.timing) if row.timing else "" for row in rows], spare=3),
    ]
    table = _fitted(_Column("rank", firsts), names, [column for column in columns if any(column.cells)], width)
    title = f"{text.release(board)} under {one_line(board.protocol)}, by {by}{f' of {one_line(group)}' if group else ''}, in percent"
    lines = [*wrap(title, width), ""]
    lines += [table[0], *table[1 : 1 + len(methods)]]
    lines += ["", f"{text.APART}, without a rank:", *table[1 + len(methods) :]] if len(methods) < len(rows) else []
    if board.reported:
        printed = [
            _Column(name, [percent(getattr(row, key)) for row in board.reported]) for name, key in (("J&F", "JF"), ("J", "J"), ("F", "F"))
        ]
        sources = _Column("reported", [row.edition or "paper" for row in board.reported])
        lines += [
            "",
            f"{text.REPORTED}, not measured here:",
            *_fitted(sources, [one_line(row.method) for row in board.reported], printed, width),
        ]
    notes = [f"{name}: {remark}" for name, row in zip(names, rows, strict=True) for remark in text.remarks(row)]
    lines += _said([*map(one_line, board.notes), *notes], width)
    if verbose:
        lines += ["", f"release {board.benchmark['digest']}", *_sources(names, rows, _of_clips)]
    return "".join(f"{line.rstrip()}\n" for line in lines)


def render_image_table(board: ImageBoard, *, width: int = WIDTH, verbose: bool = False) -> str:
    """The board of images in lines of at most `width` columns; `verbose` adds the signatures."""
    rows = board.rows
    firsts = [str(row.rank) if row.rank else (text.NOTHING if row.kind == "method" else row.kind) for row in rows]
    names = [one_line(row.title) for row in rows]
    folds = sorted({fold for row in rows for fold in row.folds})
    columns = [
        *(_Column(f"fold {fold}", [percent(row.folds.get(fold)) for row in rows], spare=1) for fold in folds),
        _Column("mean", [percent(row.mean) for row in rows]),
        _Column("FB-IoU", [percent(row.fb_iou) for row in rows], spare=2),
    ]
    lines = [f"images under {one_line(board.protocol)}, mIoU in percent", "", *_fitted(_Column("rank", firsts), names, columns, width)]
    lines += _said([f"{name}: {one_line(note)}" for name, row in zip(names, rows, strict=True) for note in row.notes], width)
    lines += ["", *_sources(names, rows, _of_images)] if verbose else []
    return "".join(f"{line.rstrip()}\n" for line in lines)


def cut(name: str, width: int) -> str:
    """A name in so many columns: its middle goes, for names of one method differ at their ends."""
    if cell_len(name) <= width:
        return name
    tail = (width - 1) // 2
    end = name[-tail:] if tail else ""
    while cell_len(end) > tail:
        end = end[1:]
    return set_cell_size(name, width - 1 - cell_len(end)) + "…" + end


def _fitted(first: _Column, names: Sequence[str], columns: Sequence[_Column], width: int) -> list[str]:
    """Heading and rows. Columns that can be spared go, the least needed first, before names become too short to tell."""
    longest = max(map(cell_len, ("method", *names)))
    kept = list(columns)

    def room() -> int:
        return width - first.width - sum(column.width + len(_GAP) for column in kept) - len(_GAP)

    while room() < min(longest, _SHORTEST_NAME) and (spared := max(kept, key=lambda column: column.spare)).spare:
        kept.remove(spared)
    name_width = max(1, min(longest, room()))
    heading = (first.heading, "method", *(column.heading for column in kept))
    rows = zip(first.cells, names, *(column.cells for column in kept), strict=True)
    widths = (first.width, name_width, *(column.width for column in kept))
    return [_line(cells, widths) for cells in (heading, *rows)]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Numbers stand at the right of their columns, the name, which is the second, at the left."""
    padded = []
    for place, (cell, width) in enumerate(zip(cells, widths, strict=True)):
        space = " " * (width - cell_len(cell))
        padded.append(set_cell_size(cut(cell, width), width) if place == 1 else space + cell)
    return _GAP.join(padded)


def _said(notes: Sequence[str], width: int) -> list[str]:
    """Notes below a table, wrapped; an empty line before the first."""
    return ["", *(line for note in notes for line in wrap(note, width, subsequent_indent="  "))] if notes else []


def _sources(names: Sequence[str], rows: Sequence[Line], of: Callable[[Line], Iterator[str]]) -> list[str]:
    """Each name in full, and below it what its numbers were made from."""
    return [line for name, row in zip(names, rows, strict=True) for line in (name, *(f"  {one_line(said)}" for said in of(row)))]


def _of_clips(row: Row) -> Iterator[str]:
    yield from (row.result.signature, f"{row.result.badge}; {text.counts(row)}; coverage {text.covered(row.result.coverage)}")


def _of_images(row: ImageRow) -> Iterator[str]:
    yield from row.signatures
