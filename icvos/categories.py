"""The 80 classes of COCO's instance annotations, with their official ids (1 to 90, with gaps)."""

from __future__ import annotations

from icvos.errors import UserInputError, did_you_mean
from icvos.types import Category

_IDS_AND_NAMES = (
    (1, "person"),
    (2, "bicycle"),
    (3, "car"),
    (4, "motorcycle"),
    (5, "airplane"),
    (6, "bus"),
    (7, "train"),
    (8, "truck"),
    (9, "boat"),
    (10, "traffic light"),
    (11, "fire hydrant"),
    (13, "stop sign"),
    (14, "parking meter"),
    (15, "bench"),
    (16, "bird"),
    (17, "cat"),
    (18, "dog"),
    (19, "horse"),
    (20, "sheep"),
    (21, "cow"),
    (22, "elephant"),
    (23, "bear"),
    (24, "zebra"),
    (25, "giraffe"),
    (27, "backpack"),
    (28, "umbrella"),
    (31, "handbag"),
    (32, "tie"),
    (33, "suitcase"),
    (34, "frisbee"),
    (35, "skis"),
    (36, "snowboard"),
    (37, "sports ball"),
    (38, "kite"),
    (39, "baseball bat"),
    (40, "baseball glove"),
    (41, "skateboard"),
    (42, "surfboard"),
    (43, "tennis racket"),
    (44, "bottle"),
    (46, "wine glass"),
    (47, "cup"),
    (48, "fork"),
    (49, "knife"),
    (50, "spoon"),
    (51, "bowl"),
    (52, "banana"),
    (53, "apple"),
    (54, "sandwich"),
    (55, "orange"),
    (56, "broccoli"),
    (57, "carrot"),
    (58, "hot dog"),
    (59, "pizza"),
    (60, "donut"),
    (61, "cake"),
    (62, "chair"),
    (63, "couch"),
    (64, "potted plant"),
    (65, "bed"),
    (67, "dining table"),
    (70, "toilet"),
    (72, "tv"),
    (73, "laptop"),
    (74, "mouse"),
    (75, "remote"),
    (76, "keyboard"),
    (77, "cell phone"),
    (78, "microwave"),
    (79, "oven"),
    (80, "toaster"),
    (81, "sink"),
    (82, "refrigerator"),
    (84, "book"),
    (85, "clock"),
    (86, "vase"),
    (87, "scissors"),
    (88, "teddy bear"),
    (89, "hair drier"),
    (90, "toothbrush"),
)

CATEGORIES = tuple(Category(number, name) for number, name in _IDS_AND_NAMES)
BY_ID = {category.id: category for category in CATEGORIES}
BY_NAME = {category.name: category for category in CATEGORIES}


def official_position(category: Category) -> int:
    """The place of a class in the list of 80, from 1: the folder name that the official IC-VOS tree uses (not the COCO id)."""
    return CATEGORIES.index(category) + 1


def at_official_position(position: int) -> Category | None:
    """The reverse of `official_position`; None outside 1..80."""
    return CATEGORIES[position - 1] if 1 <= position <= len(CATEGORIES) else None


def category_named(name: str) -> Category:
    """The class called `name`.

    Raises:
        UserInputError: COCO has no such class.
    """
    if name not in BY_NAME:
        raise UserInputError("unknown class", name, expected="a COCO class", fix=did_you_mean(name, BY_NAME))
    return BY_NAME[name]
