"""Episodes for training: which class, which picture to segment, which pictures show what is meant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from icvos.errors import DataError, UserInputError
from icvos.training.class_pictures import ClassPictures

FOLDS = 4


@dataclass(frozen=True, slots=True)
class Draw:
    """One episode: numbers of pictures in their data set."""

    category: int
    query: int
    supports: tuple[int, ...]


def fold_categories(data: str, categories: Sequence[int], fold: int | None) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The classes to train on and those to test on.

    COCO-20i: the class at place k of the 80, in the order of their ids, belongs to fold k % 4. PASCAL-5i: five in a row.

    Args:
        data: the data set's name.
        categories: the ids of its classes.
        fold: 0 to 3; None for all classes in both.

    Raises:
        UserInputError: there is no such fold, or the data set has none.
    """
    ids = sorted(categories)
    if fold is None:
        return tuple(ids), tuple(ids)
    if not 0 <= fold < FOLDS:
        raise UserInputError("no such fold", "--fold", fold, f"0 to {FOLDS - 1}", "choose one of them")
    size = {"coco": 80, "pascal": 20}.get(data)
    if size is None or len(ids) != size:
        found = f"{data}, {len(ids)} classes"
        raise UserInputError("folds are of COCO's 80 or PASCAL's 20 classes", "--fold", found, "coco or pascal, whole", "leave --fold")
    tested = {id_ for place, id_ in enumerate(ids) if (place % FOLDS if data == "coco" else place // (size // FOLDS)) == fold}
    return tuple(id_ for id_ in ids if id_ not in tested), tuple(sorted(tested))


def episode_rng(seed: int, step: int, item: int) -> np.random.Generator:
    """The generator of one episode of one step: the same for any number of processes and restarts."""
    return np.random.default_rng((seed, step, item))


def draw_episode(data: ClassPictures, categories: Sequence[int], shots: int, rng: np.random.Generator, balance: float = 0.0) -> Draw:
    """A class, a picture of it, and other pictures of it.

    Args:
        data: what to draw from.
        categories: which classes.
        shots: how many supports.
        rng: decides.
        balance: a class is drawn as often as this power of the number of its pictures says: 0 for classes equally often,
            as HSNet and those after it have it; 1 for pictures equally often.

    Raises:
        DataError: no class has a picture more than there are shots.
    """
    able = [category for category in categories if len(data.members(category)) > shots]
    if not able:
        expected = f"{shots + 1} pictures of one"
        raise DataError("no class with enough pictures", data.name, f"{len(categories)} classes", expected, "add pictures")
    often = np.array([len(data.members(category)) for category in able], np.float64) ** balance
    category = able[int(rng.choice(len(able), p=often / often.sum()))]
    chosen = rng.choice(np.asarray(data.members(category)), shots + 1, replace=False)
    return Draw(category, int(chosen[0]), tuple(int(place) for place in chosen[1:]))
