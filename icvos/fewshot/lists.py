"""The field's split lists (HSNet's): which picture may be asked for which class.

They are other people's files, and a pickle is a program: one that holds more than data is refused before it runs.
"""

from __future__ import annotations

import io
import pickle
import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from icvos.categories import CATEGORIES
from icvos.errors import DataError
from icvos.fewshot.folds import FOLDS, fold_classes, voc_id
from icvos.files import AnyPath, read_data
from icvos.types import Category

Listed = Mapping[Category, tuple[str, ...]]  # class -> stems of pictures, sorted

_NAME = re.compile(r"val2014/(COCO_val2014_\d{12})\.jpg")
_LINE = re.compile(r"(\d{4}_\d{6})__(\d{2})")
_FIX = "fetch the lists again (juhongm999/hsnet, data/splits)"


class _DataOnly(pickle.Unpickler):
    """Reads lists, dictionaries, numbers and texts; whatever would import a name is refused before it runs."""

    def find_class(self, module: str, name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")

    def persistent_load(self, pid: Any) -> NoReturn:
        raise pickle.UnpicklingError("it asks for an object from elsewhere")


def read_lists(benchmark: str, folder: AnyPath) -> Listed:
    """The pictures of every class of all four folds.

    Args:
        benchmark: whose.
        folder: HSNet's ``splits``, with ``coco/val/fold0.pkl`` or ``pascal/val/fold0.txt`` inside.

    Raises:
        DataError: a list is missing, holds more than data, or names a class that is none of its fold.
    """
    folder = Path(folder)
    if benchmark == "coco20i":
        return _merged(read_coco_list(folder / "coco" / "val" / f"fold{fold}.pkl", fold) for fold in range(FOLDS))
    return _merged(read_pascal_list(folder / "pascal" / "val" / f"fold{fold}.txt", fold) for fold in range(FOLDS))


def read_coco_list(path: AnyPath, fold: int) -> Listed:
    """One fold of COCO-20i: a pickle of {place of the class, from 0: [val2014/COCO_val2014_….jpg]}.

    Raises:
        DataError: see `read_lists`.
    """
    path = Path(path)
    try:
        found = _DataOnly(io.BytesIO(read_data(path))).load()
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, IndexError, KeyError, AttributeError, MemoryError) as error:
        raise DataError("not a list that may be read", path, str(error) or type(error).__name__, "a pickle of data alone", _FIX) from error
    listed: dict[Category, tuple[str, ...]] = {}
    own = fold_classes("coco20i", fold)
    if not isinstance(found, dict):
        raise DataError("not a split list", path, type(found).__name__, "{class: [names]}", _FIX)
    for place, names in found.items():
        category = CATEGORIES[place] if isinstance(place, int) and 0 <= place < len(CATEGORIES) else None
        matched = [_NAME.fullmatch(name) if isinstance(name, str) else None for name in names] if isinstance(names, list) else [None]
        if category is None or not all(matched) or (matched and category not in own):
            raise DataError("not a split list of this fold", f"{path}, class {place!r}", expected=f"names of fold {fold}", fix=_FIX)
        if matched:
            listed[category] = tuple(sorted({match[1] for match in matched if match}))
    return listed


def read_pascal_list(path: AnyPath, fold: int) -> Listed:
    """One fold of PASCAL-5i: lines ``2007_000033__01``, a picture and a class.

    Raises:
        DataError: see `read_lists`.
    """
    path = Path(path)
    own = {voc_id(category): category for category in fold_classes("pascal5i", fold)}
    listed: defaultdict[Category, set[str]] = defaultdict(set)
    for number, line in enumerate(read_data(path).decode("utf-8", "replace").split(), 1):
        match = _LINE.fullmatch(line)
        if match is None or int(match[2]) not in own:
            raise DataError("not a line of this fold", f"{path}, line {number}", repr(line), f"picture__class of fold {fold}", _FIX)
        listed[own[int(match[2])]].add(match[1])
    return {category: tuple(sorted(names)) for category, names in listed.items()}


def _merged(parts: Any) -> Listed:
    return {category: names for part in parts for category, names in part.items()}
