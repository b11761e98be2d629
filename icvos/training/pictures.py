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
from icvos.types import Image, Mask

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

    def read(self) -> tuple[Image, list[Mask]]:
        """The picture, (H, W, 3) RGB, and the masks of its objects, each (H, W) bool; at most 384 pixels a side.

        Raises:
            DataError: a file cannot be read.
        """
        image = cv2.imread(str(self.image), cv2.IMREAD_COLOR)
        if image is None:
            raise DataError("cannot read the picture", self.image, fix="fetch the file again")
        masks = self._class_masks() if self.class_mask else [_coco_mask(item, image.shape[:2]) for item in self.annotations]
        scale = min(1.0, LONGEST_SIDE / max(image.shape[:2]))
        if scale < 1:
            size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
            masks = [cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_AREA) > 0 for mask in masks]
        return np.ascontiguousarray(image[..., ::-1]), [mask for mask in masks if mask.mean() >= SMALLEST_OBJECT]

    def _class_masks(self) -> list[Mask]:
        """Each class of the mask file, and each of its large connected parts where it has several."""
        from PIL import Image as PilImage

        if self.class_mask is None:
            return []
        values = np.asarray(PilImage.open(self.class_mask))
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
    polygons = [np.round(np.reshape(outline, (-1, 2))).astype(np.int32) for outline in annotation["segmentation"]]
    canvas = np.zeros(tuple(size), np.uint8)
    cv2.fillPoly(canvas, polygons, 1)
    return canvas > 0


def voc_pictures(root: AnyPath) -> list[Picture]:
    """The pictures of a VOC tree (`JPEGImages`, `SegmentationClass`), sorted by name.

    Raises:
        DataError: there is none.
    """
    root = Path(root)
    masks = sorted((root / "SegmentationClass").glob("*.png"))
    pictures = [Picture(mask.stem, root / "JPEGImages" / f"{mask.stem}.jpg", mask) for mask in masks]
    if not pictures:
        raise DataError("no VOC pictures", root, expected="JPEGImages/ and SegmentationClass/", fix="check the path")
    return pictures


def coco_pictures(annotations: AnyPath, images: AnyPath) -> list[Picture]:
    """The pictures of a COCO instances file whose images are on disk, with their outlined (not crowd) objects.

    Raises:
        DataError: the file is not COCO's, or no image of it is on disk.
    """
    annotations = Path(annotations)
    images = Path(images)
    content = read_json(annotations)
    outlined: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for item in content["annotations"]:
        if not item.get("iscrowd") and isinstance(item["segmentation"], list):
            outlined[item["image_id"]].append(item)
    pictures = [
        Picture(f"coco-{item['id']}", images / item["file_name"], annotations=tuple(outlined[item["id"]]))
        for item in sorted(content["images"], key=lambda item: int(item["id"]))
        if outlined[item["id"]] and (images / item["file_name"]).is_file()
    ]
    if not pictures:
        raise DataError("no COCO pictures", annotations, expected=f"images in {images}", fix="check both paths")
    return pictures


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
