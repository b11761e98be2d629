"""COCO's instances, read in one way for everybody: supports, episodes of images, and training.

Each entry of the JSON is decoded by itself, and where an object is only when somebody asks, so that half a gigabyte of JSON is never
built as Python's objects. An entry that cannot be used is left out and told; ids that stand twice are refused, since nobody can know
which of the two is meant.
"""

from __future__ import annotations

import os
import re
from array import array
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Annotated, Any, Generic, NamedTuple, TypeVar
from urllib.parse import urlsplit

import msgspec

from icvos.benchmark import plain_name
from icvos.categories import BY_ID
from icvos.errors import DataError, Finding
from icvos.files import AnyPath, json_fault, read_data
from icvos.masks import Shape, checked_polygons, checked_segmentation, rle_area, union_of_shapes
from icvos.types import Size

AGAIN = "fetch the annotations again"
_KEEP_ONE = "keep one of the two"
_LONGEST_SIDE = 1 << 15  # pixels
LISTS = ("images", "annotations", "categories")
# NaN and the infinities are no JSON, but Python writes them; texts are matched first, so that nothing in them is taken for one.
_NO_NUMBERS = re.compile(rb'"(?:[^"\\]|\\.)*"|-?(?:NaN|Infinity)')

Id = Annotated[int, msgspec.Meta(ge=-(1 << 53), le=1 << 53)]
Side = Annotated[int, msgspec.Meta(gt=0, le=_LONGEST_SIDE)]
Entry = TypeVar("Entry")
_POLYGONS = msgspec.json.Decoder(list[list[float]]).decode


class Picture(msgspec.Struct, frozen=True, gc=False):
    """An entry of `images`."""

    id: Id
    height: Side
    width: Side
    file_name: str = ""
    coco_url: str = ""

    @property
    def size(self) -> Size:
        """Height and width in pixels."""
        return self.height, self.width

    @property
    def name(self) -> str:
        """The file's name, perhaps with folders before it; an address stands for its last folder and name (as in LVIS).

        Raises:
            ValueError: the name is none, or would lead out of the data set's folder.
        """
        said = self.file_name or self.coco_url
        name = "/".join(urlsplit(said).path.split("/")[-2:]) if "://" in said else said
        for part in name.split("/"):
            plain_name(part)
        return name


class Annotation(msgspec.Struct, frozen=True, gc=False):
    """An entry of `annotations`; what is large or not always needed is left as it is written."""

    id: Id
    image_id: Id
    category_id: Id
    segmentation: msgspec.Raw = msgspec.Raw()
    area: msgspec.Raw = msgspec.Raw()
    bbox: msgspec.Raw = msgspec.Raw()
    iscrowd: bool | Annotated[int, msgspec.Meta(ge=0, le=1)] = 0

    def shape(self, size: Size) -> Shape:
        """Where the object is in a picture of `size`: polygons, or run lengths.

        Raises:
            ValueError: the segmentation is malformed.
        """
        if not self.segmentation:
            raise ValueError("no `segmentation`")
        try:
            shape: Shape = checked_polygons(_POLYGONS(self.segmentation), size)
        except msgspec.ValidationError:  # run lengths, or whatever stands there
            shape = checked_segmentation(msgspec.json.decode(self.segmentation), size)
        if not shape:
            raise ValueError("an empty list of polygons")
        return shape

    def covered(self, size: Size) -> float:
        """The area in square pixels: as the file says, else the number of pixels of `shape`, as pycocotools counts it.

        Raises:
            ValueError: the file does not say, and the segmentation is malformed.
        """
        said = _decoded(self.area)
        return float(said) if _is_number(said) and said >= 0 else float(rle_area(union_of_shapes([self.shape(size)], size)))


class _Category(msgspec.Struct, frozen=True, gc=False):
    id: Id
    name: str


class Ids(NamedTuple):
    """The ids of an instances file, which is all that is kept of it to be compared with another's."""

    path: Path
    pictures: frozenset[int]
    annotations: frozenset[int]


