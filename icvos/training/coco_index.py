"""COCO's instances as arrays on disk: the JSON is parsed once, and every process maps the same pages afterwards."""

from __future__ import annotations

import os
import shutil
import tempfile
from array import array
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from icvos.cache import cached_folder
from icvos.categories import BY_ID
from icvos.errors import DataError
from icvos.files import AnyPath, read_data
from icvos.training.class_pictures import SMALLEST, read_picture
from icvos.types import Image, Mask, Size

ARRAYS = ("heights", "widths", "names", "picture", "category", "area", "crowd", "first_outline", "outline_end", "coordinates")


class CocoIndex:
    """An instances file as arrays: ``heights``, ``widths``, ``names`` by picture, and where each picture's outlines are."""

    def __init__(self, annotations: AnyPath) -> None:
        """Open it; the first time the annotations are read and their index written.

        Raises:
            DataError: the annotations are not COCO's.
        """
        annotations = Path(annotations)
        self.folder = _index(annotations)

    def __getstate__(self) -> dict[str, Any]:
        """Without the arrays: whoever unpickles it maps them again."""
        return {"folder": self.folder}

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """All of them, mapped."""
        if "_mapped" not in self.__dict__:
            self._mapped = {name: np.load(self.folder / f"{name}.npy", mmap_mode="r") for name in ARRAYS}
        return self._mapped

    def size(self, picture: int) -> Size:
        """Height and width of a picture."""
        return int(self.arrays["heights"][picture]), int(self.arrays["widths"][picture])

    def outlines(self, picture: int) -> Iterator[tuple[int, list[list[float]]]]:
        """The annotations of a picture that are no crowds, in the order of their ids: the class, and polygons x, y, x, y, ..."""
        arrays = self.arrays
        first, end = np.searchsorted(arrays["picture"], (picture, picture + 1))
        for annotation in range(first, end):
            if not arrays["crowd"][annotation]:
                numbers = range(arrays["first_outline"][annotation], arrays["first_outline"][annotation + 1])
                yield int(arrays["category"][annotation]), [self._outline(number) for number in numbers]

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
            images: the folder of its pictures.
            smallest: part of a picture's area that the instances of a class must cover together.

        Raises:
            DataError: the annotations are not COCO's, or none of their pictures is in the folder.
        """
        annotations = Path(annotations)
        images = Path(images)
        self.images, self.index = images, CocoIndex(annotations)
        arrays = self.index.arrays
        there = {entry.name for entry in os.scandir(images)} if images.is_dir() else set()
        self.pictures = np.flatnonzero([name in there for name in arrays["names"].astype(str).tolist()])
        if not len(self.pictures):
            expected = ", ".join(arrays["names"][:2].astype(str))
            raise DataError("none of the annotated pictures is there", images, expected=expected, fix="check --data")
        self._members = self._classes(arrays, smallest)
        self.categories: Mapping[int, str] = {category.id: category.name for category in BY_ID.values()}

    def _classes(self, arrays: Mapping[str, NDArray[Any]], smallest: float) -> dict[int, list[int]]:
        """Class to numbers of pictures that hold enough of it and no crowd of it."""
        place = np.full(len(arrays["names"]), -1)
        place[self.pictures] = np.arange(len(self.pictures))
        pairs = arrays["picture"].astype(np.int64) * 128 + arrays["category"]
        keys, inverse = np.unique(pairs, return_inverse=True)
        covered = np.bincount(inverse, arrays["area"], len(keys))
        crowded = np.bincount(inverse, arrays["crowd"], len(keys)) > 0
        picture, category = keys // 128, keys % 128
        sizes = arrays["heights"][picture].astype(np.float64) * arrays["widths"][picture]
        good = (covered >= smallest * sizes) & ~crowded & (place[picture] >= 0)
        return {int(id_): place[picture[good & (category == id_)]].tolist() for id_ in np.unique(category[good])}

    def __len__(self) -> int:
        return len(self.pictures)

    def members(self, category: int) -> Sequence[int]:
        """See `ClassPictures`."""
        return self._members.get(category, [])

    def showing(self, category: int) -> Sequence[int]:
        """See `ClassPictures`; a crowd shows its class, too."""
        arrays = self.index.arrays
        return np.flatnonzero(np.isin(self.pictures, arrays["picture"][arrays["category"] == category])).tolist()

    def image(self, picture: int) -> Image:
        """See `ClassPictures`."""
        return read_picture(self.images / str(self.index.arrays["names"][self.pictures[picture]], "ascii"))

    def mask(self, picture: int, category: int) -> Mask:
        """See `ClassPictures`."""
        wanted = int(self.pictures[picture])
        size = self.index.size(wanted)
        outlines = [outline for own, parts in self.index.outlines(wanted) if own == category for outline in parts]
        if not outlines:
            return np.zeros(size, np.bool_)
        mask: Mask = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(outlines, *size))) > 0
        return mask


def _index(annotations: Path) -> Path:
    """The folder of the arrays, made if it is not there."""
    stat = annotations.stat()
    folder = cached_folder("coco", annotations, (stat.st_size, stat.st_mtime_ns)) / "index"
    if not folder.is_dir():
        arrays = _read(annotations)
        part = Path(tempfile.mkdtemp(dir=folder.parent))
        for name, values in arrays.items():
            np.save(part / f"{name}.npy", values)
        try:
            part.rename(folder)
        except OSError:  # somebody else was faster, and has the same
            shutil.rmtree(part)
    return folder


class _Picture(msgspec.Struct, gc=False):
    id: int
    height: int
    width: int
    file_name: str


class _Annotation(msgspec.Struct, gc=False):
    id: int
    image_id: int
    category_id: int
    area: float
    segmentation: msgspec.Raw  # left as it is written: all outlines of COCO as Python's numbers would take gigabytes
    iscrowd: int = 0


class _Instances(msgspec.Struct):
    images: list[_Picture]
    annotations: list[_Annotation]


def _read(annotations: Path) -> dict[str, NDArray[Any]]:
    """The arrays; annotations stand in the order of their pictures, the outlines of each one after the other."""
    data = read_data(annotations)
    try:
        found = msgspec.json.decode(data, type=_Instances)
        unknown = sorted({item.category_id for item in found.annotations} - set(BY_ID))
        if unknown:
            raise ValueError(f"category_id {unknown[0]} is none of COCO's {len(BY_ID)}")
        images = sorted(found.images, key=lambda image: image.id)
        place = {image.id: number for number, image in enumerate(images)}
        ordered = sorted(found.annotations, key=lambda item: (place[item.image_id], item.id))
        columns = {
            "heights": np.array([image.height for image in images], np.int32),
            "widths": np.array([image.width for image in images], np.int32),
            "names": np.array([image.file_name.encode("ascii") for image in images]),
            "picture": np.array([place[item.image_id] for item in ordered], np.int32),
            "category": np.array([item.category_id for item in ordered], np.int16),
            "area": np.array([item.area for item in ordered], np.float32),
            # what is no polygon is taken for a crowd: its outline is not kept
            "crowd": np.array([bool(item.iscrowd) or not _is_polygons(item.segmentation) for item in ordered]),
        }
        return columns | _outlines([item.segmentation for item in ordered])
    except (msgspec.MsgspecError, KeyError, ValueError, OverflowError) as error:
        said = f"{type(error).__name__}: {error}"
        raise DataError("not COCO instance annotations", annotations, said, "images, annotations", "fetch the file again") from error


def _is_polygons(segmentation: msgspec.Raw) -> bool:
    return bytes(memoryview(segmentation)[:1]) == b"["


def _outlines(segmentations: Sequence[msgspec.Raw]) -> dict[str, NDArray[Any]]:
    """All outlines one after the other, and where each and each annotation's begin."""
    read = msgspec.json.Decoder(list[list[float]]).decode
    counts, lengths, flat = array("q"), array("q"), array("d")
    for segmentation in segmentations:
        outlines = read(segmentation) if _is_polygons(segmentation) else []
        counts.append(len(outlines))
        for outline in outlines:
            lengths.append(len(outline))
            flat.extend(outline)
    return {
        "first_outline": np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64),
        "outline_end": np.cumsum(lengths, dtype=np.int64),
        "coordinates": np.frombuffer(flat, np.float64) if flat else np.zeros(0),
    }
