"""COCO instance annotations (2014 or 2017) as a pool of supports: for each class, the images that can say what is meant."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from curation.sources.catalogue import check_root
from icvos.benchmark import plain_name
from icvos.categories import BY_ID
from icvos.errors import DataError, Finding, UserInputError
from icvos.files import AnyPath, read_json
from icvos.masks import image_size, rle_area, size_text, union_of_segmentations
from icvos.types import RLE, Category, Size

SPLITS = ("val2017", "val2014")  # the paper takes supports from COCO val
_LONGEST_SIDE = 1 << 15
MIN_AREA = 32 * 32  # pixels of the union: below it COCO itself calls an object small


@dataclass(frozen=True, slots=True)
class SupportCandidate:
    """An image that can be a support of one class: the union of the class's instances in it, crowds left out."""

    image_id: int
    file: str  # below the root: val2017/000000000139.jpg
    annotations: tuple[int, ...]
    mask: RLE


class Coco:
    """The annotations of one split of a COCO tree.

    Args:
        root: the folder with `annotations/` and the images' folder.
        split: ``val2017`` or ``val2014`` or another; by default the first of these that is there.
        min_area: the smallest union of a class's instances, in pixels, that may stand as a support.
    """

    name = "coco"

    def __init__(self, root: AnyPath, split: str | None = None, min_area: int = MIN_AREA) -> None:
        root = Path(root)
        check_root(self.name, root)
        self.root = root
        self.split = split or self._default_split()
        self.min_area = min_area
        self._asked: dict[Category, tuple[list[SupportCandidate], list[tuple[int, str]]]] = {}
        self.path = root / "annotations" / f"instances_{self.split}.json"
        if not self.path.is_file():
            there = sorted(path.stem.removeprefix("instances_") for path in root.glob("annotations/instances_*.json"))
            raise UserInputError("no such split of COCO", self.split, ", ".join(there), self.path, "give --support-split one that is there")

    @cached_property
    def _by_class(self) -> dict[int, dict[int, list[dict[str, Any]]]]:
        grouped: dict[int, dict[int, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
        for annotation in self._data["annotations"]:
            if not annotation.get("iscrowd", 0):
                grouped[annotation["category_id"]][annotation["image_id"]].append(annotation)
        return grouped

    @cached_property
    def _by_image(self) -> dict[int, list[dict[str, Any]]]:
        grouped: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for annotation in self._data["annotations"]:
            grouped[annotation["image_id"]].append(annotation)
        return grouped

    @cached_property
    def _images(self) -> dict[int, dict[str, Any]]:
        return {image["id"]: image for image in self._data["images"]}

    @cached_property
    def _data(self) -> dict[str, Any]:
        data: dict[str, Any] = read_json(self.path)
        lists = ("images", "annotations", "categories")
        missing = [name for name in lists if not isinstance(data, dict) or not isinstance(data.get(name), list)]
        if missing:
            raise DataError("not COCO instances", self.path, f"no list of {', '.join(missing)}", ", ".join(lists), "fetch it again")
        if findings := malformed_entries(self.path, data):
            raise DataError("malformed entries", self.path, str(len(findings)), "none", f"first: {findings[0]}", findings)
        strangers = {
            entry["id"]: entry["name"]
            for entry in data["categories"]
            if entry["id"] not in BY_ID or BY_ID[entry["id"]].name != entry["name"]
        }
        if strangers:
            some = ", ".join(f"{number} {name}" for number, name in list(strangers.items())[:3])
            raise DataError(
                "other classes than COCO's 80", self.path, some, "1 person to 90 toothbrush", "give the official instances file"
            )
        return data

    def load(self) -> None:
        """Read the annotation file now; otherwise it is read when something of it is asked for.

        Raises:
            DataError: it is no file of COCO instances.
        """
        len(self._data)

    def candidates(self, category: Category) -> tuple[list[SupportCandidate], list[tuple[int, str]]]:
        """The usable supports of a class, sorted by image id, and the images refused with the reason for each.

        Raises:
            DataError: an annotation is malformed or names an image that the file does not list.
        """
        if category not in self._asked:
            self._asked[category] = self._judge(category)
        return self._asked[category]

    def _judge(self, category: Category) -> tuple[list[SupportCandidate], list[tuple[int, str]]]:
        usable: list[SupportCandidate] = []
        refused: list[tuple[int, str]] = []
        for image_id, entries in sorted(self._by_class.get(category.id, {}).items()):
            candidate = self._candidate(image_id, entries)
            area = rle_area(candidate.mask)
            if area < self.min_area:
                refused.append((image_id, f"area {area} px below {self.min_area}"))
            elif not (self.root / candidate.file).is_file():
                refused.append((image_id, f"image missing: {candidate.file}"))
            else:
                usable.append(candidate)
        return usable, refused

    def mask_of(self, image_id: int, annotation_ids: Sequence[int]) -> RLE | None:
        """The union of these annotations of an image, or None where one of them is not there."""
        wanted = set(annotation_ids)
        found = [entry for entry in self._by_image.get(image_id, []) if entry["id"] in wanted]
        if image_id not in self._images or {entry["id"] for entry in found} != wanted:
            return None
        return self._union(image_id, found)

    def verify(self) -> list[Finding]:
        """Every fault of the split: images that are missing or of another size, annotations of unlisted images or classes.

        Raises:
            DataError: the annotation file itself cannot be used.
        """
        findings = [finding for image in self._data["images"] if (finding := self._image_fault(image))]
        for entry in self._data["annotations"]:
            where, again = f"{self.path}, annotation {entry['id']}", "fetch the annotations again"
            if entry["image_id"] not in self._images:
                findings.append(Finding("unlisted-image", where, f"image {entry['image_id']}", "an image of the file", again))
            elif not entry.get("iscrowd", 0) and (fault := self._segmentation_fault(entry)):
                findings.append(Finding("segmentation", where, fault, "polygons or run lengths", again))
            if entry["category_id"] not in BY_ID:
                findings.append(Finding("unknown-class", where, f"class {entry['category_id']}", "a COCO class id", again))
        return findings

    def _image_fault(self, image: dict[str, Any]) -> Finding | None:
        path, again = self.root / self.split / image["file_name"], "fetch the images again"
        if not path.is_file():
            return Finding("missing-image", str(path), "no file", "the image", again)
        try:
            found, expected = image_size(path), (image["height"], image["width"])
        except DataError as error:
            return Finding("unreadable", str(path), error.found, error.expected, again)
        return Finding("size", str(path), size_text(found), f"{size_text(expected)}, as annotated", again) if found != expected else None

    def _segmentation_fault(self, annotation: dict[str, Any]) -> str | None:
        try:
            self._union(annotation["image_id"], [annotation])
        except DataError as error:
            return error.found
        return None

    def _candidate(self, image_id: int, annotations: list[dict[str, Any]]) -> SupportCandidate:
        mask = self._union(image_id, annotations)
        file = f"{self.split}/{self._images[image_id]['file_name']}"
        return SupportCandidate(image_id, file, tuple(sorted(entry["id"] for entry in annotations)), mask)

    def _union(self, image_id: int, annotations: list[dict[str, Any]]) -> RLE:
        if image_id not in self._images:
            raise DataError("an annotation of an unlisted image", f"{self.path}, image {image_id}", fix="fetch the annotations again")
        image = self._images[image_id]
        size: Size = (image["height"], image["width"])
        try:
            return union_of_segmentations([entry["segmentation"] for entry in annotations], size)
        except ValueError as error:
            numbers = ", ".join(str(entry["id"]) for entry in annotations)
            where = f"{self.path}, image {image_id}, annotations {numbers}"
            raise DataError("a malformed segmentation", where, found=str(error), fix="fetch the annotations again") from error

    def _default_split(self) -> str:
        there = [split for split in SPLITS if (self.root / "annotations" / f"instances_{split}.json").is_file()]
        if not there:
            found = sorted(path.name for path in self.root.glob("annotations/instances_*.json"))
            raise DataError(
                "no COCO val annotations",
                self.root / "annotations",
                ", ".join(found),
                "instances_val2017.json",
                "fetch it, or give --support-split",
            )
        return there[0]


_FIELDS: dict[str, dict[str, type]] = {
    "images": {"id": int, "file_name": str, "height": int, "width": int},
    "annotations": {"id": int, "image_id": int, "category_id": int, "segmentation": object},
    "categories": {"id": int, "name": str},
}


def malformed_entries(path: Path, data: dict[str, Any]) -> list[Finding]:
    """One finding for each entry of an instances file that lacks a field, or has one that cannot be meant."""
    return [
        Finding("malformed-entry", f"{path}, {name}[{place}]", fault, ", ".join(fields), "fetch the annotations again")
        for name, fields in _FIELDS.items()
        for place, entry in enumerate(data[name])
        if (fault := _entry_fault(entry, fields))
    ]


def _entry_fault(entry: Any, fields: dict[str, type]) -> str | None:
    if not isinstance(entry, dict):
        return f"{type(entry).__name__} instead of an object"
    for field, kind in fields.items():
        if field not in entry:
            return f"no `{field}`"
        if not isinstance(entry[field], kind):
            return f"`{field}` {entry[field]!r}"
        if field == "file_name" and not _is_plain(entry[field]):
            return f"`file_name` {entry[field]!r}, which is not a plain name"
        if field in {"height", "width"} and not 0 < entry[field] <= _LONGEST_SIDE:
            return f"`{field}` {entry[field]}"
    return None


def _is_plain(name: str) -> bool:
    try:
        return plain_name(name) == name
    except ValueError:
        return False
