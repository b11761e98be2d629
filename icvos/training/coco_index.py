"""COCO's instances as arrays on disk: the JSON is parsed once, and every process maps the same pages afterwards."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from icvos.cache import cached_folder, tell_nothing_kept
from icvos.categories import BY_ID
from icvos.coco import Annotation, SplitFiles, read_instances, unreadable_segmentation
from icvos.errors import DataError, Finding, UserInputError
from icvos.files import AnyPath, atomic_folder, parse_json, to_json
from icvos.masks import Shape, mask_of_shapes, read_image_of_size
from icvos.training.class_pictures import SMALLEST
from icvos.types import RLE, Image, Mask, Size

ARRAYS = (
    "heights", "widths", "names", "picture", "category", "area", "crowd", "broken",
    "first_outline", "outline_end", "coordinates", "runs_end", "runs",
)  # fmt: skip
FAULTS = "faults.json"
_FORM = "index-2"  # another number for another form of the files in it


class _Found(NamedTuple):
    """What an instances file holds: the arrays, and the entries that are left out."""

    arrays: dict[str, NDArray[Any]]
    faults: tuple[Finding, ...]


class CocoIndex:
    """An instances file as arrays: ``heights``, ``widths``, ``names`` by picture, and where each picture's objects are."""

    def __init__(self, annotations: AnyPath) -> None:
        """Open it; the first time the annotations are read and their index written.

        Raises:
            DataError: the annotations are not COCO's, or an id stands twice.
        """
        annotations = Path(annotations)
        self.annotations = annotations
        self.folder, found = _index(annotations)
        if found is not None:
            self._read = found

    def __getstate__(self) -> dict[str, Any]:
        """Without the arrays: whoever unpickles it maps them again, or reads them where none are kept."""
        return {"annotations": self.annotations, "folder": self.folder}

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """All of them, mapped where they are kept."""
        return self._found.arrays

    @property
    def faults(self) -> tuple[Finding, ...]:
        """The entries that are left out, each with its reason."""
        return self._found.faults

    @property
    def _found(self) -> _Found:
        if "_read" not in self.__dict__:
            self._read = _kept(self.folder) if self.folder else _read(self.annotations)
        return self._read

    @property
    def names(self) -> list[str]:
        """What the annotations call each picture's file."""
        return [str(name, "utf-8") for name in self.arrays["names"].tolist()]

    def size(self, picture: int) -> Size:
        """Height and width of a picture."""
        return int(self.arrays["heights"][picture]), int(self.arrays["widths"][picture])

    def name(self, picture: int) -> str:
        """What the annotations call a picture's file."""
        return str(self.arrays["names"][picture], "utf-8")

    def shapes(self, picture: int, category: int | None = None) -> Iterator[tuple[int, Shape]]:
        """The annotations of a picture (of one class, if given) that are no crowds and not broken, in the order of their ids: the class,
        and where the object is.
        """
        arrays = self.arrays
        first, end = self._span(picture)
        classes = arrays["category"][first:end]
        usable = ~(arrays["crowd"][first:end] | arrays["broken"][first:end])
        for place in np.flatnonzero(usable if category is None else usable & (classes == category)):
            yield int(classes[place]), self._shape(first + int(place), picture)

    def categories(self, picture: int) -> set[int]:
        """The classes that a picture shows, also in crowds and in annotations that cannot be read."""
        first, end = self._span(picture)
        return set(self.arrays["category"][first:end].tolist())

    def is_broken(self, picture: int) -> bool:
        """Whether an annotation of a picture that is no crowd cannot be read."""
        arrays = self.arrays
        first, end = self._span(picture)
        return bool((arrays["broken"][first:end] & ~arrays["crowd"][first:end]).any())

    def _span(self, picture: int) -> tuple[int, int]:
        """The first annotation of a picture, and the first of the next one."""
        pictures = self.arrays["picture"]
        # numbers of another width would have the whole array copied to theirs
        first, end = np.searchsorted(pictures, np.array((picture, picture + 1), pictures.dtype))
        return int(first), int(end)

    def _shape(self, annotation: int, picture: int) -> Shape:
        ends = self.arrays["runs_end"]
        begin, end = ends[annotation - 1] if annotation else 0, ends[annotation]
        if end > begin:
            return RLE(self.size(picture), self.arrays["runs"][begin:end].tobytes().decode("ascii"))
        first = self.arrays["first_outline"]
        return [self._outline(number) for number in range(first[annotation], first[annotation + 1])]

    def _outline(self, number: int) -> list[float]:
        ends = self.arrays["outline_end"]
        coordinates: list[float] = self.arrays["coordinates"][ends[number - 1] if number else 0 : ends[number]].tolist()
        return coordinates


