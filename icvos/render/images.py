"""The board of images as markdown, html, json, csv or latex; percent everywhere but in json and csv."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

from icvos.badges import REPORTED
from icvos.errors import UserInputError, did_you_mean
from icvos.files import to_json
from icvos.render import latex, markdown
from icvos.render.answer_grid import grid_of
from icvos.render.csv import harmless
from icvos.render.page import page_environment
from icvos.render.text import NOTHING, one_line, percent

if TYPE_CHECKING:
    from icvos.fewshot.board import ImageBoard, ImageRow
    from icvos.render.answer_grid import AnswerPictures

FORMAT = "icvos-image-board/1"
WHAT = (
    "mIoU: the mean over a fold's classes of summed intersection over summed union, in percent; FB-IoU: class and rest alike. "
    "In brackets: 95 % intervals, by a bootstrap over pictures. Spread: the standard deviation of the mean over seeds. "
    "Contaminated: trained on a class that was asked for."
)
_HEADINGS = ("rank", "method", "fold 0", "fold 1", "fold 2", "fold 3", "mean", "FB-IoU", "seeds", "spread", "episodes")
_LEFT = 2  # the first columns are words


def render_images(board: ImageBoard, form: str, pictures: AnswerPictures | None = None) -> str:
    """The board as text of a format: the same bytes for the same results in any order. Only html shows pictures of episodes.

    Raises:
        UserInputError: there is no such format.
    """
    html = partial(_html, pictures=pictures)
    renderers: dict[str, Callable[[ImageBoard], str]] = {"markdown": _markdown, "html": html, "json": _json, "csv": _csv, "latex": _latex}
    if form not in renderers:
        raise UserInputError("unknown format", form, fix=did_you_mean(form, renderers))
    return renderers[form](board).encode("utf-8", "replace").decode()


def _cells(row: ImageRow) -> list[str]:
    folds = [_scored(row.folds.get(fold), row.fold_intervals.get(fold)) for fold in range(4)]
    rank = str(row.rank) if row.rank else (NOTHING if row.kind == "method" else row.kind)
    rest = [_scored(row.mean, row.interval), percent(row.fb_iou), str(len(row.seeds)), percent(row.seed_spread), str(row.episodes)]
    return [rank, one_line(row.title), *folds, *rest]


def _scored(value: float | None, interval: tuple[float, float] | None) -> str:
    return percent(value) + (f" [{percent(interval[0])}, {percent(interval[1])}]" if interval else "")


def _markdown(board: ImageBoard) -> str:
    cells = [_cells(row) for row in board.rows]
    lines = [list(_HEADINGS), *([rank, markdown.escape(label), *numbers] for rank, label, *numbers in cells)]
    table = markdown.pipe_table(lines, "rl" + "r" * (len(_HEADINGS) - _LEFT))
    notes = [
        f"- **{markdown.escape(one_line(row.label))}**: {', '.join(map(markdown.code, row.signatures))}; {row.badge}"
        + "".join(f"; {markdown.escape(one_line(note))}" for note in row.notes)
        for row in board.rows
    ]
    parts = [f"# Images under {markdown.escape(one_line(board.protocol))}", WHAT, table, "## Where the numbers come from", "\n".join(notes)]
    return "\n\n".join(parts) + "\n"


def _latex(board: ImageBoard) -> str:
    rows = [" & ".join(latex.escape(cell) for cell in cells) + r" \\" for cells in (_HEADINGS, *map(_cells, board.rows))]
    columns = "rl" + "r" * (len(_HEADINGS) - _LEFT)
    notes = [f"% {one_line(signature)}; {row.badge}" for row in board.rows for signature in row.signatures]
    body = ["\\toprule", rows[0], "\\midrule", *rows[1:], "\\bottomrule"]
    theirs = [one_line(row.label) for row in board.rows if row.badge == REPORTED]
    told = f" {REPORTED.capitalize()}: {', '.join(theirs)}." if theirs else ""
    caption = f"\\caption{{{latex.escape(one_line(board.protocol))}. {latex.escape(WHAT + told)}}}"
    head = ["% needs \\usepackage{booktabs}", *notes, "\\begin{table}", caption, f"\\begin{{tabular}}{{{columns}}}"]
    return "\n".join([*head, *body, "\\end{tabular}", "\\end{table}"]) + "\n"


def _html(board: ImageBoard, pictures: AnswerPictures | None) -> str:
    page = page_environment().get_template("images.html.j2")
    rows = [(_cells(row), [*map(one_line, row.signatures)], [*map(one_line, row.notes)], row.badge) for row in board.rows]
    grid = grid_of(pictures) if pictures else None
    return page.render(protocol=one_line(board.protocol), what=WHAT, headings=_HEADINGS, rows=rows, left=_LEFT, grid=grid)


def _json(board: ImageBoard) -> str:
    return to_json({"format": FORMAT, "protocol": board.protocol, "rows": [asdict(row) for row in board.rows]})


def _csv(board: ImageBoard) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    names = (
        "rank",
        "kind",
        "method",
        "fold0",
        "fold1",
        "fold2",
        "fold3",
        "mean",
        "mean_low",
        "mean_high",
        "FB_IoU",
        "seeds",
        "seed_spread",
    )
    writer.writerow([*names, "episodes", "contaminated", "badge", "protocol", "notes"])
    for row in board.rows:
        low, high = row.interval or (None, None)
        folds = [row.folds.get(fold) for fold in range(4)]
        cells = [row.rank, row.kind, row.label, *folds, row.mean, low, high, row.fb_iou, len(row.seeds), row.seed_spread, row.episodes]
        writer.writerow([harmless(cell) for cell in [*cells, int(row.contaminated), row.badge, board.protocol, "; ".join(row.notes)]])
    return stream.getvalue()
