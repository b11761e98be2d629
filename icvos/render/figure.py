"""Episodes of images as one PNG for a paper: a row an episode, a column a method, headings above and IoU below."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from itertools import zip_longest
from math import ceil, sqrt

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from icvos.fewshot.answers import Answers, is_best
from icvos.render.answers import LEGEND, SIDE, VOID, EpisodeDrawn, striped
from icvos.render.text import one_line, percent, shortened
from icvos.types import Image

_GAP, _MARGIN, _LINE = 14, 16, 34  # pixels: between pictures, around all, a line of words
_LETTERS = 24  # pixels
_KEY = 20  # pixels of a colour in the legend
_LONGEST = 26  # letters of a heading
_INK = (20, 20, 20)


def draw_figure(drawn: Sequence[EpisodeDrawn[Image]], answers: Sequence[Answers]) -> bytes:
    """The figure as a PNG.

    Args:
        drawn: the episodes, from the top down; at least one.
        answers: the columns, those of each episode's answers.
    """
    heights = [max(picture.shape[0] for picture in (_tiled(one.supports), one.truth, *_there(one))) for one in drawn]
    columns = 2 + len(answers)
    size = (2 * _MARGIN + columns * (SIDE + _GAP) - _GAP, 2 * _MARGIN + sum(heights) + len(drawn) * (_LINE + _GAP) + 2 * _LINE)
    sheet = PillowImage.new("RGB", size, "white")
    first = "Support" if len(drawn[0].supports) == 1 else "Supports"
    _words(sheet, _MARGIN, [first, "Truth", *(shortened(one_line(one.row.title), _LONGEST) for one in answers)])
    top = _MARGIN + _LINE
    for one, height in zip(drawn, heights, strict=True):
        for column, picture in enumerate((_tiled(one.supports), one.truth, *one.answers)):
            if picture is not None:
                down, right = (height - picture.shape[0]) // 2, (SIDE - picture.shape[1]) // 2
                sheet.paste(PillowImage.fromarray(picture), (_left(column) + right, top + down))
        _words(sheet, top + (height - _LINE) // 2, ["", "", *("no masks here" if picture is None else "" for picture in one.answers)])
        ious = [percent(each.ious.get(one.asked)) for each in answers]
        _words(sheet, top + height, [one.category, "", *ious], [False, False, *(is_best(each, answers, one.asked) for each in answers)])
        top += height + _LINE + _GAP
    _legend(sheet, top, any(one.void for one in drawn))
    stream = BytesIO()
    sheet.save(stream, "PNG")
    return stream.getvalue()


def _there(one: EpisodeDrawn[Image]) -> list[Image]:
    return [picture for picture in one.answers if picture is not None]


def _left(column: int) -> int:
    return _MARGIN + column * (SIDE + _GAP)


def _words(sheet: PillowImage.Image, top: int, words: Sequence[str], bold: Sequence[bool] = ()) -> None:
    """A word above or below each column."""
    pen, font = _pen(sheet)
    for column, (said, strong) in enumerate(zip_longest(words, bold, fillvalue=False)):
        for shift in range(1 + bool(strong)):  # the font has no bold letters
            pen.text((_left(column) + SIDE // 2 + shift, top + _LINE // 2), str(said), _INK, font, "mm")


def _legend(sheet: PillowImage.Image, top: int, void: bool) -> None:
    pen, font = _pen(sheet)
    keys = [(np.full((_KEY, _KEY, 3), colour, np.uint8), word) for colour, word, _ in LEGEND]
    if void:
        keys.append((striped(np.zeros((_KEY, _KEY, 3), np.uint8), np.ones((_KEY, _KEY), np.bool_)), VOID[0]))
    left = _MARGIN
    for key, word in keys:
        pen.rectangle((left - 1, top + 6, left + _KEY, top + 7 + _KEY), _INK)
        sheet.paste(PillowImage.fromarray(key), (left, top + 7))
        pen.text((left + _KEY + 10, top + _LINE // 2), word, _INK, font, "lm")
        left += _KEY + 10 + round(pen.textlength(word, font)) + 3 * _GAP
    pen.text((left, top + _LINE // 2), "IoU in percent", _INK, font, "lm")


def _pen(sheet: PillowImage.Image) -> tuple[ImageDraw.ImageDraw, ImageFont.ImageFont | ImageFont.FreeTypeFont]:
    return ImageDraw.Draw(sheet), ImageFont.load_default(_LETTERS)


def _tiled(pictures: Sequence[Image]) -> Image:
    """Several pictures in the place of one, in rows of as many as there are rows."""
    if len(pictures) == 1:
        return pictures[0]
    across = ceil(sqrt(len(pictures)))
    side = SIDE // across
    sheet = PillowImage.new("RGB", (SIDE, side * ceil(len(pictures) / across)), "white")
    for place, picture in enumerate(pictures):
        tile = PillowImage.fromarray(picture)
        tile.thumbnail((side - 2, side - 2))
        sheet.paste(tile, (place % across * side + (side - tile.width) // 2, place // across * side + (side - tile.height) // 2))
    return np.asarray(sheet)
