"""Table 11: where a network that learned three folds of COCO-20i may be tested on PASCAL without having seen a class."""

from __future__ import annotations

from icvos.categories import CATEGORIES
from icvos.training.class_pictures import VOC_NAMES
from icvos.training.episodes import FOLDS, fold_categories

# Where PASCAL calls a class otherwise than COCO; the table prints PASCAL's names.
PASCAL = {"airplane": "aeroplane", "motorcycle": "motorbike", "couch": "sofa", "tv": "TV/monitor"}


def shifted_folds() -> tuple[tuple[str, ...], ...]:
    """For each fold of COCO-20i the classes of PASCAL that it leaves out of training, under PASCAL's names, sorted."""
    ids = {category.name: category.id for category in CATEGORIES}
    folds = []
    for fold in range(FOLDS):
        _, tested = fold_categories("coco", tuple(ids.values()), fold)
        folds.append(tuple(sorted((PASCAL.get(name, name) for name in VOC_NAMES if ids[name] in tested), key=str.lower)))
    return tuple(folds)
