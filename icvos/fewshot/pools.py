"""Pictures that may be asked for a class, and the label map of each: out of COCO's annotations, or out of VOC's masks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from icvos.cache import kept_json
from icvos.categories import BY_ID
from icvos.coco import SplitFiles
from icvos.errors import DataError, Finding, UserInputError, did_you_mean
from icvos.fewshot.folds import BENCHMARKS, voc_id
from icvos.fewshot.lists import Listed, read_lists
from icvos.fewshot.protocols import IGNORED, LEAST
from icvos.files import AnyPath, map_files
from icvos.masks import decode_rle, read_ids
from icvos.names import MASKS, PICTURES, by_stem
from icvos.training.class_pictures import VOC_NAMES
from icvos.types import RLE, Category

Labels = NDArray[np.uint8]  # (H, W): a COCO class id, 0 for none, 255 for void
STANDARD = {"coco": "val2014", "pascal": "val"}  # the field's pictures


class Pool(Protocol):
    """Pictures go by the stem of their file's name."""

    @property
    def source(self) -> str:
        """coco or pascal."""
        ...

    @property
    def kind(self) -> str:
        """Which pictures of it: val2014, val, all, ..."""
        ...

    @property
    def members(self) -> Mapping[Category, Sequence[str]]:
        """The pictures that may be asked for each class, sorted; those of a list may be missing on disk."""
        ...

    def file(self, stem: str) -> str | None:
        """The picture's path below the root; None where it is not there."""
        ...

    @property
    def faults(self) -> Sequence[Finding]:
        """What is left out of the annotations, each with its reason."""
        ...

    def unusable(self, stem: str) -> bool:
        """Whether an annotation of a picture cannot be read, so that nobody knows what is where in it."""
        ...

    def labels(self, stem: str) -> Labels:
        """What is where in a picture that is there.

        Raises:
            DataError: its annotation cannot be read.
        """
        ...


