"""How large each object is on each frame: all that the rules must know of a clip's masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from curation.sources.scan import scan
from icvos.types import Clip


@dataclass(frozen=True, slots=True)
class Areas:
    """The objects of a clip, frame by frame.

    `frames` holds one entry a frame: {object id: pixels, at least one}; None where the frame is not annotated.
    """

    clip: Clip
    frames: tuple[Mapping[int, int] | None, ...]

    @property
    def objects(self) -> tuple[int, ...]:
        """Every object that is anywhere, sorted."""
        return tuple(sorted({number for frame in self.frames for number in frame or ()}))

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


def object_areas(clip: Clip) -> Areas:
    """What the masks of a clip show, from the index of scans as far as they have not changed since.

    Raises:
        DataError: masks cannot be read; its findings are all of them.
    """
    return Areas(clip, scan(clip).frames)
