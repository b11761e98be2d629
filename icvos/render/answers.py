"""Episodes of images as pictures: supports with their masks, the truth, and what each row of a board answered, its errors in colours."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np

from icvos.errors import DataError
from icvos.fewshot.answers import Answers, Asked
from icvos.fewshot.release import ImageEpisodeRecord, ImageRelease
from icvos.files import map_files
from icvos.masks import read_image, size_text
from icvos.render.drawing import PREDICTION, TRUTH, outlined, small, small_mask, tint
from icvos.render.pictures import predicted_masks
from icvos.types import Episode, Image, Mask, Size, Support

SIDE = 320  # pixels of a picture's longer side
RIGHT, MISSED, ADDED = (238, 227, 233), TRUTH, PREDICTION  # the colours of errors on clips
LEGEND = (  # colour, word, what it means
    (RIGHT, "right", "in the truth and in the answer"),
    (MISSED, "missed", "in the truth alone"),
    (ADDED, "wrongly added", "in the answer alone"),
)
VOID = ("void", "striped; counts neither way")
Drawn = TypeVar("Drawn")


@dataclass(frozen=True, slots=True)
class EpisodeDrawn(Generic[Drawn]):
    """One episode: whatever a drawing was made into, of the supports, the truth, and each row's answer; None where no mask is at hand."""

    asked: Asked
    category: str
    fold: int
    seed: int
    void: bool  # some of the picture counts nowhere
    supports: tuple[Drawn, ...]
    truth: Drawn
    answers: tuple[Drawn | None, ...]


@dataclass(frozen=True, slots=True)
class _Question:
    """An episode, and where it is told what is true of it."""

    episode: Episode
    release: ImageRelease
    record: ImageEpisodeRecord


@dataclass(slots=True)
class _Job:
    """One picture on disk and all that is to be drawn of it, so that it is read once."""

    path: Path
    sha256: str
    size: Size
    supports: dict[Support, int] = field(default_factory=dict)  # and the longer side that each is drawn at
    asked: list[Asked] = field(default_factory=list)


def draw_answers(
    chosen: Sequence[Asked],
    answers: Sequence[Answers],
    releases: Mapping[str, ImageRelease],
    keep: Callable[[str, Image], Drawn],
    *,
    on_event: Callable[[int], None] = lambda episodes: None,
) -> list[EpisodeDrawn[Drawn]]:
    """Draw episodes, picture by picture on all cores; each is read once, and only if it is the one that the release names.

    Args:
        chosen: which episodes, in the order that they are given back in.
        answers: the rows, in the order of each episode's answers.
        releases: those of the episodes, by digest; their pictures are read.
        keep: makes a drawing of a kind (``support``, ``truth`` or ``answer``), (H, W, 3) uint8, into what is given back; on many threads.
        on_event: called with the number of episodes answered in a picture, as pictures are done.

    Raises:
        DataError: a picture or a prediction cannot be read or is not the one of the release, or the release has no such episode.
    """
    questions = _questions(chosen, releases)
    supports: dict[Support, Drawn] = {}
    found: dict[Asked, tuple[Drawn, tuple[Drawn | None, ...]]] = {}
    for job, shown, answered in map_files(lambda job: (job, *_draw(job, questions, answers, keep)), _jobs(questions)):
        supports.update(shown)
        found.update(answered)
        on_event(len(job.asked))
    return [_together(asked, questions[asked], supports, *found[asked]) for asked in chosen]


def _questions(chosen: Iterable[Asked], releases: Mapping[str, ImageRelease]) -> dict[Asked, _Question]:
    places = {digest: {name: place for place, name in enumerate(release.episode_ids)} for digest, release in releases.items()}
    questions = {}
    for asked in chosen:
        release = releases[asked.digest]
        place = places[asked.digest].get(asked.episode)
        if place is None:
            raise DataError("counts of an episode that is not in the release", release.path, asked.episode, fix="score the run again")
        questions[asked] = _Question(release.episodes[place], release, release.records[place])
    return questions


