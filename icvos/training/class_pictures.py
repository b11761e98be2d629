"""Pictures by class: what episodes are drawn from. VOC trees, COCO annotations, and several of them as one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np

from icvos.cache import cached_folder, kept_json
from icvos.categories import CATEGORIES
from icvos.errors import DataError, UserInputError, did_you_mean, missing_package
from icvos.files import AnyPath
from icvos.masks import image_size, read_ids, read_image_of_size
from icvos.names import MASKS, PICTURES, by_stem
from icvos.training.pictures import held_back, voc_pictures
from icvos.types import Image, Mask

VOID = 255  # of VOC masks: belongs to no class
SMALLEST = 0.005  # of a picture's area: the least that a class must cover to be asked for
HELD_BACK = 25  # one picture in so many of a VOC tree without lists is never trained on
VOC_NAMES = (  # in VOC's order, by the names of COCO
    "airplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "dining table", "dog", "horse", "motorcycle", "person", "potted plant", "sheep", "couch", "train", "tv",
)  # fmt: skip


class ClassPictures(Protocol):
    """Pictures, and where each class is in them. Pictures go by number, classes by id."""

    @property
    def name(self) -> str:
        """Of the data set."""
        ...

    @property
    def categories(self) -> Mapping[int, str]:
        """Id to name, ascending."""
        ...

    def __len__(self) -> int:
        """How many pictures there are."""
        ...

    def members(self, category: int) -> Sequence[int]:
        """The pictures that hold enough of a class, ascending."""
        ...

    def showing(self, category: int) -> Sequence[int]:
        """The pictures that hold anything of a class, ascending."""
        ...

    def image(self, picture: int) -> Image:
        """(H, W, 3) RGB uint8."""
        ...

    def mask(self, picture: int, category: int) -> Mask:
        """(H, W) bool: all that is of the class."""
        ...


class VocClassPictures:
    """A VOC tree: JPEGImages, and class masks in SegmentationClassAug or SegmentationClass; void belongs to no class."""

    def __init__(self, name: str, root: AnyPath, names: Sequence[str] | None = None, smallest: float = SMALLEST) -> None:
        """Open it; the first time every mask is read, and what is in it kept in the cache folder.

        Args:
            name: of the data set.
            root: the tree.
            names: stems of the pictures to take; by default all.
            smallest: part of a picture's area that a class must cover.

        Raises:
            DataError: there are no masks, one cannot be read, or has a class that VOC has not.
        """
        root = Path(root)
        self.name, self.root = name, root
        self.folder = next((root / part for part in ("SegmentationClassAug", "SegmentationClass") if (root / part).is_dir()), None)
        there = by_stem(self.folder, MASKS) if self.folder else {}
        wanted = None if names is None else set(names)
        self.names = [stem for stem in there if wanted is None or stem in wanted]
        self._masks = [there[stem] for stem in self.names]
        images = by_stem(root / "JPEGImages", PICTURES)
        self._images = [images.get(stem, root / "JPEGImages" / f"{stem}.jpg") for stem in self.names]
        if not self.folder or not self.names:
            expected = "JPEGImages/ and SegmentationClass/ or SegmentationClassAug/"
            raise DataError("no VOC masks", root, expected=expected, fix="check the path")
        areas = _areas(self.folder, there)
        self._members: dict[int, list[int]] = defaultdict(list)
        self._showing: dict[int, list[int]] = defaultdict(list)
        for number, stem in enumerate(self.names):
            for category, part in areas[stem]:
                self._showing[category].append(number)
                if part >= smallest:
                    self._members[category].append(number)
        self.categories: Mapping[int, str] = dict(enumerate(VOC_NAMES, start=1))

    def __len__(self) -> int:
        return len(self.names)

    def members(self, category: int) -> Sequence[int]:
        """See `ClassPictures`."""
        return self._members.get(category, [])

    def showing(self, category: int) -> Sequence[int]:
        """See `ClassPictures`."""
        return self._showing.get(category, [])

    def image(self, picture: int) -> Image:
        """See `ClassPictures`."""
        return read_image_of_size(self._images[picture], image_size(self._masks[picture]))

    def mask(self, picture: int, category: int) -> Mask:
        """See `ClassPictures`."""
        mask: Mask = read_ids(self._masks[picture]) == category
        return mask


def _areas(folder: Path, masks: Mapping[str, Path]) -> dict[str, list[tuple[int, float]]]:
    """For each picture the classes in it, with the part of its area that each covers; `masks` by stem."""
    newest = max(path.stat().st_mtime_ns for path in masks.values())
    kept_in = cached_folder("voc-2", folder, (len(masks), newest))  # another number for other values or another form
    path = kept_in and kept_in / "areas.json"
    kept: dict[str, list[tuple[int, float]]] = kept_json(path, lambda: {stem: _covered(mask) for stem, mask in masks.items()})
    return kept


def _covered(path: Path) -> list[tuple[int, float]]:
    values = read_ids(path)
    ids, counts = np.unique(values[(values != 0) & (values != VOID)], return_counts=True)
    if ids.max(initial=0) > len(VOC_NAMES):
        expected = f"0 to {len(VOC_NAMES)}, and {VOID}"
        raise DataError("class ids that are none of VOC's", path, ", ".join(map(str, ids[-3:])), expected, "use masks of class ids")
    return [(int(id_), round(float(count) / values.size, 6)) for id_, count in zip(ids, counts, strict=True)]


@dataclass(frozen=True)
class Together:
    """Several data sets as one, classes matched by name; ids are COCO's."""

    parts: tuple[ClassPictures, ...]

    @property
    def name(self) -> str:
        """The names of the parts."""
        return "+".join(part.name for part in self.parts)

    @property
    def categories(self) -> Mapping[int, str]:
        """See `ClassPictures`."""
        named = {name for part in self.parts for name in part.categories.values()}
        return {category.id: category.name for category in CATEGORIES if category.name in named}

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def members(self, category: int) -> Sequence[int]:
        """See `ClassPictures`."""
        return self._members[category]

    def showing(self, category: int) -> Sequence[int]:
        """See `ClassPictures`."""
        return self._numbers(category, lambda part, own: part.showing(own))

    @cached_property
    def _members(self) -> dict[int, list[int]]:
        return {category: self._numbers(category, lambda part, own: part.members(own)) for category in self.categories}

    def _numbers(self, category: int, of_part: Callable[[ClassPictures, int], Sequence[int]]) -> list[int]:
        starts = np.cumsum([0, *map(len, self.parts)]).tolist()
        return [
            start + number
            for part, start in zip(self.parts, starts, strict=False)
            for own in _own_ids(part, category)
            for number in of_part(part, own)
        ]

    def image(self, picture: int) -> Image:
        """See `ClassPictures`."""
        part, number = self._place(picture)
        return part.image(number)

    def mask(self, picture: int, category: int) -> Mask:
        """See `ClassPictures`."""
        part, number = self._place(picture)
        return part.mask(number, _own_ids(part, category)[0])

    def _place(self, picture: int) -> tuple[ClassPictures, int]:
        for part in self.parts:
            if picture < len(part):
                return part, picture
            picture -= len(part)
        raise IndexError(f"picture {picture} past the last")


