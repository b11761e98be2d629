"""`icvos leaderboard` of results on images: the table, and the episodes that were asked for as pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from icvos.cli import options

if TYPE_CHECKING:
    from icvos.fewshot.answers import Answers, Choice
    from icvos.fewshot.board import ImageBoard
    from icvos.fewshot.release import ImageRelease
    from icvos.render.answer_grid import AnswerPictures


class Drawing(NamedTuple):
    """What is to be drawn, and where its pictures are."""

    episodes: int
    page: Path | None
    figure: Path | None
    benchmark: Path | None
    where: options.Where


def board_text(paths: Sequence[Path], form: str, protocol: str | None, drawing: Drawing, verbose: bool = False) -> str:
    """The board of these results as text; pictures are written on the way.

    Raises:
        UserInputError: the results cannot share a board, or their releases or pictures are not here.
        DataError: a result, a release, a picture or a prediction cannot be read.
    """
    from icvos.fewshot.answers import answers_of, choose
    from icvos.fewshot.board import image_board
    from icvos.fewshot.results import ImageResult
    from icvos.render.images import render_images

    results = {path: ImageResult.load(path) for path in paths}
    board = image_board(list(results.values()), protocol)
    if not drawing.episodes:
        return _rendered(board, form, verbose)
    answers = answers_of(board, results)
    choice = choose(answers, drawing.episodes)
    _check(choice, paths, drawing)
    releases = _releases(choice, answers, drawing)
    if drawing.figure:
        _write_figure(drawing.figure, choice, answers, releases)
    pictures = _pictures(drawing.page, choice, answers, releases) if form == "html" and drawing.page else None
    return render_images(board, form, pictures) if pictures else _rendered(board, form, verbose)


def _rendered(board: ImageBoard, form: str, verbose: bool) -> str:
    from icvos.render.images import render_images
    from icvos.render.table import render_image_table

    return render_image_table(board, width=options.width(), verbose=verbose) if form == "table" else render_images(board, form)


def _check(choice: Choice, paths: Sequence[Path], drawing: Drawing) -> None:
    from icvos.errors import DataError, UserInputError

    if not choice.all:
        expected, fix = "*.episodes.csv beside the results", "copy them along, or score the runs again"
        raise DataError("no counts of episodes to choose by", paths[0].parent, expected=expected, fix=fix)
    if drawing.figure and not choice.differing:
        expected = "two methods that answered the same episodes, and not alike"
        raise UserInputError("no episodes for the figure", drawing.figure, expected=expected, fix="run another method")


def _pictures(page: Path, choice: Choice, answers: Sequence[Answers], releases: Mapping[str, ImageRelease]) -> AnswerPictures:
    from icvos.cli.progress import bar
    from icvos.render.answer_grid import write_answers

    with bar("drawing episodes", len(choice.all), "episodes") as advance:
        return write_answers(choice, answers, releases, page.with_name(f"{page.stem}-images"), on_event=advance)


def _write_figure(path: Path, choice: Choice, answers: Sequence[Answers], releases: Mapping[str, ImageRelease]) -> None:
    from icvos.cli.progress import bar
    from icvos.files import write_bytes
    from icvos.render.answers import draw_answers
    from icvos.render.figure import draw_figure

    with bar("drawing the figure", len(choice.differing), "episodes") as advance:
        drawn = draw_answers(choice.differing, answers, releases, lambda kind, picture: picture, on_event=advance)
    write_bytes(path, draw_figure(drawn, answers))


def _releases(choice: Choice, answers: Sequence[Answers], drawing: Drawing) -> dict[str, ImageRelease]:
    """The releases of the chosen episodes by digest: those that the runs remember, or those in the folder that was named."""
    from icvos.errors import UserInputError
    from icvos.fewshot.release import digest_of

    wanted = {asked.digest for asked in choice.all}
    stores = [store for one in answers for digest, store in one.stores.items() if digest in wanted]
    folders = _below(drawing.benchmark) if drawing.benchmark else [folder for store in stores if (folder := store.remembered)]
    there = {digest_of(folder): folder for folder in dict.fromkeys(folders)}
    if missing := sorted(wanted - there.keys()):
        where = drawing.benchmark or "where the runs remember them"
        found, fix = f"none with the digest {missing[0][:12]}", "say --benchmark DIR, the folder that `icvos fewshot` froze them into"
        raise UserInputError("the episodes of the results are not here", where, found, fix=fix)
    return {digest: options.open_images(there[digest], drawing.where) for digest in sorted(wanted)}


def _below(folder: Path) -> list[Path]:
    """A release's folder, or those of the releases in a folder."""
    from icvos.names import is_junk

    return sorted(path.parent for path in folder.glob("*/pictures.jsonl") if not is_junk(path.parent.name)) or [folder]
