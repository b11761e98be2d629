"""From a source's own words to COCO's classes.

`data/davis_labels.csv` holds the names of the objects of the 150 DAVIS 2017 sequences: facts of the semantics list that
the DAVIS team publishes with its unsupervised track (`davis_semantics.json`). A tree may bring its own list.

`data/lvos_labels.csv` holds the names of the objects of the 220 videos of LVOS v1, which v2 keeps: facts of the list that
Dataset Ninja made by hand. Its three spellings of *cue ball* were made one; all other words stand as they were given.
"""

from __future__ import annotations

import csv
from functools import cache
from importlib.resources import files
from pathlib import Path

from icvos.categories import BY_NAME
from icvos.errors import DataError
from icvos.files import AnyPath, read_json
from icvos.types import Category

# Words that mean a COCO class, or a kind of it that COCO's annotators draw as that class. Near misses are left out on
# purpose: a kick scooter is no motorcycle, a kart no car, a sail no kite, a ski pole no ski, a warship no boat, a cue ball
# no sports ball, a toy motorbike no motorcycle, a panda no bear; and a *vehical*, as OVIS has it, may be a car, bus or truck.
SYNONYMS = {
    "aeroplane": "airplane",
    "plane": "airplane",
    "fighter jet": "airplane",
    "motorbike": "motorcycle",
    "bike": "bicycle",
    "motorboat": "boat",
    "sailboat": "boat",
    "baby": "person",
    "kid": "person",
    "bear cub": "bear",
    "baby elephant": "elephant",
    "baby giraffe": "giraffe",
    "baby zebra": "zebra",
    "parrot": "bird",
    "poultry": "bird",
    "cellphone": "cell phone",
    "mobile phone": "cell phone",
    "ski": "skis",
    "ball": "sports ball",
    "basketball": "sports ball",
    "football": "sports ball",
    "tvmonitor": "tv",
    "sofa": "couch",
    "diningtable": "dining table",
    "pottedplant": "potted plant",
}

Labels = dict[str, dict[int, str]]  # clip -> object id -> the source's word


def coco_category(label: str) -> Category | None:
    """The COCO class that a word means, or None: ``motorbike`` -> motorcycle, ``goat`` -> None."""
    word = " ".join(label.lower().replace("_", " ").split())
    return BY_NAME.get(SYNONYMS.get(word, word))


@cache
def davis_labels() -> Labels:
    """The shipped names of the objects of all DAVIS 2017 sequences."""
    return _shipped("davis_labels.csv")


@cache
def lvos_labels() -> Labels:
    """The shipped names of the objects of the videos of LVOS v1."""
    return _shipped("lvos_labels.csv")


def _shipped(name: str) -> Labels:
    labels: Labels = {}
    with (files("curation") / "data" / name).open(encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            labels.setdefault(row["clip"], {})[int(row["object"])] = row["label"]
    return labels


def _word(label: object) -> str:
    if not isinstance(label, str):
        raise TypeError(f"a name of type {type(label).__name__}")
    return label


def read_semantics(path: AnyPath) -> Labels:
    """A `davis_semantics.json` ({clip: {object id: word}}) as DAVIS publishes it.

    Raises:
        DataError: it is not such a file.
    """
    path = Path(path)
    data = read_json(path)
    try:
        return {clip: {int(number): _word(label) for number, label in objects.items()} for clip, objects in data.items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise DataError(
            "not a semantics list", path, found=str(error), expected="{clip: {object id: name}}", fix="fetch it again"
        ) from error
