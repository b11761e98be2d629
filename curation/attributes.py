"""What the masks of a tube say of it: how large it is, how many objects it has, and whether they leave and come back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from icvos.masks import read_ids, wrong_size
from icvos.types import Frame, Size, Tube

# Of the frame. A tube's own size is the mean over the frames on which it is there.
SMALL, LARGE = 0.01, 0.1


@dataclass(frozen=True, slots=True)
class Attributes:
    """One tube, measured on its annotated frames. Areas are parts of the frame, in [0, 1].

    Where the source stores one merged mask, its objects cannot be told apart and what is said of them is None.
    """

    presence: float  # part of the annotated frames on which the class is there
    first_area: float  # on the first annotated frame
    mean_area: float  # over the frames on which it is there; 0 for a tube that never is
    largest_area: float
    returns: int  # how often the class, once seen, is gone and comes back
    longest_absence: int  # annotated frames in a row without it, before it is seen again
    most_objects: int | None  # on one frame
    returning_objects: int | None  # single objects that leave and come back
    late_objects: int | None  # objects that are not there on the first annotated frame, but later
    stay: str  # always there | leaves and comes back | leaves for good | comes late | never there
    size: str  # small | medium | large


def measure(tubes: Sequence[Tube]) -> tuple[Attributes, ...]:
    """The attributes of the tubes of one clip; a mask file that several share is read and inflated once.

    Raises:
        DataError: a mask cannot be read, is not the one that the release names, or has another size than its clip.
    """
    areas: list[list[list[int]]] = [[] for _ in tubes]
    for place in range(len(tubes[0].clip.frames)):
        read: dict[Path, NDArray[np.uint8]] = {}
        for tube, rows in zip(tubes, areas, strict=True):
            frame = tube.clip.frames[place]
            if frame.mask is None:
                continue
            if frame.mask not in read:
                read[frame.mask] = _ids(frame, frame.mask, tube.clip.size)
            rows.append(object_areas(read[frame.mask], tube))
    return tuple(
        attributes(np.array(rows, np.int64).reshape(len(rows), -1), tube.clip.size, merged=tube.clip.encoding == "binary")
        for tube, rows in zip(tubes, areas, strict=True)
    )


def _ids(frame: Frame, mask: Path, size: Size) -> NDArray[np.uint8]:
    ids = read_ids(mask, frame.mask_sha256)
    if (found := (ids.shape[0], ids.shape[1])) != size:
        raise wrong_size(frame, found, size)
    return ids


def object_areas(ids: NDArray[np.uint8], tube: Tube) -> list[int]:
    """The pixels of each object of the tube in the values of an annotation file, (H, W); one number where they are merged."""
    if tube.clip.encoding == "binary":
        return [int(np.count_nonzero(ids == 1) + np.count_nonzero(ids == 255))]
    return [int(np.count_nonzero(ids == number)) for number in tube.instances]


def attributes(areas: NDArray[np.int64], size: Size, *, merged: bool = False) -> Attributes:
    """The attributes of one tube from the areas of its objects.

    Args:
        areas: pixels of each object on each annotated frame, (T, K), in order.
        size: of the frame.
        merged: the one column is of several objects, which cannot be told apart.
    """
    parts = areas.sum(axis=1) / (size[0] * size[1])
    there = parts > 0
    single = [_absences(column > 0) for column in areas.T]
    absences = _absences(there)
    mean = float(parts[there].mean()) if there.any() else 0.0
    return Attributes(
        presence=float(there.mean()) if len(there) else 0.0,
        first_area=float(parts[0]) if len(parts) else 0.0,
        mean_area=mean,
        largest_area=float(parts.max(initial=0.0)),
        returns=len(absences),
        longest_absence=max(absences, default=0),
        most_objects=None if merged else int((areas > 0).sum(axis=1).max(initial=0)),
        returning_objects=None if merged else sum(1 for found in single if found),
        late_objects=None if merged else int((~(areas[:1] > 0).any(axis=0) & (areas > 0).any(axis=0)).sum()),
        stay=_stay(there, len(absences)),
        size="small" if mean < SMALL else "large" if mean > LARGE else "medium",
    )


def _absences(there: NDArray[np.bool_]) -> list[int]:
    """The lengths of the gaps between the first and the last frame on which something is there."""
    seen = np.flatnonzero(there)
    gaps = np.diff(seen) - 1
    found: list[int] = gaps[gaps > 0].tolist()
    return found


def _stay(there: NDArray[np.bool_], returns: int) -> str:
    if not there.any():
        return "never there"
    if there.all():
        return "always there"
    if returns:
        return "leaves and comes back"
    return "leaves for good" if there[0] else "comes late"
