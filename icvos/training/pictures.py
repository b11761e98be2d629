"""Photographs with object masks, read from PASCAL VOC class masks and COCO instance annotations."""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from icvos.errors import DataError
from icvos.files import AnyPath, read_json
from icvos.masks import checked_segmentation, decode_rle, read_ids, read_image, read_image_of_size
from icvos.names import MASKS, PICTURES, by_stem
from icvos.types import RLE, Image, Mask, Size

VOID = 255  # of VOC masks: belongs to no class
SMALLEST_OBJECT = 0.005  # of the picture's area: smaller ones teach little at 256 pixels
LONGEST_SIDE = 384  # pixels: larger pictures are reduced once, when they are read


@dataclass(frozen=True, slots=True)
class Picture:
    """A photograph on disk, and where its objects are said to be: a VOC mask file or COCO annotations."""

    name: str
    image: Path
    class_mask: Path | None = None
    annotations: tuple[dict[str, Any], ...] = ()
    size: Size | None = None  # as the annotations state it, where they do

    def read(self) -> tuple[Image, list[Mask]]:
        """The picture, (H, W, 3) RGB, and the masks of its objects, each (H, W) bool; at most 384 pixels a side.

        Raises:
            DataError: a file cannot be read, or picture and mask have other sizes.
        """
        values = read_ids(self.class_mask) if self.class_mask else None
        size = self.size if values is None else (values.shape[0], values.shape[1])
        image = read_image_of_size(self.image, size) if size else read_image(self.image)
        masks = _class_masks(values) if values is not None else [_coco_mask(item, image.shape[:2]) for item in self.annotations]
        scale = min(1.0, LONGEST_SIDE / max(image.shape[:2]))
        if scale < 1:
            width_height = (round(image.shape[1] * scale), round(image.shape[0] * scale))
            image = np.asarray(cv2.resize(image, width_height, interpolation=cv2.INTER_AREA), np.uint8)
            masks = [cv2.resize(mask.astype(np.uint8), width_height, interpolation=cv2.INTER_AREA) > 0 for mask in masks]
        return image, [mask for mask in masks if mask.mean() >= SMALLEST_OBJECT]


def _class_masks(values: NDArray[np.uint8]) -> list[Mask]:
    """Each class of a mask file's values, (H, W), and each of its large connected parts where it has several."""
    masks: list[Mask] = []
    for value in np.unique(values[(values != 0) & (values != VOID)]):
        mask = values == value
        masks.append(mask)
        count, labels = cv2.connectedComponents(mask.astype(np.uint8))
        parts = [labels == label for label in range(1, count)]
        large = [part for part in parts if part.mean() >= 2 * SMALLEST_OBJECT]
        masks += large if len(large) > 1 else []
    return masks


def _coco_mask(annotation: dict[str, Any], size: Sequence[int]) -> Mask:
    try:
        shape = checked_segmentation(annotation["segmentation"], (size[0], size[1]))
    except ValueError as error:
        raise DataError("a malformed segmentation", f"annotation {annotation.get('id', '?')}", str(error), fix="mend it") from error
    if isinstance(shape, RLE):
        return decode_rle(shape)
    polygons = [np.round(np.reshape(outline, (-1, 2))).astype(np.int32) for outline in shape]
    canvas = np.zeros(tuple(size), np.uint8)
    cv2.fillPoly(canvas, polygons, 1)
    return canvas > 0


def voc_pictures(root: AnyPath) -> list[Picture]:
    """The pictures of a VOC tree (`JPEGImages`, `SegmentationClass`), sorted by name.

    Raises:
        DataError: there is none.
    """
    root = Path(root)
    folder = root / "JPEGImages"
    images, masks = by_stem(folder, PICTURES), by_stem(root / "SegmentationClass", MASKS)
    pictures = [Picture(stem, images.get(stem, folder / f"{stem}.jpg"), mask) for stem, mask in masks.items()]
    if not pictures:
        raise DataError("no VOC pictures", root, expected="JPEGImages/ and SegmentationClass/", fix="check the path")
    return pictures


def coco_pictures(annotations: AnyPath, images: AnyPath) -> list[Picture]:
    """The pictures of a COCO instances file whose images are on disk, with their objects that are no crowds.

    Raises:
        DataError: the file is not COCO's, or no image of it is on disk.
    """
    annotations = Path(annotations)
    images = Path(images)
    content = read_json(annotations)
    outlined: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for item in content["annotations"]:
        if not item.get("iscrowd"):
            outlined[item["image_id"]].append(item)
    pictures = [
        Picture(f"coco-{item['id']}", images / item["file_name"], annotations=tuple(outlined[item["id"]]), size=_stated_size(item))
        for item in sorted(content["images"], key=lambda item: int(item["id"]))
        if outlined[item["id"]] and (images / item["file_name"]).is_file()
    ]
    if not pictures:
        raise DataError("no COCO pictures", annotations, expected=f"images in {images}", fix="check both paths")
    return pictures


def _stated_size(item: dict[str, Any]) -> Size | None:
    return (int(item["height"]), int(item["width"])) if "height" in item and "width" in item else None


def held_back(pictures: Sequence[Picture], one_in: int) -> tuple[list[Picture], list[Picture]]:
    """Pictures to train on, and those kept for measuring: one in so many, chosen by a hash of the name."""
    kept = [picture for picture in pictures if zlib.crc32(picture.name.encode()) % one_in == 0]
    names = {picture.name for picture in kept}
    return [picture for picture in pictures if picture.name not in names], kept


def centre_of(mask: NDArray[Any]) -> tuple[float, float]:
    """The point (x, y) in pixels that lies deepest inside a mask: its distance to the border is the largest."""
    depth = cv2.distanceTransform(np.pad(mask.astype(np.uint8), 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    return float(x), float(y)
