"""How large each object is on each frame: all that the rules must know of a clip's masks. Each mask is read once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from icvos.errors import DataError
from icvos.files import map_files
from icvos.masks import read_ids
from icvos.types import Clip, Encoding, Frame

VOID = 255


@dataclass(frozen=True, slots=True)
class Areas:
    """The objects of a clip, frame by frame.

    `frames` holds one entry a frame: {object id: pixels, at least one}; None where the frame has no mask, or none that can be
    read: what cannot be read is told when the release is frozen, all of it at once, and until then speaks against nobody.
    """

    clip: Clip
    frames: tuple[Mapping[int, int] | None, ...]

    @property
    def objects(self) -> tuple[int, ...]:
        """Every object that is anywhere, sorted."""
        return tuple(sorted({number for frame in self.frames for number in frame or ()}))

    def first_share(self, objects: Sequence[int]) -> float | None:
        """The part of the first frame that these objects cover, in [0, 1]; None where nobody knows."""
        first = self.frames[0]
        height, width = self.clip.size
        return None if first is None else sum(first.get(number, 0) for number in objects) / (height * width)

    def length(self, objects: Sequence[int]) -> int:
        """On how many annotated frames one of these objects is to be seen."""
        pairs = zip(self.clip.frames, self.frames, strict=True)
        return sum(frame.mask is not None and (areas is None or any(number in areas for number in objects)) for frame, areas in pairs)

    def first_seen(self, number: int) -> str | None:
        """The id of the first frame on which an object is; None where it never is."""
        pairs = zip(self.clip.frames, self.frames, strict=True)
        return next((frame.id for frame, areas in pairs if areas and number in areas), None)


def object_areas(clip: Clip) -> Areas:
    """Read every mask of a clip, on all cores."""
    return Areas(clip, tuple(map_files(lambda frame: _areas_on(frame, clip.encoding), clip.frames)))


def _areas_on(frame: Frame, encoding: Encoding) -> dict[int, int] | None:
    if frame.mask is None:
        return None
    try:
        ids = read_ids(frame.mask)
    except DataError:
        return None
    counts = np.bincount(ids.reshape(-1), minlength=256)
    if encoding == "binary":
        pixels = int(counts[1] + counts[VOID])
        return {1: pixels} if pixels else {}
    return {int(number): int(counts[number]) for number in np.flatnonzero(counts) if number not in (0, VOID)}