@dataclass(frozen=True)
class Instances:
    """What an instances file says.

    `pictures` are in the order of their ids, `annotations` in that of their pictures and then of their own ids; only those of listed
    pictures and of COCO's classes. `faults` are the entries that are left out; `clashes` are ids and names that stand twice.
    """

    path: Path
    pictures: tuple[Picture, ...]
    annotations: tuple[Annotation, ...]
    faults: tuple[Finding, ...] = ()
    clashes: tuple[Finding, ...] = ()

    @property
    def ids(self) -> Ids:
        """The ids of the pictures and of the annotations."""
        return Ids(self.path, frozenset(one.id for one in self.pictures), frozenset(one.id for one in self.annotations))


def read_instances(path: AnyPath, required: Iterable[str] = LISTS) -> Instances:
    """Read an instances file (2014, 2017 or any in that form).

    Args:
        path: the file.
        required: the lists without which it is no such file.

    Raises:
        DataError: it is no such file, an id or a file's name stands twice (the error names both places of each), a picture's name leads
            out of the data set's folder, its classes are not COCO's, or no annotation of it can be used.
    """
    path = Path(path)
    found = examine_instances(path, required)
    if found.clashes:
        first = found.clashes[0]
        raise DataError(
            "entries that stand twice", first.where, f"{first.found} ({len(found.clashes)} of such)", "once", _KEEP_ONE, found.clashes
        )
    outside = [fault for fault in found.faults if fault.code == "file-name"]
    if outside:
        raise DataError("malformed entries", path, str(len(outside)), "none", f"first: {outside[0]}", outside)
    if found.faults and not found.annotations:
        fix = f"first: {found.faults[0]}"
        raise DataError("not COCO instance annotations", path, f"{len(found.faults)} faults", "annotations", fix, found.faults)
    return found


def examine_instances(path: AnyPath, required: Iterable[str] = LISTS) -> Instances:
    """The same for whoever lists all faults: what stands twice is told, not refused, and its first entry is taken.

    Raises:
        DataError: it is no file of instances, or its classes are not COCO's.
    """
    path = Path(path)
    raw = _raw_lists(path, required)
    faults: list[Finding] = []
    pictures = _read_entries(path, "images", raw["images"], Picture, faults)
    annotations = _read_entries(path, "annotations", raw["annotations"], Annotation, faults)
    categories = _read_entries(path, "categories", raw["categories"], _Category, faults)
    if broken := [fault for fault in faults if fault.where.startswith(f"{path}, categories[")]:
        raise DataError("malformed entries", path, str(len(broken)), "none", f"first: {broken[0]}", broken)
    _refuse_other_classes(path, categories.entries)
    listed, names = _named(path, pictures, faults)
    clashes = [
        *pictures.twice("id", [picture.id for picture in pictures.entries]),
        *names.twice("file_name", names.entries),
        *annotations.twice("id", [annotation.id for annotation in annotations.entries]),
        *categories.twice("id", [category.id for category in categories.entries]),
        *categories.twice("name", [category.name for category in categories.entries]),
    ]
    unlisted = {picture.id for picture in pictures.entries}.difference(listed)
    kept: list[Annotation] = []
    for annotation in annotations.entries:
        if annotation.image_id in listed and annotation.category_id in BY_ID:
            kept.append(annotation)
        elif annotation.image_id not in unlisted:
            faults.append(_stranger(path, annotation, listed))
    kept.sort(key=lambda annotation: (annotation.image_id, annotation.id))
    ordered = tuple(sorted(listed.values(), key=lambda picture: picture.id))
    return Instances(path, ordered, tuple(kept), tuple(faults), tuple(clashes))


