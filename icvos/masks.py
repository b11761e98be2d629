"""Masks and images between files, arrays and COCO run lengths."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import UnidentifiedImageError
from pycocotools import mask as coco_mask

from icvos.errors import DataError
from icvos.files import AnyPath, read_data
from icvos.png import PngError, decode_png
from icvos.types import RLE, Encoding, Frame, Image, Mask, Size, Tube

_FEW_OBJECTS = 16  # up to here comparing with each is faster than looking every pixel up in a table


def read_image(path: AnyPath, sha256: str = "", at_least: Size | None = None) -> Image:
    """The picture at `path`, (H, W, 3) RGB uint8; EXIF rotation is not applied, as in the data sets' own tools.

    Where a smaller size is enough, `at_least` lets a JPEG be decoded at a half, a quarter or an eighth that is no smaller.

    Raises:
        DataError: no such file, it is not a picture, or its sha256 is another one.
    """
    path = Path(path)
    data = read_data(path, sha256)
    try:
        with PillowImage.open(BytesIO(data)) as picture:
            if at_least:
                picture.draft("RGB", (at_least[1], at_least[0]))
            return np.asarray(picture if picture.mode == "RGB" else picture.convert("RGB"))  # `convert` always copies
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise _unreadable("image", path, error, "a whole JPEG or PNG") from error


def image_size(path: AnyPath) -> Size:
    """Height and width of the picture at `path`, from its header alone.

    Raises:
        DataError: no such file, or it is not a picture.
    """
    path = Path(path)
    try:
        with PillowImage.open(path) as picture:
            return picture.height, picture.width
    except FileNotFoundError as error:
        raise DataError("no such file", path, fix="check that the data set is complete") from error
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise _unreadable("image", path, error, "a whole JPEG or PNG") from error


def read_ids(path: AnyPath, sha256: str = "") -> NDArray[np.uint8]:
    """The values of an annotation PNG as they are stored (palette indices or grey levels), (H, W) uint8.

    Raises:
        DataError: no such file, it is not a one-channel PNG of at most 8 bits, or its sha256 is another one.
    """
    path = Path(path)
    data = read_data(path, sha256)
    try:
        return decode_png(data)
    except PngError as error:
        raise unreadable_mask(path, error) from error


def unreadable_mask(path: Path | None, error: PngError) -> DataError:
    """The error for an annotation file that is not a whole one-channel PNG."""
    return _unreadable("mask", path, error, "a one-channel PNG")


def _unreadable(what: str, path: Path | None, error: Exception, expected: str) -> DataError:
    return DataError(f"cannot read the {what}", path, found=str(error), expected=expected, fix="fetch it again")


def foreground_values(instances: Sequence[int], encoding: Encoding) -> NDArray[np.bool_]:
    """For each value 0..255 of an annotation file, whether it belongs to the tube; (256,) bool."""
    table = np.zeros(256, np.bool_)
    table[[1, 255] if encoding == "binary" else list(instances)] = True
    return table


def read_tube_mask(tube: Tube, frame: Frame) -> Mask | None:
    """The mask of `tube` on one of its frames, (H, W) bool; None where the frame is not annotated.

    Raises:
        DataError: the file cannot be read or has another size than the clip.
    """
    return read_tube_masks((tube,), frame)[0] if frame.mask else None


def read_tube_masks(tubes: Sequence[Tube], frame: Frame) -> list[Mask]:
    """The masks of several tubes of one clip on one of its annotated frames, each (H, W) bool; the file is read once.

    Raises:
        DataError: the file cannot be read or has another size than the clip.
    """
    if frame.mask is None:
        raise ValueError(f"frame {frame.id} is not annotated")
    ids, clip = read_ids(frame.mask, frame.mask_sha256), tubes[0].clip
    if ids.shape != clip.size:
        raise wrong_size(frame.mask, ids.shape, clip.size)
    return [union_of_objects(ids, tube.instances, clip.encoding) for tube in tubes]


def union_of_objects(ids: NDArray[np.uint8], instances: Sequence[int], encoding: Encoding) -> Mask:
    """Where the values of an annotation file, (H, W) uint8, belong to any of these objects; (H, W) bool."""
    values = (1, 255) if encoding == "binary" else tuple(instances)
    if not 0 < len(values) <= _FEW_OBJECTS:
        many: Mask = foreground_values(instances, encoding)[ids]
        return many
    mask: Mask = ids == values[0]
    for value in values[1:]:
        mask |= ids == value
    return mask


def wrong_size(path: Path, found: Sequence[int], expected: Size) -> DataError:
    """The error for an annotation that does not fit its clip."""
    return DataError("mask of another size than its clip", path, size_text(found), size_text(expected), "fetch it again")


def encode_rle(mask: Mask) -> RLE:
    """The COCO run-length form of a mask, (H, W) bool."""
    encoded = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return RLE((mask.shape[0], mask.shape[1]), encoded["counts"].decode("ascii"))


def decode_rle(rle: RLE) -> Mask:
    """The mask of a run-length form, (H, W) bool."""
    decoded = coco_mask.decode({"size": list(rle.size), "counts": rle.counts.encode("ascii")})
    mask: Mask = np.ascontiguousarray(decoded, dtype=np.bool_)
    return mask


_MOST_RUN_BITS = 30  # seven letters: more than any image has pixels, and far from where pycocotools' own numbers end


def check_rle(rle: RLE) -> None:
    """Refuse run lengths that do not fill their size: pycocotools would decode them into whatever memory holds.

    Raises:
        ValueError: the runs do not add up to the number of pixels.
    """
    total = sum(_run_lengths(rle.counts))
    if total != rle.size[0] * rle.size[1]:
        raise ValueError(f"run lengths of {total} pixels for a mask of {size_text(rle.size)}")


def _run_lengths(counts: str) -> list[int]:
    """COCO's compressed counts as numbers: five bits a letter, low ones first, each from the third on less the one two before."""
    runs: list[int] = []
    value = shift = 0
    for letter in counts.encode("ascii"):
        bits = letter - 48
        if not 0 <= bits < 64:
            raise ValueError(f"{chr(letter)!r} in run lengths")
        if shift > _MOST_RUN_BITS:
            raise ValueError("a run length without end")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= (bits & 16) and 1 << shift  # the sign is the last letter's highest bit
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    if shift or any(run < 0 for run in runs):
        raise ValueError("run lengths that break off or are negative")
    return runs


