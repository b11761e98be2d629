"""Pictures that may be asked for a class, and the label map of each: out of COCO's annotations, or out of VOC's masks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from icvos.categories import BY_ID
from icvos.errors import DataError, Finding, UserInputError, did_you_mean, missing_package
from icvos.fewshot.folds import BENCHMARKS, voc_id
from icvos.fewshot.lists import Listed, read_lists
from icvos.fewshot.protocols import IGNORED, LEAST
from icvos.files import AnyPath, map_files, parse_json, to_json, write_text
from icvos.masks import read_ids
from icvos.training.class_pictures import VOC_NAMES
from icvos.types import Category

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

    def labels(self, stem: str) -> Labels:
        """What is where in a picture that is there.

        Raises:
            DataError: its annotation cannot be read.
        """
        ...


class CocoPool:
    """COCO 2014 or 2017. The label map is the field's: annotations painted over one another in the order of their ids, without crowds."""

    source = "coco"

    def __init__(self, root: AnyPath, split: str | None = None, listed: Listed | None = None) -> None:
        """Open it.

        Args:
            root: with ``annotations/instances_<split>.json`` and ``<split>/``.
            split: which pictures, where no list says; by default val2014, or val2017 where there is no other.
            listed: the pictures by class. Names of 2014 are looked for in a tree of 2017, too: their numbers are the same.

        Raises:
            DataError: the annotations are not there, or not COCO's.
            UserInputError: packages to read them are missing.
        """
        root = Path(root)
        try:
            from icvos.training.coco_index import CocoIndex
        except ModuleNotFoundError as error:
            raise missing_package("reading COCO's annotations", error, "train") from error
        there = [name for name in ("val2014", "val2017", "train2017") if (root / "annotations" / f"instances_{name}.json").is_file()]
        chosen = there if listed is not None else [split] if split else there[:1]
        if not chosen or not all((root / "annotations" / f"instances_{name}.json").is_file() for name in chosen):
            raise DataError("no COCO annotations", root, expected=f"annotations/instances_{split or 'val2014'}.json", fix="check --coco")
        self._indices = {name: CocoIndex(root / "annotations" / f"instances_{name}.json") for name in chosen}
        self._places: dict[int, tuple[str, int]] = {}
        for name, index in self._indices.items():
            for place, file in enumerate(index.arrays["names"].astype(str).tolist()):
                self._places.setdefault(_number(file), (name, place))
        self._files = {name: {path.name for path in (root / name).glob("*.jpg")} for name in chosen}
        self.kind = chosen[0] if listed is None else STANDARD["coco"]
        self.renamed = listed is not None and "val2014" not in there  # 2014's names, found in a tree of 2017
        self.members = listed if listed is not None else self._by_area(chosen[0])

    def file(self, stem: str) -> str | None:
        """See `Pool`."""
        split, place = self._places.get(_number(stem), ("", 0))
        name = str(self._indices[split].arrays["names"][place], "ascii") if split else ""
        return f"{split}/{name}" if split and name in self._files[split] else None

    def labels(self, stem: str) -> Labels:
        """See `Pool`."""
        split, place = self._places[_number(stem)]
        return self._painted(split, place)

    def _painted(self, split: str, place: int) -> Labels:
        index = self._indices[split]
        labels = np.zeros(index.size(place), np.uint8)
        for category, outlines in index.outlines(place):
            for outline in outlines:
                points = np.asarray(outline).reshape(-1, 2).round().astype(np.int32)
                cv2.fillPoly(labels, [points], category)
        return labels

    def _by_area(self, split: str) -> dict[Category, list[str]]:
        """The pictures that show enough of a class; the areas are counted once and kept."""
        path = self._indices[split].folder.parent / "painted.json"
        names = self._indices[split].arrays["names"].astype(str).tolist()
        if not path.is_file():
            write_text(path, to_json([_areas(self._painted(split, place)) for place in range(len(names))]))
        kept: list[dict[str, int]] = parse_json(path.read_bytes(), path)
        return _members((Path(name).stem, areas) for name, areas in zip(names, kept, strict=True))


class PascalPool:
    """A VOC 2012 tree with class masks, those of SDS (SegmentationClassAug) first; 255 is void."""

    source = "pascal"
    members: Mapping[Category, Sequence[str]]

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
        split = root / "ImageSets" / "Segmentation" / "val.txt"
        self.kind, self.members = STANDARD["pascal"], listed or {}
        if listed is None:
            stems = split.read_text().split() if split.is_file() else sorted(path.stem for path in (root / self._folder).glob("*.png"))
            there = [stem for stem in stems if self.file(stem)]
            self.kind = "all" if not split.is_file() else "val-area" if there == stems else "part"
            self.members = _members(zip(there, map_files(lambda stem: _areas(self.labels(stem)), there), strict=True))

    def file(self, stem: str) -> str | None:
        """See `Pool`."""
        there = (self.root / self._folder / f"{stem}.png").is_file() and (self.root / "JPEGImages" / f"{stem}.jpg").is_file()
        return f"JPEGImages/{stem}.jpg" if there else None

    def labels(self, stem: str) -> Labels:
        """See `Pool`."""
        path = self.root / self._folder / f"{stem}.png"
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


def _number(name: str) -> int:
    """The id that a picture of COCO has in its name, of 2014 or of 2017."""
    digits = Path(name).stem[-12:]
    return int(digits) if digits.isdecimal() else -1


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