def _own_ids(part: ClassPictures, category: int) -> list[int]:
    """What a part calls a class of COCO."""
    name = next(known.name for known in CATEGORIES if known.id == category)
    return [own for own, called in part.categories.items() if called == name]


def together(parts: Sequence[ClassPictures]) -> ClassPictures:
    """Several data sets as one; a single one stays itself."""
    return parts[0] if len(parts) == 1 else Together(tuple(parts))


@dataclass(frozen=True)
class Without:
    """A data set without some of its pictures."""

    whole: ClassPictures
    kept: tuple[int, ...]  # numbers of pictures of the whole, ascending

    @property
    def name(self) -> str:
        """See `ClassPictures`."""
        return self.whole.name

    @property
    def categories(self) -> Mapping[int, str]:
        """See `ClassPictures`."""
        return self.whole.categories

    def __len__(self) -> int:
        return len(self.kept)

    def members(self, category: int) -> Sequence[int]:
        """See `ClassPictures`."""
        return self._among_kept(self.whole.members(category))

    def showing(self, category: int) -> Sequence[int]:
        """See `ClassPictures`."""
        return self._among_kept(self.whole.showing(category))

    def image(self, picture: int) -> Image:
        """See `ClassPictures`."""
        return self.whole.image(self.kept[picture])

    def mask(self, picture: int, category: int) -> Mask:
        """See `ClassPictures`."""
        return self.whole.mask(self.kept[picture], category)

    @cached_property
    def _places(self) -> dict[int, int]:
        return {number: place for place, number in enumerate(self.kept)}

    def _among_kept(self, numbers: Sequence[int]) -> list[int]:
        return [self._places[number] for number in numbers if number in self._places]


def without_classes(data: ClassPictures, categories: Iterable[int]) -> ClassPictures:
    """The pictures that show nothing of any of these classes: what BAM, and HDMNet, AMNet and DC-SAM after it, train a fold on.

    Raises:
        DataError: no picture is left.
    """
    dropped = {number for category in categories for number in data.showing(category)}
    kept = tuple(number for number in range(len(data)) if number not in dropped)
    if not kept:
        raise DataError("no picture is left", data.name, f"all {len(data)} show a class of the fold", "others", "keep them all")
    return Without(data, kept)


def open_class_pictures(name: str, root: AnyPath, split: str = "train") -> ClassPictures:
    """A data set by name.

    Args:
        name: ``coco``, ``pascal`` or ``voc_small``.
        root: its folder.
        split: ``train`` or ``val``.

    Raises:
        UserInputError: no such data set.
        DataError: it is not what the name says.
    """
    root = Path(root)
    openers = {"coco": _open_coco, "pascal": _open_pascal, "voc_small": _open_voc_small}
    if name not in openers:
        raise UserInputError("no such data set to train on", name, fix=did_you_mean(name, openers))
    if not root.is_dir():
        raise DataError("no such folder", root, expected=f"the folder of {name}", fix="check --data")
    return openers[name](root, split)


def _open_coco(root: Path, split: str) -> ClassPictures:
    try:
        from icvos.training.coco_index import CocoClassPictures
    except ModuleNotFoundError as error:
        raise missing_package("training", error, "train") from error
    for year in ("2017", "2014"):
        path = root / "annotations" / f"instances_{split}{year}.json"
        if path.is_file():
            return CocoClassPictures(path, root / f"{split}{year}")
    expected = f"annotations/instances_{split}2017.json or instances_{split}2014.json"
    raise DataError("no COCO annotations", root, expected=expected, fix="check --data")


def _open_pascal(root: Path, split: str) -> ClassPictures:
    lists = {"train": ("trainaug.txt", "train_aug.txt", "train.txt"), "val": ("val.txt",)}[split]
    for name in lists:
        path = root / "ImageSets" / "Segmentation" / name
        if path.is_file():
            return VocClassPictures("pascal", root, path.read_text().split())
    return VocClassPictures("pascal", root)


def _open_voc_small(root: Path, split: str) -> ClassPictures:
    rest, kept = held_back(voc_pictures(root), HELD_BACK)
    return VocClassPictures("voc_small", root, [picture.name for picture in (rest if split == "train" else kept)])