def union_of_segmentations(segmentations: Iterable[Any], size: Size) -> RLE:
    """The union of COCO `segmentation` entries (polygons or run lengths) in an image of `size`.

    Raises:
        ValueError: an entry is neither a list of polygons nor a run-length dictionary of the image's size.
    """
    parts = [part for segmentation in segmentations for part in _run_length_parts(segmentation, size)]
    if not parts:
        return encode_rle(np.zeros(size, np.bool_))
    return RLE(size, coco_mask.merge(parts)["counts"].decode("ascii"))


def _run_length_parts(segmentation: Any, size: Size) -> list[Any]:
    """One `segmentation` entry as pycocotools' run lengths, checked first: pycocotools itself believes everything."""
    if isinstance(segmentation, list):
        for polygon in segmentation:
            _check_polygon(polygon, size)
        return list(coco_mask.frPyObjects(segmentation, *size)) if segmentation else []
    if not isinstance(segmentation, dict):
        raise ValueError(f"a segmentation of type {type(segmentation).__name__}")
    counts, own_size = segmentation.get("counts"), segmentation.get("size")
    if own_size != list(size):
        raise ValueError(f"run lengths of size {own_size} in an image of {size_text(size)}")
    if isinstance(counts, list):
        if not all(type(run) is int and run >= 0 for run in counts) or sum(counts) != size[0] * size[1]:
            raise ValueError(f"run lengths that do not fill {size_text(size)}")
        return [coco_mask.frPyObjects(segmentation, *size)]
    if not isinstance(counts, str):
        raise ValueError(f"run lengths of type {type(counts).__name__}")
    check_rle(RLE(size, counts))
    return [{"size": own_size, "counts": counts.encode("ascii")}]


def _check_polygon(polygon: Any, size: Size) -> None:
    if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
        raise ValueError("a polygon that is not a list of three or more pairs x, y")
    reach = 2 * max(size)  # annotators overshoot an edge by a little; far points would cost memory without limit
    if not all(type(value) in (int, float) and -reach <= value <= reach for value in polygon):
        raise ValueError(f"a polygon with a point that is far outside {size_text(size)} or is no number")


def rle_area(rle: RLE) -> int:
    """The number of foreground pixels."""
    return int(coco_mask.area({"size": list(rle.size), "counts": rle.counts.encode("ascii")}))


def resize_nearest(mask: Mask, size: Size) -> Mask:
    """The mask resampled to `size` by nearest neighbour: output pixel i shows input pixel floor(i * input / output)."""
    rows = np.arange(size[0]) * mask.shape[0] // size[0]
    columns = np.arange(size[1]) * mask.shape[1] // size[1]
    resized: Mask = mask[rows[:, None], columns]
    return resized


def size_text(size: Sequence[int]) -> str:
    """``height x width`` for messages."""
    return " x ".join(str(side) for side in size)
