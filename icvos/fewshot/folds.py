"""The classes of each fold: what a network trained for the fold has not seen."""

from __future__ import annotations

from icvos.categories import BY_NAME, CATEGORIES
from icvos.errors import UserInputError, did_you_mean
from icvos.training.class_pictures import VOC_NAMES
from icvos.types import Category

FOLDS = 4
_PASCAL = tuple(BY_NAME[name] for name in VOC_NAMES)
_SHIFTED = (  # DC-SAM, Table 11: classes of PASCAL that fold f of COCO-20i does not train on, by the names of COCO
    ("airplane", "boat", "chair", "dining table", "dog", "person"),
    ("horse", "couch", "bicycle", "bus"),
    ("bird", "car", "potted plant", "sheep", "train", "tv"),
    ("bottle", "cow", "cat", "motorcycle"),
)
_CLASSES = {
    "coco20i": tuple(CATEGORIES[fold::FOLDS] for fold in range(FOLDS)),
    "pascal5i": tuple(_PASCAL[5 * fold : 5 * fold + 5] for fold in range(FOLDS)),
    "coco2pascal": tuple(tuple(BY_NAME[name] for name in names) for names in _SHIFTED),
}
BENCHMARKS = {"coco20i": "coco", "pascal5i": "pascal", "coco2pascal": "pascal"}  # benchmark -> the source of its pictures


def fold_classes(benchmark: str, fold: int) -> tuple[Category, ...]:
    """The classes that a fold is tested on, in the benchmark's order.

    COCO-20i: the class at place k of the 80 is in fold k % 4. PASCAL-5i: five in a row. coco2pascal: Table 11, where fold f has
    the classes of PASCAL that a network trained for fold f of COCO-20i has not seen.

    Raises:
        UserInputError: there is no such benchmark or fold.
    """
    if benchmark not in _CLASSES:
        raise UserInputError("unknown benchmark of images", benchmark, fix=did_you_mean(benchmark, _CLASSES))
    if not 0 <= fold < FOLDS:
        raise UserInputError("no such fold", "--fold", fold, f"0 to {FOLDS - 1}, or all", "choose one of them")
    return _CLASSES[benchmark][fold]


def voc_id(category: Category) -> int:
    """The value that a VOC mask has where it shows a class, 1 to 20."""
    return _PASCAL.index(category) + 1