@dataclass(frozen=True)
class _Read(Generic[Entry]):
    """The entries of one list that could be decoded, and their places in it, from 0."""

    path: Path
    list_name: str
    entries: list[Entry] = field(default_factory=list)
    places: array[int] = field(default_factory=lambda: array("q"))

    def __iter__(self) -> Iterator[tuple[int, Entry]]:
        return zip(self.places, self.entries, strict=True)

    def twice(self, what: str, values: Sequence[Any]) -> list[Finding]:
        """A finding for each value that an earlier entry has too, with both places."""
        if len(set(values)) == len(values):
            return []
        first: dict[Any, int] = {}
        found = []
        for place, value in zip(self.places, values, strict=True):
            if (other := first.setdefault(value, place)) != place:
                where = f"{self.path}, {self.list_name}[{other}] and {self.list_name}[{place}]"
                found.append(Finding("given-twice", where, f"{what} {value} twice", "once", _KEEP_ONE))
        return found


def _raw_lists(path: Path, required: Iterable[str]) -> dict[str, list[msgspec.Raw]]:
    """The lists of the file, their entries not decoded yet."""
    data = read_data(path).removeprefix(BOM_UTF8)
    try:
        return _split_lists(path, data, required)
    except RecursionError as error:
        raise _corrupt(path, data, error) from error
    except msgspec.DecodeError:
        mended = _NO_NUMBERS.sub(lambda match: match[0] if match[0].startswith(b'"') else b"null", data)
        try:
            return _split_lists(path, mended, required)
        except msgspec.DecodeError as error:
            raise _corrupt(path, data, error) from error


def _split_lists(path: Path, data: bytes, required: Iterable[str]) -> dict[str, list[msgspec.Raw]]:
    try:
        whole = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
    except msgspec.ValidationError as error:
        raise _no_instances(path, str(error)) from error
    lists: dict[str, list[msgspec.Raw]] = {}
    for name in LISTS:
        with suppress(msgspec.ValidationError):
            lists[name] = msgspec.json.decode(whole.get(name, b"null"), type=list[msgspec.Raw])
    if missing := [name for name in required if name not in lists]:
        raise _no_instances(path, f"no list of {', '.join(missing)}")
    return {name: lists.get(name, []) for name in LISTS}


def _no_instances(path: Path, found: str) -> DataError:
    return DataError("not COCO instance annotations", path, found, ", ".join(LISTS), "fetch the file again")


def _corrupt(path: Path, data: bytes, error: Exception) -> DataError:
    """What is wrong with the JSON, with its line where the parser says the byte."""
    match = re.search(r"\(byte (\d+)\)", str(error))
    line = data.count(b"\n", 0, int(match[1])) + 1 if match else data.count(b"\n") + 1
    where = f"{path}, line {line}"
    return DataError("corrupt JSON", where, json_fault(error), "one whole JSON document", "fetch or write the file again")


def _read_entries(path: Path, name: str, raw: Iterable[msgspec.Raw], kind: type[Entry], faults: list[Finding]) -> _Read[Entry]:
    decode = msgspec.json.Decoder(kind).decode
    found: _Read[Entry] = _Read(path, name)
    for place, text in enumerate(raw):
        try:
            found.entries.append(decode(text))
            found.places.append(place)
        except ValueError as error:  # msgspec's own, and texts that are not UTF-8
            faults.append(Finding("malformed-entry", f"{path}, {name}[{place}]", str(error), _expected(kind), AGAIN))
    return found


def _expected(kind: type) -> str:
    return ", ".join(info.name for info in msgspec.structs.fields(kind) if info.required)


def _named(path: Path, pictures: _Read[Picture], faults: list[Finding]) -> tuple[dict[int, Picture], _Read[str]]:
    """The pictures with a name that leads to a file below the data set's folder, by id, and their names; others are faults."""
    listed: dict[int, Picture] = {}
    names: _Read[str] = _Read(path, pictures.list_name)
    for place, picture in pictures:
        try:
            names.entries.append(picture.name)
            names.places.append(place)
            listed.setdefault(picture.id, picture)
        except ValueError as error:
            said = picture.file_name or picture.coco_url
            code, found = ("file-name", f"`file_name` {said!r}: {error}") if said else ("malformed-entry", "no `file_name`")
            faults.append(Finding(code, f"{path}, images[{place}]", found, "a name below the data set's folder", AGAIN))
    return listed, names


