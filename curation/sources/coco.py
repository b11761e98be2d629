"""COCO instance annotations (2014 or 2017) as a pool of supports: for each class, the images that can say what is meant."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from curation.sources.catalogue import check_root
from icvos.coco import (
    AGAIN,
    Annotation,
    Ids,
    Instances,
    Picture,
    SplitFiles,
    annotation_faults,
    examine_instances,
    read_instances,
    split_clashes,
)
from icvos.errors import DataError, Finding, UserInputError
from icvos.files import AnyPath
from icvos.masks import image_size, rle_area, size_text, turned_fix, union_of_shapes
from icvos.names import accents_note
from icvos.types import RLE, Category

SPLITS = ("val2017", "val2014")  # the paper takes supports from COCO val
_TOGETHER = (*SPLITS, "train2017", "train2014")
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
        self._files = SplitFiles(root, self.split)
        self._faults: dict[str, Finding] = {}  # by where they are: one picture may be asked for several classes
        self.path = root / "annotations" / f"instances_{self.split}.json"
        if not self.path.is_file():
            there = sorted(path.stem.removeprefix("instances_") for path in root.glob("annotations/instances_*.json"))
            raise UserInputError("no such split of COCO", self.split, ", ".join(there), self.path, "give --support-split one that is there")

    @cached_property
    def _instances(self) -> Instances:
        return read_instances(self.path)

    @cached_property
    def _by_class(self) -> dict[int, dict[int, list[Annotation]]]:
        grouped: dict[int, dict[int, list[Annotation]]] = defaultdict(lambda: defaultdict(list))
        for annotation in self._instances.annotations:
            if not annotation.iscrowd:
                grouped[annotation.category_id][annotation.image_id].append(annotation)
        return grouped

    @cached_property
    def _by_image(self) -> dict[int, list[Annotation]]:
        grouped: dict[int, list[Annotation]] = defaultdict(list)
        for annotation in self._instances.annotations:
            grouped[annotation.image_id].append(annotation)
        return grouped

    @cached_property
    def _pictures(self) -> dict[int, Picture]:
        return {picture.id: picture for picture in self._instances.pictures}

    @property
    def findings(self) -> list[Finding]:
        """What was left out so far for a fault: entries of the file, annotations and pictures of the classes that were asked for."""
        return [*self._instances.faults, *self._faults.values()]

    def load(self) -> None:
        """Read the annotation file now; otherwise it is read when something of it is asked for.

        Raises:
            DataError: it is no file of COCO instances, or an id or a file's name stands twice.
        """
        len(self._instances.pictures)

    def candidates(self, category: Category) -> tuple[list[SupportCandidate], list[tuple[int, str]]]:
        """The usable supports of a class, sorted by image id, and the images refused with the reason for each.

        An image of which an annotation of the class cannot be read is refused, since its union would not be whole.

        Raises:
            DataError: the annotation file cannot be used.
        """
        if category not in self._asked:
            self._asked[category] = self._judge(category)
        return self._asked[category]

    def _judge(self, category: Category) -> tuple[list[SupportCandidate], list[tuple[int, str]]]:
        usable: list[SupportCandidate] = []
        refused: list[tuple[int, str]] = []
        for image_id, instances in sorted(self._by_class.get(category.id, {}).items()):
            verdict = self._candidate(self._pictures[image_id], instances)
            if isinstance(verdict, SupportCandidate):
                usable.append(verdict)
            else:
                refused.append((image_id, verdict))
        return usable, refused

    def _candidate(self, picture: Picture, instances: Sequence[Annotation]) -> SupportCandidate | str:
        """The support, or why the image is none."""
        try:
            mask = self._union(picture, instances)
        except DataError as error:
            return self._refused(Finding("segmentation", error.where, error.found, "polygons or run lengths", AGAIN))
        if (area := rle_area(mask)) < self.min_area:
            return f"area {area} px below {self.min_area}"
        file = self._files.find(picture.name)
        if file is None:
            place = self._files.expected(picture.name)
            note = accents_note(self.root / place)
            return f"image missing: {place}{f'; there is {note}' if note else ''}"
        if fault := self._picture_fault(picture):
            return self._refused(fault)
        return SupportCandidate(picture.id, file, tuple(sorted(instance.id for instance in instances)), mask)

    def _refused(self, fault: Finding) -> str:
        self._faults[fault.where] = fault
        return str(fault)

    def mask_of(self, image_id: int, annotation_ids: Sequence[int]) -> RLE | None:
        """The union of these annotations of an image, or None where one of them is not there.

        Raises:
            DataError: one of them cannot be read.
        """
        wanted = set(annotation_ids)
        found = [annotation for annotation in self._by_image.get(image_id, []) if annotation.id in wanted]
        if image_id not in self._pictures or {instance.id for instance in found} != wanted:
            return None
        return self._union(self._pictures[image_id], found)

    def _union(self, picture: Picture, instances: Sequence[Annotation]) -> RLE:
        shapes = []
        for instance in instances:
            try:
                shapes.append(instance.shape(picture.size))
            except ValueError as error:
                where = f"{self.path}, image {picture.id}, annotation {instance.id}"
                raise DataError("a malformed segmentation", where, found=str(error), fix=AGAIN) from error
        return union_of_shapes(shapes, picture.size)

    def verify(self) -> list[Finding]:
        """Every fault of the split: entries that are malformed or stand twice, annotations of unlisted images or unknown classes, masks,
        boxes and areas that cannot be meant, and images that are missing or of another size.

        Raises:
            DataError: the annotation file itself cannot be used.
        """
        return self.verify_entries(examine_instances(self.path), pictures=True)

    def verify_entries(self, found: Instances, *, pictures: bool) -> list[Finding]:
        """The same of what `examine_instances` read of the split's file; `pictures` says whether the images themselves are looked at."""
        sizes = {picture.id: picture.size for picture in found.pictures}
        findings = [*found.faults, *found.clashes]
        if pictures:
            findings += [fault for picture in found.pictures if (fault := self._picture_fault(picture))]
        for annotation in found.annotations:
            findings += annotation_faults(self.path, annotation, sizes[annotation.image_id])
        return findings

    def _picture_fault(self, picture: Picture) -> Finding | None:
        file, again = self._files.find(picture.name), "fetch the images again"
        if file is None:
            place = self.root / self._files.expected(picture.name)
            return Finding("missing-image", str(place), accents_note(place) or "no file", "the image", again)
        path = self.root / file
        try:
            found = image_size(path)
        except DataError as error:
            return Finding("unreadable", str(path), error.found or error.what, error.expected, again)
        if found == picture.size:
            return None
        fix = turned_fix(path, picture.size) or again
        return Finding("size", str(path), size_text(found), f"{size_text(picture.size)}, as annotated", fix)

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


def verify_coco(root: AnyPath, split: str | None = None) -> list[Finding]:
    """Every fault of a COCO tree: of each instances file that is there (images are looked at of `split`, by default that of supports, and
    of the splits whose folder is there), and pictures or annotations that train and val of one year share.

    Raises:
        UserInputError: there is no such folder.
        DataError: an annotation file cannot be used.
    """
    root = Path(root)
    default = Coco(root, split)
    others = [path.stem.removeprefix("instances_") for path in sorted(root.glob("annotations/instances_*.json"))]
    splits = [default, *(Coco(root, other) for other in others if other in _TOGETHER and other != default.split)]
    findings: list[Finding] = []
    ids: dict[str, Ids] = {}
    for one in splits:
        there = any((root / folder / one.split).is_dir() for folder in ("", "images"))
        found = examine_instances(one.path)
        findings += one.verify_entries(found, pictures=there or one is default)
        ids[one.split] = found.ids
    for year in ("2014", "2017"):
        of_year = [own for split, own in ids.items() if split in {f"train{year}", f"val{year}"}]
        findings += split_clashes(*of_year) if len(of_year) > 1 else []
    return findings