def _jobs(questions: Mapping[Asked, _Question]) -> list[_Job]:
    jobs: dict[tuple[Path, str], _Job] = {}
    for asked, question in questions.items():
        clip = question.episode.tube.clip
        (frame,) = clip.frames
        file = frame.image, frame.image_sha256
        jobs.setdefault(file, _Job(*file, clip.size)).asked.append(asked)
        for one in question.episode.supports:
            file = one.image, one.image_sha256
            job = jobs.setdefault(file, _Job(*file, one.annotation.size))
            job.supports[one] = SIDE if len(question.episode.supports) == 1 else SIDE // 2
    return list(jobs.values())


def _draw(
    job: _Job, questions: Mapping[Asked, _Question], answers: Sequence[Answers], keep: Callable[[str, Image], Drawn]
) -> tuple[dict[Support, Drawn], dict[Asked, tuple[Drawn, tuple[Drawn | None, ...]]]]:
    size = _fitted(job.size, SIDE)
    picture = small(read_image(job.path, job.sha256, at_least=size), size)
    supports = {one: keep("support", _support(picture, one, side)) for one, side in job.supports.items()}
    answered = {}
    for asked in job.asked:
        question = questions[asked]
        truth, void = (small_mask(mask, size) for mask in question.release.truth(question.record))
        masks = [_predicted(one, asked, question) for one in answers]
        drawn = [None if mask is None else keep("answer", errors(picture, truth, small_mask(mask, size), void)) for mask in masks]
        answered[asked] = keep("truth", striped(outlined(picture, truth), void)), tuple(drawn)
    return supports, answered


def _predicted(answers: Answers, asked: Asked, question: _Question) -> Mask | None:
    store, episode = answers.stores.get(asked.digest), question.episode
    masks = predicted_masks(store, episode, episode.tube.clip.frames) if store else None
    if not masks or masks[0] is None:
        return None
    if masks[0].shape != episode.tube.clip.size:
        where = f"{answers.row.label}, {asked.episode}"
        sizes = size_text(masks[0].shape), size_text(episode.tube.clip.size)
        raise DataError("a prediction of another size than its picture", where, *sizes, "run the method again")
    return masks[0]


def _support(picture: Image, support: Support, side: int) -> Image:
    size = _fitted(support.annotation.size, side)
    return outlined(small(picture, size), small_mask(support.read_mask(), size))


def errors(picture: Image, truth: Mask, predicted: Mask, void: Mask) -> Image:
    """A picture, (H, W, 3) uint8, in grey, and on it what was right, missed and wrongly added, and what counts nowhere; all of one size."""
    drawn = np.repeat((0.55 * picture.mean(axis=2, keepdims=True)).astype(np.uint8), 3, axis=2)
    for mask, (colour, _, _) in zip((truth & predicted, truth & ~predicted, predicted & ~truth), LEGEND, strict=True):
        tint(drawn, mask, colour, 0.75)
    return striped(drawn, void)


def striped(picture: Image, void: Mask) -> Image:
    """Dark and light stripes on a picture where nothing counts, in place."""
    rows, columns = np.nonzero(void)
    picture[rows, columns] = np.where((rows + columns) % 6 < 3, 40, 215)[:, None]
    return picture


def _fitted(size: Size, side: int) -> Size:
    """A size of the same shape whose longer side is this."""
    height, width = (max(1, round(side * one / max(size))) for one in size)
    return height, width


def _together(
    asked: Asked, question: _Question, supports: Mapping[Support, Drawn], truth: Drawn, answers: tuple[Drawn | None, ...]
) -> EpisodeDrawn[Drawn]:
    episode, manifest = question.episode, question.release.manifest
    return EpisodeDrawn(
        asked=asked,
        category=episode.tube.category.name,
        fold=manifest.fold,
        seed=manifest.seed,
        void=question.release.pictures[question.record.query].void is not None,
        supports=tuple(supports[one] for one in episode.supports),
        truth=truth,
        answers=answers,
    )
