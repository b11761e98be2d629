"""What the masks of a clip show, read once: each mask's values with their areas, kept in an index beside the user's other caches.

An entry of the index holds for a file of this path, size and time of change; any other is read again. Removing the index
costs time and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from icvos.cache import cache_folder, keep_text, usable_cache
from icvos.errors import DataError, Finding
from icvos.files import parse_json, read_data, sha256_text
from icvos.masks import size_text, turned_fix, unreadable_mask
from icvos.png import PngError, read_scanlines, values_of
from icvos.types import Clip, Frame, Size

VOID = 255
_ROOM = "scans-1"  # another number for another form of the files in it

Areas: TypeAlias = Mapping[int, int]  # object id -> its pixels, at least one, in order of the ids


@dataclass(frozen=True, slots=True)
class MaskScan:
    """One mask file: its size, the pixels of each stored value but 0, and the palette (empty where it is grey)."""

    size: Size
    values: Mapping[int, int]
    palette: bytes


@dataclass(frozen=True, slots=True)
class ClipScan:
    """What a clip's masks show: for each frame the area of each object that is there, in pixels; None where it is not annotated."""

    clip: Clip
    frames: tuple[Areas | None, ...]

    @property
    def objects(self) -> tuple[int, ...]:
        """The ids of all objects that are there on any frame, sorted."""
        return tuple(sorted({number for areas in self.frames for number in areas or ()}))

    def first_share(self, objects: Sequence[int]) -> float | None:
        """The part of the first frame that these objects cover, in [0, 1]; None where it is not annotated."""
        first = self.frames[0]
        height, width = self.clip.size
        return None if first is None else sum(first.get(number, 0) for number in objects) / (height * width)

    def length(self, objects: Sequence[int]) -> int:
        """On how many annotated frames one of these objects is to be seen."""
        return sum(any(number in areas for number in objects) for areas in self.frames if areas is not None)

    def first_seen(self, number: int) -> str | None:
        """The id of the first frame on which an object is; None where it never is."""
        pairs = zip(self.clip.frames, self.frames, strict=True)
        return next((frame.id for frame, areas in pairs if areas and number in areas), None)


def scan(clip: Clip) -> ClipScan:
    """What the masks of `clip` show, from the index as far as they have not changed since. Void (255) belongs to no object.

    In a clip of binary masks the one object is 1, whether it is stored as 1 or as 255.

    Raises:
        DataError: masks cannot be read, or have another size than the clip; its findings are all of them.
    """
    frames = [frame for frame in clip.frames if frame.mask]
    found = scan_masks([frame.mask for frame in frames if frame.mask])
    if faults := [fault for frame, mask in zip(frames, found, strict=True) if (fault := _mask_fault(frame, mask, clip.size))]:
        what = "masks that cannot be read" if all(fault.code == "unreadable" for fault in faults) else "masks that do not fit their clip"
        raise DataError(what, faults[0].where, f"{len(faults)} faults", "none", faults[0].fix, faults)
    areas = iter([_areas(mask, clip) for mask in found if isinstance(mask, MaskScan)])
    return ClipScan(clip, tuple(next(areas) if frame.mask else None for frame in clip.frames))


def unreadable(error: DataError) -> Finding:
    """A file that cannot be read, as a finding."""
    return Finding("unreadable", error.where, error.found or error.what, error.expected or "a whole file", error.fix)


def _mask_fault(frame: Frame, mask: MaskScan | DataError, size: Size) -> Finding | None:
    if isinstance(mask, DataError):
        return unreadable(mask)
    if mask.size == size:
        return None
    fix = turned_fix(frame.image, mask.size) or "fetch the sequence again"
    return Finding("size", str(frame.mask), size_text(mask.size), f"{size_text(size)}, as the frames", fix)


def _areas(mask: MaskScan, clip: Clip) -> Areas:
    if clip.encoding == "ids":
        return {value: area for value, area in mask.values.items() if value != VOID}
    area = mask.values.get(1, 0) + mask.values.get(VOID, 0)
    return {1: area} if area else {}


def scan_masks(masks: Sequence[Path]) -> list[MaskScan | DataError]:
    """What each of a clip's mask files shows, or why it cannot be read. What is read is kept in the index."""
    if not masks:
        return []
    index = _index_of(masks[0])
    known = _read_index(index)
    entries: dict[str, tuple[list[int], MaskScan]] = {}
    found: list[MaskScan | DataError] = []
    for path in masks:
        name = path.name if path.parent == masks[0].parent else str(path)
        try:
            state = _state(path)
            entries[name] = known[name] if name in known and known[name][0] == state else (state, _read(path))
            found.append(entries[name][1])
        except DataError as error:
            found.append(error)
    if entries != known:
        _write_index(index, entries)
    return found


def keeps_scans() -> bool:
    """Whether the index can be written, so that scanning ahead is of use."""
    return usable_cache(_ROOM) is not None


def areas_of_values(values: NDArray[np.uint8]) -> dict[int, int]:
    """The pixels of each value but 0 in an id mask, (H, W) uint8, by its runs: masks have few, so that most pixels are only compared."""
    flat = values.ravel()
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    lengths = np.diff(starts, append=flat.size)
    areas = np.bincount(flat[starts], weights=lengths, minlength=256)
    areas[0] = 0
    return {int(value): int(areas[value]) for value in np.flatnonzero(areas)}


def _read(path: Path) -> MaskScan:
    try:
        scanlines = read_scanlines(read_data(path))
        return MaskScan(scanlines.size, areas_of_values(values_of(scanlines)), scanlines.palette)
    except PngError as error:
        raise unreadable_mask(path, error) from error


def _state(path: Path) -> list[int]:
    try:
        stat = path.stat()
    except OSError as error:
        raise DataError("cannot read", path, found=error.strerror or "no such file", fix="check that the data set is complete") from error
    return [stat.st_size, stat.st_mtime_ns]


def _index_of(first: Path) -> Path:
    """One file a clip. Its first mask's path names it: a folder may hold the masks of several clips."""
    return cache_folder(_ROOM) / f"{sha256_text(str(first.resolve()))[:32]}.json"


def _read_index(path: Path) -> dict[str, tuple[list[int], MaskScan]]:
    try:
        content: Any = parse_json(path.read_bytes(), path)
        palettes = [bytes.fromhex(palette) for palette in content["palettes"]]
        return {
            name: (state, MaskScan((height, width), {int(value): area for value, area in values.items()}, palettes[palette]))
            for name, (state, height, width, palette, values) in content["masks"].items()
        }
    except (OSError, DataError, LookupError, TypeError, ValueError, AttributeError):  # none yet, or somebody's broken one: read anew
        return {}


def _write_index(path: Path, entries: Mapping[str, tuple[list[int], MaskScan]]) -> None:
    import json

    palettes = sorted({mask.palette for _, mask in entries.values()})
    masks = {
        name: [state, *mask.size, palettes.index(mask.palette), {str(value): area for value, area in mask.values.items()}]
        for name, (state, mask) in entries.items()
    }
    keep_text(path, json.dumps({"palettes": [palette.hex() for palette in palettes], "masks": masks}, separators=(",", ":")))