class CocoClassPictures:
    """The pictures of an instances file that are on disk. A class is asked for where no crowd of it blurs what is meant."""

    name = "coco"

    def __init__(self, annotations: AnyPath, images: AnyPath, smallest: float = SMALLEST) -> None:
        """Open it; the first time the annotations are read and their index written.

        Args:
            annotations: ``instances_train2017.json`` or another.
            images: the folder of its pictures; where they lie elsewhere, as below ``images/``, they are found by `SplitFiles`.
            smallest: part of a picture's area that the instances of a class must cover together.

        Raises:
            DataError: the annotations are not COCO's, or none of their pictures is in the folder.
        """
        annotations, images = Path(annotations), Path(images)
        self.root, self.index = images.parent, CocoIndex(annotations)
        arrays, names = self.index.arrays, self.index.names
        files = SplitFiles(self.root, images.name)
        found = [files.find(name) for name in names]
        self.pictures = np.flatnonzero([file is not None for file in found])
        self.files = np.array([file.encode() for file in found if file])
        if not len(self.pictures):
            expected = ", ".join(names[:2])
            raise DataError("none of the annotated pictures is there", images, expected=expected, fix="check --data")
        self._members = self._classes(arrays, smallest)
        self.categories: Mapping[int, str] = {category.id: category.name for category in BY_ID.values()}

    def _classes(self, arrays: Mapping[str, NDArray[Any]], smallest: float) -> dict[int, list[int]]:
        """Class to numbers of pictures that hold enough of it, and neither a crowd of it nor an annotation that cannot be read."""
        place = np.full(len(arrays["names"]), -1)
        place[self.pictures] = np.arange(len(self.pictures))
        pairs = arrays["picture"].astype(np.int64) * 128 + arrays["category"]
        keys, inverse = np.unique(pairs, return_inverse=True)
        covered = np.bincount(inverse, arrays["area"], len(keys))
        blurred = np.bincount(inverse, arrays["crowd"] | arrays["broken"], len(keys)) > 0
        picture, category = keys // 128, keys % 128
        sizes = arrays["heights"][picture].astype(np.float64) * arrays["widths"][picture]
        good = (covered >= smallest * sizes) & ~blurred & (place[picture] >= 0)
        return {int(id_): place[picture[good & (category == id_)]].tolist() for id_ in np.unique(category[good])}

    @property
    def faults(self) -> tuple[Finding, ...]:
        """What is left out of the annotations, each with its reason."""
        return self.index.faults

    def __len__(self) -> int:
        return len(self.pictures)

    def members(self, category: int) -> Sequence[int]:
        """See `ClassPictures`."""
        return self._members.get(category, [])

    def showing(self, category: int) -> Sequence[int]:
        """See `ClassPictures`; a crowd shows its class, too, and so does an annotation that cannot be read."""
        arrays = self.index.arrays
        return np.flatnonzero(np.isin(self.pictures, arrays["picture"][arrays["category"] == category])).tolist()

    def image(self, picture: int) -> Image:
        """See `ClassPictures`."""
        size = self.index.size(int(self.pictures[picture]))
        return read_image_of_size(self.root / str(self.files[picture], "utf-8"), size)

    def mask(self, picture: int, category: int) -> Mask:
        """See `ClassPictures`."""
        wanted = int(self.pictures[picture])
        return mask_of_shapes((shape for _, shape in self.index.shapes(wanted, category)), self.index.size(wanted))