class CocoPool:
    """COCO 2014 or 2017. The label map is the field's: annotations painted over one another in the order of their ids, without crowds.

    Polygons are filled as the field's lists have it (`cv2.fillPoly`, the outline's own pixels are inside), run lengths are exact.
    """

    source = "coco"

    def __init__(self, root: AnyPath, split: str | None = None, listed: Listed | None = None) -> None:
        """Open it.

        Args:
            root: with ``annotations/instances_<split>.json`` and ``<split>/`` or ``images/<split>/``.
            split: which pictures, where no list says; by default val2014, or val2017 where there is no other.
            listed: the pictures by class. Names of 2014 are looked for in a tree of 2017, too: their numbers are the same.

        Raises:
            DataError: the annotations are not there, or not COCO's, or two of their pictures go by one name.
        """
        from icvos.training.coco_index import CocoIndex

        root = Path(root)
        there = [name for name in ("val2014", "val2017", "train2017") if (root / "annotations" / f"instances_{name}.json").is_file()]
        chosen = there if listed is not None else [split] if split else there[:1]
        if not chosen or not all((root / "annotations" / f"instances_{name}.json").is_file() for name in chosen):
            raise DataError("no COCO annotations", root, expected=f"annotations/instances_{split or 'val2014'}.json", fix="check --coco")
        self._paths = {name: root / "annotations" / f"instances_{name}.json" for name in chosen}
        self._indices = {name: CocoIndex(path) for name, path in self._paths.items()}
        self._places = self._numbered()
        self._files = {name: SplitFiles(root, name) for name in chosen}
        self.kind = chosen[0] if listed is None else STANDARD["coco"]
        self.renamed = listed is not None and "val2014" not in there  # 2014's names, found in a tree of 2017
        self.members = listed if listed is not None else self._by_area(chosen[0])

    @property
    def faults(self) -> list[Finding]:
        """What is left out of the annotations, each with its reason."""
        return [fault for index in self._indices.values() for fault in index.faults]

    def file(self, stem: str) -> str | None:
        """See `Pool`."""
        split, place = self._places.get(_number(stem), ("", 0))
        return self._files[split].find(self._indices[split].name(place)) if split else None

    def unusable(self, stem: str) -> bool:
        """See `Pool`."""
        split, place = self._places.get(_number(stem), ("", 0))
        return bool(split) and self._indices[split].is_broken(place)

    def labels(self, stem: str) -> Labels:
        """See `Pool`."""
        split, place = self._places[_number(stem)]
        return self._painted(split, place)

    def _numbered(self) -> dict[int | str, tuple[str, int]]:
        """Where each picture's entry is. The years share their pictures, and 2014's go first; two files of one year must not."""
        places: dict[int | str, tuple[str, int]] = {}
        for split, index in self._indices.items():
            for place, name in enumerate(index.names):
                other, number = places.setdefault(_number(name), (split, place))
                if (other, number) != (split, place) and other[-4:] == split[-4:]:
                    where = f"{self._paths[other]}, {self._indices[other].name(number)}, and {self._paths[split]}, {name}"
                    raise DataError("two pictures of one name", where, Path(name).stem, "each name once", "take one of them out")
        return places

    def _painted(self, split: str, place: int) -> Labels:
        index = self._indices[split]
        labels = np.zeros(index.size(place), np.uint8)
        for category, shape in index.shapes(place):
            if isinstance(shape, RLE):
                labels[decode_rle(shape)] = category
                continue
            for outline in shape:
                points = np.asarray(outline).reshape(-1, 2).round().astype(np.int32)
                cv2.fillPoly(labels, [points], category)
        return labels

    def _by_area(self, split: str) -> dict[Category, list[str]]:
        """The pictures that show enough of a class; the areas are counted once and kept.

        Of a picture with an annotation that cannot be read nobody knows the areas, so it stands here for each class it shows.
        """
        index = self._indices[split]
        kept: list[dict[str, int]] = kept_json(
            index.folder and index.folder / "painted.json",
            lambda: [self._painted_areas(split, place) for place in range(len(index.names))],
        )
        return _members((Path(name).stem, areas) for name, areas in zip(index.names, kept, strict=True))

    def _painted_areas(self, split: str, place: int) -> dict[str, int]:
        index = self._indices[split]
        height, width = index.size(place)
        if index.is_broken(place):
            return {str(id_): max(height * width, LEAST) for id_ in index.categories(place)}
        return _areas(self._painted(split, place))


class PascalPool:
    """A VOC 2012 tree with class masks, those of SDS (SegmentationClassAug) first; 255 is void."""

    source = "pascal"
    members: Mapping[Category, Sequence[str]]
    faults: Sequence[Finding] = ()

    def __init__(self, root: AnyPath, listed: Listed | None = None) -> None:
        """Open it. Without a list, the pictures are those of ``ImageSets/Segmentation/val.txt``, or all where there is none.

        The field's list of PASCAL-5i follows from no rule of areas that we know, so that what is chosen by area is another pool:
        ``val-area``; ``part`` where some of val's pictures are absent; ``all`` in a tree without val.txt.

        Raises:
            DataError: there are no masks, or one has a value that is no class of VOC.
        """
        root = Path(root)
        self.root = root
        self._folder = next((part for part in ("SegmentationClassAug", "SegmentationClass") if (root / part).is_dir()), "")
        if not self._folder or not (root / "JPEGImages").is_dir():
            expected = "JPEGImages/ and SegmentationClass/ or SegmentationClassAug/"
            raise DataError("no VOC masks", root, expected=expected, fix="check --pascal")
        self._masks, self._images = by_stem(root / self._folder, MASKS), by_stem(root / "JPEGImages", PICTURES)
        split = root / "ImageSets" / "Segmentation" / "val.txt"
        self.kind, self.members = STANDARD["pascal"], listed or {}
        if listed is None:
            stems = split.read_text().split() if split.is_file() else list(self._masks)
            there = [stem for stem in stems if self.file(stem)]
            self.kind = "all" if not split.is_file() else "val-area" if there == stems else "part"
            self.members = _members(zip(there, map_files(lambda stem: _areas(self.labels(stem)), there), strict=True))

    def file(self, stem: str) -> str | None:
        """See `Pool`."""
        image = self._images.get(stem) if stem in self._masks else None
        return f"JPEGImages/{image.name}" if image else None

    def unusable(self, stem: str) -> bool:
        """See `Pool`: a mask that cannot be read is refused."""
        return False

    def labels(self, stem: str) -> Labels:
        """See `Pool`."""
        path = self._masks[stem]
        found = _FROM_VOC[read_ids(path)]
        if (found == _NO_CLASS).any():
            expected = f"0 to {len(VOC_NAMES)}, and {IGNORED}"
            raise DataError("a mask with values that are no class of VOC", path, expected=expected, fix="use masks of class ids")
        return found


