"""Masks and images between files, arrays and COCO run lengths."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from io import BytesIO
from math import isfinite
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import UnidentifiedImageError
from pycocotools import mask as coco_mask

from icvos.errors import DataError
from icvos.files import AnyPath, beginning, kind_of, no_such_file, read_data
from icvos.png import PngError, decode_png, without_chunks
from icvos.types import RLE, Encoding, Frame, Image, Mask, Size, Tube

Shape: TypeAlias = "list[list[float]] | RLE"  # where an object is: outlines x, y, x, y, ..., or run lengths
_FEW_OBJECTS = 16  # up to here comparing with each is faster than looking every pixel up in a table
_ORIENTATION = 0x0112  # EXIF's tag of how a picture is to be turned
_FIRST_ON_ITS_SIDE = 5  # of its values; below it width and height stay
_START_OF_SCAN = 0xDA  # JPEG's marker before the pixels


def read_image(path: AnyPath, sha256: str = "", at_least: Size | None = None) -> Image:
    """The picture at `path`, (H, W, 3) RGB uint8: the one way in which pictures on disk are read.

    Pixels are as they are stored, in which masks are made: an EXIF tag that asks viewers to turn the picture turns nothing.
    What it is, is told by its content, whatever its name. Where a smaller size is enough, `at_least` lets a JPEG be decoded at a
    half, a quarter or an eighth that is no smaller.

    Raises:
        DataError: no such file, it is not a picture, or its sha256 is another one.
    """
    path = Path(path)
    return decode_image(read_data(path, sha256), path, at_least)


def decode_image(data: bytes, where: object, at_least: Size | None = None) -> Image:
    """The picture in these bytes, read as `read_image` reads a file; `where` is what an error calls it.

    Raises:
        DataError: they are not a picture.
    """
    try:
        with PillowImage.open(BytesIO(data)) as picture:
            if at_least:
                picture.draft("RGB", (at_least[1], at_least[0]))
            return np.asarray(picture if picture.mode == "RGB" else picture.convert("RGB"))  # `convert` always copies
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise _no_picture(where, error, data) from error


def read_image_of_size(path: AnyPath, size: Size) -> Image:
    """As `read_image`, where a mask of this size belongs to the picture.

    Raises:
        DataError: see `read_image`; or the picture has another size.
    """
    path = Path(path)
    image = read_image(path)
    if (found := (image.shape[0], image.shape[1])) != size:
        fix = turned_fix(path, size) or "fetch both again"
        raise DataError("a picture of another size than its mask", path, size_text(found), size_text(size), fix)
    return image


def image_size(path: AnyPath) -> Size:
    """Height and width of the picture at `path` as it is stored, from its header alone.

    Raises:
        DataError: no such file, or it is not a picture.
    """
    path = Path(path)
    try:
        with PillowImage.open(path) as picture:
            return picture.height, picture.width
    except FileNotFoundError as error:
        raise no_such_file(path) from error
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise _no_picture(path, error, beginning(path)) from error


def turned_fix(picture: Path, wanted: Size) -> str:
    """What to do where a mask of the size `wanted` fits a picture only as viewers show it, turned; empty where that is not so."""
    try:
        turned = image_size(picture) == wanted[::-1] and _orientation(picture.read_bytes()) >= _FIRST_ON_ITS_SIDE
    except (DataError, OSError):
        return ""
    if not turned:
        return ""
    return (
        "the mask fits the picture as viewers turn it by its EXIF tag, and pixels are taken as they are stored: "
        "make the mask on the stored pixels, or store the picture turned and without the tag (Pillow's ImageOps.exif_transpose)"
    )


def _orientation(data: bytes) -> int:
    """How a picture's tag (EXIF or XMP) asks viewers to turn it: 1 not at all, 2 to 4 in place, 5 to 8 on its side."""
    try:
        with PillowImage.open(BytesIO(data)) as picture:
            return int(picture.getexif().get(_ORIENTATION, 1))
    except Exception:  # no picture, or whatever Pillow makes of a tag that nobody can read
        return 1


def without_turn(data: bytes) -> bytes:
    """A picture's bytes, whose stored pixels every program shows alike: those of a picture with a tag that turns it lose the tag.

    The pixels are not coded anew. Bytes of a picture without such a tag, and of what is neither JPEG nor PNG, stay as they are.
    """
    if _orientation(data) == 1:
        return data
    if data.startswith(b"\xff\xd8"):
        return _without_segments(data, 0xE1)  # EXIF and XMP
    with suppress(PngError):  # a damaged one is left to whoever reads it
        return without_chunks(data, (b"eXIf", b"iTXt", b"zTXt", b"tEXt"))
    return data


