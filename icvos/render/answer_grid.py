"""The grid of episodes below a board of images: its pictures in a folder beside the page, and what the page says of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from icvos.fewshot.answers import Answers, Asked, Choice, is_best
from icvos.fewshot.release import ImageRelease
from icvos.render.answers import LEGEND, VOID, EpisodeDrawn, draw_answers
from icvos.render.drawing import jpeg, remove_others, written
from icvos.render.text import one_line, percent
from icvos.types import Image

DIFFERING = ("Where methods differ most", "The episodes with the largest span of IoU between methods, no two of one picture.")
WORST = ("The worst of each method", "Each method's episodes with the lowest IoU, no two of one picture, but for those above.")
NO_MASK, NOT_ASKED = "no masks here, only the result", "no result on this episode"


@dataclass(frozen=True, slots=True)
class AnswerPictures:
    """What was drawn: the folder's name beside the page, and each episode's files in it."""

    folder: str
    choice: Choice
    answers: Sequence[Answers]
    drawn: Mapping[Asked, EpisodeDrawn[str]]


class Shown(NamedTuple):
    """A picture on the page: its address, and in words what it shows."""

    address: str
    alt: str


class Cell(NamedTuple):
    """What a row of the board answered: a picture, or why there is none; its IoU, and whether no method's is higher."""

    picture: Shown | None
    missing: str
    iou: str
    best: bool


class Line(NamedTuple):
    """An episode of the grid."""

    category: str
    episode: str
    release: str  # fold and seed
    remark: str
    supports: tuple[Shown, ...]
    truth: Shown
    cells: tuple[Cell, ...]


def write_answers(
    choice: Choice,
    answers: Sequence[Answers],
    releases: Mapping[str, ImageRelease],
    folder: Path,
    *,
    on_event: Callable[[int], None] = lambda episodes: None,
) -> AnswerPictures:
    """Draw the chosen episodes into `folder` as small files named by their content; those of an earlier page that are not drawn again
    are removed. The same inputs give the same bytes.

    Raises:
        DataError, UserInputError: see `draw_answers`; or the folder cannot be written.
    """
    names = set()

    def keep(kind: str, picture: Image) -> str:
        name = written(folder, kind, jpeg(picture))
        names.add(name)
        return name

    drawn = draw_answers(choice.all, answers, releases, keep, on_event=on_event)
    remove_others(folder, names)
    return AnswerPictures(folder.name, choice, answers, {one.asked: one for one in drawn})


def grid_of(pictures: AnswerPictures) -> dict[str, Any]:
    """What the page is told: headings of the rows' columns, the legend (a colour, a word, its meaning), and the parts with episodes."""
    legend = [(f"rgb{colour}", word, meaning) for colour, word, meaning in LEGEND]
    if any(one.void for one in pictures.drawn.values()):
        legend.append(("repeating-linear-gradient(135deg, #282828 0 3px, #d7d7d7 3px 6px)", *VOID))
    return {"columns": [one_line(one.row.title) for one in pictures.answers], "legend": legend, "parts": _parts(pictures)}


def _parts(pictures: AnswerPictures) -> list[tuple[str, str, list[Line]]]:
    """A title, what it means, and a line for each episode."""
    choice = pictures.choice
    worst = {asked: f"worst of {', '.join(map(one_line, labels))}" for asked, labels in choice.worst.items()}
    parts = ((DIFFERING, dict.fromkeys(choice.differing, "")), (WORST, worst))
    return [(*words, [_line(pictures, asked, remark) for asked, remark in chosen.items()]) for words, chosen in parts if chosen]


def _line(pictures: AnswerPictures, asked: Asked, remark: str) -> Line:
    drawn = pictures.drawn[asked]
    several = len(drawn.supports) > 1
    supports = enumerate(drawn.supports, 1)
    return Line(
        drawn.category,
        one_line(asked.episode),
        f"fold {drawn.fold}, seed {drawn.seed}",
        remark,
        tuple(_shown(pictures, file, f"support {place if several else ''}".rstrip() + f": {drawn.category}") for place, file in supports),
        _shown(pictures, drawn.truth, f"truth: {drawn.category} in {one_line(asked.picture)}"),
        tuple(_cell(pictures, *one, asked) for one in zip(pictures.answers, drawn.answers, strict=True)),
    )


def _cell(pictures: AnswerPictures, answers: Answers, file: str | None, asked: Asked) -> Cell:
    iou = answers.ious.get(asked)
    said = percent(iou)
    shown = _shown(pictures, file, f"answer of {one_line(answers.row.label)}, IoU {said}") if file else None
    known = iou is not None or any(one.digest == asked.digest for one in answers.ious)
    return Cell(shown, NO_MASK if known else NOT_ASKED, said, is_best(answers, pictures.answers, asked))


def _shown(pictures: AnswerPictures, file: str, alt: str) -> Shown:
    return Shown(f"{quote(pictures.folder, safe='')}/{file}", alt)