_NO_CLASS = 254
_FROM_VOC = np.full(256, _NO_CLASS, np.uint8)
_FROM_VOC[0], _FROM_VOC[IGNORED] = 0, IGNORED
for _category in BY_ID.values():
    if _category.name in VOC_NAMES:
        _FROM_VOC[voc_id(_category)] = _category.id


def open_pool(benchmark: str, root: AnyPath, *, split: str | None = None, lists: AnyPath | None = None) -> Pool:
    """The pictures of a benchmark.

    Args:
        benchmark: coco20i, pascal5i or coco2pascal.
        root: of COCO, or of VOC 2012.
        split: of COCO, where no lists are given.
        lists: HSNet's ``splits``.

    Raises:
        DataError: the tree or a list is not what it should be.
        UserInputError: an option that does not go with the others.
    """
    root = Path(root)
    lists = None if lists is None else Path(lists)
    if benchmark not in BENCHMARKS:
        raise UserInputError("unknown benchmark of images", benchmark, fix=did_you_mean(benchmark, BENCHMARKS))
    if not root.is_dir():
        raise UserInputError("no such folder", root, expected=f"the data of {benchmark}", fix="check --coco and --pascal")
    if split and (lists or BENCHMARKS[benchmark] != "coco"):
        raise UserInputError("a split is chosen of COCO without lists", "--split", split, fix="leave --split out")
    listed = read_lists(benchmark, lists) if lists else None
    return CocoPool(root, split, listed) if BENCHMARKS[benchmark] == "coco" else PascalPool(root, listed)


def absent(pool: Pool, classes: Iterable[Category]) -> list[Finding]:
    """Pictures that a list names for these classes and that are not on disk."""
    stems = sorted({stem for category in classes for stem in pool.members.get(category, ())})
    return [Finding("absent-picture", stem, "no file", "the listed picture", "complete the data") for stem in stems if not pool.file(stem)]


def left_out(pool: Pool, classes: Iterable[Category]) -> set[str]:
    """Pictures that could be asked for these classes if all of their annotations could be read."""
    return {stem for category in classes for stem in pool.members.get(category, ()) if pool.unusable(stem)}


def _number(name: str) -> int | str:
    """The id that a picture of COCO has in its name, of 2014 or of 2017; another picture's name without its suffix."""
    stem = Path(name).stem
    return int(stem[-12:]) if stem[-12:].isdecimal() else stem


def _areas(labels: Labels) -> dict[str, int]:
    ids, counts = np.unique(labels, return_counts=True)
    return {str(id_): int(count) for id_, count in zip(ids, counts, strict=True) if id_ not in (0, IGNORED)}


def _members(areas: Iterable[tuple[str, Mapping[str, int]]]) -> dict[Category, list[str]]:
    found: defaultdict[Category, list[str]] = defaultdict(list)
    for stem, covered in areas:
        for id_, count in covered.items():
            if count >= LEAST:
                found[BY_ID[int(id_)]].append(stem)
    return {category: sorted(stems) for category, stems in found.items()}