def _without_segments(jpeg: bytes, marker: int) -> bytes:
    """A JPEG without its segments of this marker; the pixels begin behind the last segment."""
    kept, place = [jpeg[:2]], 2
    while place + 4 <= len(jpeg) and jpeg[place] == 0xFF and jpeg[place + 1] != _START_OF_SCAN:
        end = place + 1 if jpeg[place + 1] == 0xFF else place + 2 + int.from_bytes(jpeg[place + 2 : place + 4], "big")
        kept.append(b"" if jpeg[place + 1] == marker else jpeg[place:end])
        place = end
    return b"".join([*kept, jpeg[place:]])


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
    kind = error.kind if path and path.suffix.lower() == ".png" else ""
    found = f"{kind} called {path.suffix}" if kind and path else str(error)
    fix = "write it again as a PNG of ids: a JPEG does not keep values" if kind == "a JPEG" else "fetch it again"
    return DataError("cannot read the mask", path, found, "a one-channel PNG", fix)


def _no_picture(where: object, error: Exception, data: bytes) -> DataError:
    """The error for what is not a whole picture: what it is, as far as its beginning tells."""
    told = isinstance(error, UnidentifiedImageError)  # Pillow's own words name an object in memory
    found = (kind_of(data) or f"no picture (starts with {data[:8]!r})") if told else str(error)
    return DataError("cannot read the image", where, found, "a whole JPEG or PNG", "fetch it again")


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
        raise wrong_size(frame, (ids.shape[0], ids.shape[1]), clip.size)
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


def wrong_size(frame: Frame, found: Size, expected: Size) -> DataError:
    """The error for a frame's annotation that does not fit its clip."""
    fix = turned_fix(frame.image, found) or "fetch it again"
    return DataError("mask of another size than its clip", frame.mask, size_text(found), size_text(expected), fix)


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
    return union_of_shapes((checked_segmentation(segmentation, size) for segmentation in segmentations), size)


def union_of_shapes(shapes: Iterable[Shape], size: Size) -> RLE:
    """The union of shapes, as `checked_segmentation` gives them, in an image of `size`; the pixels are those that pycocotools fills."""
    parts = _filled(shapes, size)
    return RLE(size, coco_mask.merge(parts)["counts"].decode("ascii")) if parts else encode_rle(np.zeros(size, np.bool_))


def mask_of_shapes(shapes: Iterable[Shape], size: Size) -> Mask:
    """The pixels of `union_of_shapes`, (H, W) bool."""
    parts = _filled(shapes, size)
    if not parts:
        return np.zeros(size, np.bool_)
    mask: Mask = coco_mask.decode(coco_mask.merge(parts)).view(np.bool_)  # 0 and 1, column by column: no copy
    return mask


def _filled(shapes: Iterable[Shape], size: Size) -> list[Any]:
    """Shapes as pycocotools' own run lengths, outline by outline."""
    parts: list[Any] = []
    for shape in shapes:
        if isinstance(shape, RLE):
            parts.append({"size": list(size), "counts": shape.counts.encode("ascii")})
        elif shape:
            parts.extend(coco_mask.frPyObjects(shape, *size))
    return parts


def checked_segmentation(segmentation: Any, size: Size) -> Shape:
    """One COCO `segmentation` entry, checked, since pycocotools itself believes everything.

    Args:
        segmentation: as JSON gives it: polygons [x, y, x, y, ...], or run lengths with `size` and `counts` (a list of numbers or the
            compressed text).
        size: of the picture, height and width.

    Returns:
        The polygons as they are, or the run lengths in the compressed form.

    Raises:
        ValueError: it is neither a list of polygons nor run lengths of the picture's size.
    """
    if isinstance(segmentation, list):
        for polygon in segmentation:
            if not isinstance(polygon, list) or not set(map(type, polygon)) <= {int, float}:
                raise ValueError("a polygon that is not a list of numbers x, y, x, y, ...")
        return checked_polygons(segmentation, size)
    if not isinstance(segmentation, dict):
        raise ValueError(f"a segmentation of type {type(segmentation).__name__}")
    counts, own_size = segmentation.get("counts"), segmentation.get("size")
    if own_size != list(size):
        raise ValueError(f"run lengths of size {own_size} in an image of {size_text(size)}")
    if isinstance(counts, list):
        if not all(type(run) is int and run >= 0 for run in counts) or sum(counts) != size[0] * size[1]:
            raise ValueError(f"run lengths that do not fill {size_text(size)}")
        return RLE(size, coco_mask.frPyObjects(segmentation, *size)["counts"].decode("ascii"))
    if not isinstance(counts, str):
        raise ValueError(f"run lengths of type {type(counts).__name__}")
    if not counts.isascii():
        raise ValueError("letters in run lengths that are none of COCO's")
    check_rle(RLE(size, counts))
    return RLE(size, counts)


def checked_polygons(polygons: list[list[float]], size: Size) -> list[list[float]]:
    """Outlines [x, y, x, y, ...] of an object in a picture of `size`, as they are.

    Raises:
        ValueError: one has fewer than three points, half a point, or a point that is no number or far outside the picture.
    """
    reach = 2 * max(size)  # annotators overshoot an edge by a little; far points would cost memory without limit
    for polygon in polygons:
        if len(polygon) < 6 or len(polygon) % 2:
            raise ValueError("a polygon that is not a list of three or more pairs x, y")
        if not (-reach <= min(polygon) and max(polygon) <= reach and isfinite(sum(polygon))):  # NaN hides from min and max
            raise ValueError(f"a polygon with a point that is far outside {size_text(size)} or is no number")
    return polygons


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