def _kept(folder: Path) -> _Found:
    path = folder / FAULTS
    faults = tuple(Finding(**fault) for fault in parse_json(path.read_bytes(), path))
    return _Found({name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in ARRAYS}, faults)


def _index(annotations: Path) -> tuple[Path | None, _Found | None]:
    """The folder of the arrays, made if it is not there; or what is in the annotations, where nothing can be kept."""
    stat = annotations.stat()
    kept_in = cached_folder("coco", annotations, (stat.st_size, stat.st_mtime_ns))
    folder = kept_in and kept_in / _FORM
    if folder and folder.is_dir():
        return folder, None
    found = _read(annotations)
    if folder is None:
        return None, found
    try:
        with atomic_folder(folder) as part:
            for name, values in found.arrays.items():
                np.save(part / f"{name}.npy", values)
            (part / FAULTS).write_text(to_json([fault.as_dict() for fault in found.faults]))
    except (UserInputError, OSError) as error:
        if not folder.is_dir():  # else somebody else was faster, and has the same
            tell_nothing_kept(folder.parent, getattr(error, "found", "") or str(error))
            return None, found
    return folder, None


def _read(annotations: Path) -> _Found:
    """The arrays, and what is left out; annotations stand in the order of their pictures, the outlines of each one after the other."""
    found = read_instances(annotations, ("images", "annotations"))
    place = {picture.id: number for number, picture in enumerate(found.pictures)}
    writer = _Shapes()
    areas, broken, faults = array("f"), bytearray(), list(found.faults)
    for annotation in found.annotations:
        size = found.pictures[place[annotation.image_id]].size
        shape, area, fault = _seen(annotation, size)
        writer.add(shape)
        areas.append(area)
        broken.append(fault is not None)
        if fault is not None:
            faults.append(unreadable_segmentation(annotations, annotation, fault))
    columns = {
        "heights": np.array([picture.height for picture in found.pictures], np.int32),
        "widths": np.array([picture.width for picture in found.pictures], np.int32),
        "names": np.array([picture.name.encode() for picture in found.pictures]),
        "picture": np.array([place[annotation.image_id] for annotation in found.annotations], np.int32),
        "category": np.array([annotation.category_id for annotation in found.annotations], np.int16),
        "area": np.array(areas, np.float32),
        "crowd": np.array([bool(annotation.iscrowd) for annotation in found.annotations], np.bool_),
        "broken": np.array(broken, np.bool_),
    }
    return _Found(columns | writer.arrays(), tuple(faults))


def _seen(annotation: Annotation, size: Size) -> tuple[Shape, float, str | None]:
    """Where an annotation's object is, its area, and why nobody can say so; where a crowd is is not kept."""
    try:
        shape = [] if annotation.iscrowd else annotation.shape(size)
        return shape, annotation.covered(size), None
    except ValueError as error:
        return [], 0.0, str(error)


class _Shapes:
    """Where objects are, annotation by annotation: all outlines one after the other, all run lengths too, and where each begins."""

    def __init__(self) -> None:
        self._counts, self._lengths, self._flat = array("q"), array("q"), array("d")
        self._runs, self._ends = bytearray(), array("q")

    def add(self, shape: Shape) -> None:
        """The next annotation's; nothing of a crowd."""
        if isinstance(shape, RLE):
            self._runs += shape.counts.encode("ascii")
            self._counts.append(0)
        else:
            self._counts.append(len(shape))
            for outline in shape:
                self._lengths.append(len(outline))
                self._flat.extend(outline)
        self._ends.append(len(self._runs))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All of them."""
        return {
            "first_outline": np.concatenate([[0], np.cumsum(self._counts, dtype=np.int64)]).astype(np.int64),
            "outline_end": np.cumsum(self._lengths, dtype=np.int64),
            "coordinates": np.array(self._flat, np.float64),
            "runs_end": np.array(self._ends, np.int64),
            "runs": np.frombuffer(bytes(self._runs), np.uint8),
        }