def _stranger(path: Path, annotation: Annotation, listed: Iterable[int]) -> Finding:
    """The fault of an annotation whose picture or class is not there."""
    where = f"{path}, annotation {annotation.id}"
    if annotation.image_id not in listed:
        return Finding("unlisted-image", where, f"image {annotation.image_id}", "an image of the file", AGAIN)
    return Finding("unknown-class", where, f"class {annotation.category_id}", "a COCO class id", AGAIN)


def _refuse_other_classes(path: Path, categories: Iterable[_Category]) -> None:
    strangers = {one.id: one.name for one in categories if one.id not in BY_ID or BY_ID[one.id].name != one.name}
    if strangers:
        some = ", ".join(f"{number} {name}" for number, name in list(strangers.items())[:3])
        raise DataError("other classes than COCO's 80", path, some, "1 person to 90 toothbrush", "give the official instances file")


def annotation_faults(path: Path, annotation: Annotation, size: Size) -> Iterator[Finding]:
    """What is wrong with an annotation of a picture of `size`: its segmentation, box and area; all of them."""
    where = f"{path}, annotation {annotation.id}"
    if fault := segmentation_fault(annotation, size):
        yield unreadable_segmentation(path, annotation, fault)
    if annotation.bbox and not _is_box(box := _decoded(annotation.bbox)):
        yield Finding("bbox", where, f"{box}", "left, top, width and height, none of the last two below 0", AGAIN)
    if annotation.area and not (_is_number(area := _decoded(annotation.area)) and area >= 0):
        yield Finding("area", where, f"{area}", "a number of pixels", AGAIN)


def segmentation_fault(annotation: Annotation, size: Size) -> str | None:
    """Why nobody can say where the object is in its picture of `size`, or None."""
    try:
        annotation.shape(size)
    except ValueError as error:
        return str(error)
    return None


def unreadable_segmentation(path: Path, annotation: Annotation, fault: str) -> Finding:
    """The finding for an annotation of which nobody can say where its object is."""
    return Finding("segmentation", f"{path}, annotation {annotation.id}", fault, "polygons or run lengths", AGAIN)


def _is_box(box: Any) -> bool:
    return isinstance(box, list) and len(box) == 4 and all(map(_is_number, box)) and min(box[2:]) >= 0


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < float("inf") and isfinite(value)


def _decoded(raw: msgspec.Raw) -> Any:
    return msgspec.json.decode(raw) if raw else None


class SplitFiles:
    """Where the pictures of a split lie below a data set's root; a folder is listed once, when it is first asked for."""

    def __init__(self, root: AnyPath, split: str) -> None:
        self.root, self.split = Path(root), split
        self._listed: dict[str, frozenset[str]] = {}

    def find(self, name: str) -> str | None:
        """The path below the root of the picture that an instances file calls `name`, or None where it is not there.

        It is looked for in the split's folder, in that folder below ``images/``, and where a name with folders leads by itself.
        """
        places = (f"{self.split}/{name}", f"images/{self.split}/{name}", name, f"images/{name}")
        return next((place for place in places if self._is_there(place)), None)

    def expected(self, name: str) -> str:
        """Where a picture that is not there should be."""
        return name if "/" in name else f"{self.split}/{name}"

    def _is_there(self, place: str) -> bool:
        folder, _, name = place.rpartition("/")
        if folder not in self._listed:
            path = self.root / folder
            self._listed[folder] = frozenset(entry.name for entry in os.scandir(path)) if path.is_dir() else frozenset()
        return name in self._listed[folder]


def split_clashes(one: Ids, other: Ids) -> list[Finding]:
    """Pictures and annotations that stand in both of two splits that should share none, as train and val of a year."""
    pairs = (("image", one.pictures, other.pictures), ("annotation", one.annotations, other.annotations))
    return [
        Finding(
            "in-two-splits", f"{one.path} and {other.path}", f"{what} {number} in both", "in one of them", "take it out of one of the files"
        )
        for what, ours, theirs in pairs
        for number in sorted(ours & theirs)
    ]
