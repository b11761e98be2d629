"""What each row of a board of images answered, episode by episode, and which episodes are worth a look."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from icvos.fewshot.board import ImageBoard, ImageRow
from icvos.fewshot.results import ImageResult, read_ious
from icvos.store import PredictionStore


class Asked(NamedTuple):
    """An episode of one of the releases that a board is about; folds and seeds number theirs alike."""

    digest: str
    episode: str

    @property
    def picture(self) -> str:
        """``source/picture``."""
        return self.episode.rpartition("/")[0]


@dataclass(frozen=True, slots=True)
class Answers:
    """A row of the board: what it scored in each episode, and where its masks lie, by the release's digest."""

    row: ImageRow
    ious: Mapping[Asked, float]  # in [0, 1]; none of a result without its counts beside it
    stores: Mapping[str, PredictionStore]


@dataclass(frozen=True, slots=True)
class Choice:
    """Episodes worth a look: where methods differ most, and further ones that are some methods' worst, with those methods' labels."""

    differing: tuple[Asked, ...]
    worst: Mapping[Asked, tuple[str, ...]]

    @property
    def all(self) -> tuple[Asked, ...]:
        """Each once, in order."""
        return (*self.differing, *self.worst)


def answers_of(board: ImageBoard, results: Mapping[Path, ImageResult]) -> list[Answers]:
    """What the rows of a board answered, in its order.

    Args:
        board: the rows.
        results: the files that it was made from; what was counted in each episode, and the run, are looked for beside them.

    Raises:
        DataError: what lies beside a result is broken.
    """
    by_signature = {result.signature: (path, result) for path, result in results.items()}
    return [_answers(row, [by_signature[signature] for signature in row.signatures]) for row in board.rows]


def _answers(row: ImageRow, results: Iterable[tuple[Path, ImageResult]]) -> Answers:
    ious, stores = {}, {}
    for path, result in results:
        ious.update({Asked(result.digest, episode): iou for episode, iou in read_ious(path).items()})
        store = PredictionStore.behind(path)
        if store and store.key and store.key.digest == result.digest:
            stores[result.digest] = store
    return Answers(row, ious, stores)


def choose(answers: Sequence[Answers], count: int) -> Choice:
    """`count` episodes with the largest span of IoU between methods, no two of one picture; and of each method the `count` with the
    lowest IoU, no two of one picture, but for those that are there already. Where there is no method, of all rows.
    """
    methods = [one for one in answers if one.row.kind == "method"]
    differing = _lowest({asked: -span for asked in _of_any(methods) if (span := _span(methods, asked)) > 0}, count)
    worst: dict[Asked, tuple[str, ...]] = {}
    for one in methods or answers:
        for asked in _lowest(one.ious, count):
            if asked not in differing:
                worst[asked] = (*worst.get(asked, ()), one.row.label)
    return Choice(tuple(differing), worst)


def is_best(one: Answers, answers: Iterable[Answers], asked: Asked) -> bool:
    """Whether this is a method, none of `answers` is a method with a higher IoU in the episode, and one has a lower."""
    found = [other.ious[asked] for other in answers if other.row.kind == "method" and asked in other.ious]
    return one.row.kind == "method" and asked in one.ious and min(found) < one.ious[asked] == max(found)


def _of_any(answers: Iterable[Answers]) -> dict[Asked, None]:
    return dict.fromkeys(asked for one in answers for asked in one.ious)


def _span(answers: Iterable[Answers], asked: Asked) -> float:
    found = [one.ious[asked] for one in answers if asked in one.ious]
    return max(found) - min(found)


def _lowest(values: Mapping[Asked, float], count: int) -> list[Asked]:
    """The episodes with the lowest values, one a picture; of those alike the first by name."""
    first: dict[str, Asked] = {}
    for asked in sorted(values, key=lambda asked: (values[asked], asked.episode, asked.digest)):
        first.setdefault(asked.picture, asked)
    return list(first.values())[:count]
