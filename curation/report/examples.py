"""Example episodes as pictures, as in the paper's Figure 2 d: a support, the first frame and a later one, masks outlined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

import cv2
import numpy as np
from PIL import Image as PillowImage

from curation.statistics import Statistics, TubeCount, on_disk
from icvos.benchmark import SUPPORT_SOURCE, Benchmark, tube_id
from icvos.files import map_files
from icvos.masks import read_tube_mask, resize_nearest
from icvos.types import Episode, Frame, Image, Mask, Tube

MOST = 6
HEIGHT = 240  # pixels of a picture
_FILL = np.array([255, 140, 0])
_GAP = 6
_QUALITY = 85


@dataclass(frozen=True, slots=True)
class Picture:
    """A small picture, (HEIGHT, W, 3), and what it shows."""

    caption: str
    pixels: Image

    def jpeg(self) -> bytes:
        """The picture as a file."""
        return _jpeg(self.pixels)


@dataclass(frozen=True, slots=True)
class Example:
    """One episode: its id, its class, and the pictures of support, first frame and a later one."""

    episode: str
    category: str
    pictures: tuple[Picture, ...]


def examples(statistics: Statistics, benchmark: Benchmark, most: int = MOST) -> tuple[Example, ...]:
    """One episode of each of the classes with the most frames: of the tube that is there most, then of the longest.

    Returns:
        None at all where the supports are not on disk; classes without a clip on disk are passed over.

    Raises:
        DataError: a picture or mask is missing, damaged, or not the one that the release names.
    """
    if not on_disk(benchmark, SUPPORT_SOURCE):
        return ()
    return tuple(map_files(_example, _episodes(statistics, benchmark, most)))


def sheet(shown: Sequence[Example]) -> bytes:
    """All examples in one JPEG, one row an episode."""
    rows = []
    width = max(sum(picture.pixels.shape[1] + _GAP for picture in example.pictures) - _GAP for example in shown)
    for example in shown:
        row = np.full((HEIGHT + _GAP, width, 3), 255, np.uint8)
        left = 0
        for picture in example.pictures:
            right = left + picture.pixels.shape[1]
            row[:HEIGHT, left:right] = picture.pixels
            left = right + _GAP
        rows.append(row)
    return _jpeg(np.concatenate(rows)[:-_GAP])


def _episodes(statistics: Statistics, benchmark: Benchmark, most: int) -> list[Episode]:
    """The first draws of the chosen tubes."""
    best: dict[str, TubeCount] = {}
    for tube in statistics.tubes:
        if tube.attributes and (tube.category not in best or _worth(tube) > _worth(best[tube.category])):
            best[tube.category] = tube
    chosen = [best[count.name].id for count in statistics.classes if count.name in best][:most]
    records = {tube_id(record.id): record for record in reversed(benchmark.records)}
    wanted = {name.rpartition("/")[0] for name in chosen}
    clips = [clip for clip in benchmark.manifest.clips if f"{clip.source}/{clip.name}" in wanted]
    tubes = {tube.id: tube for clip in clips for tube in benchmark.tubes_of(clip)}
    return [benchmark.episode_of(records[name], tubes[name]) for name in chosen]


def _worth(tube: TubeCount) -> tuple[float, int]:
    return (tube.attributes.presence if tube.attributes else 0.0, tube.frames)


def _example(episode: Episode) -> Example:
    support, tube = episode.supports[0], episode.tube
    first, later = tube.clip.frames[0], _later(tube)
    pictures = [Picture(f"support: COCO image {support.image_id}", outlined(support.read_image(), support.read_mask()))]
    for what, (frame, mask) in (("first frame", (first, read_tube_mask(tube, first))), ("later frame", later)):
        pictures.append(Picture(f"{what} {frame.id}", outlined(frame.read_image(), mask)))
    return Example(episode.id, tube.category.name, tuple(pictures))


def _later(tube: Tube) -> tuple[Frame, Mask | None]:
    """The last frame on which the tube is there, of those up to two thirds of the clip; the first frame where it is on none."""
    frames = tube.clip.frames
    for frame in reversed(frames[: 1 + 2 * len(frames) // 3]):
        mask = read_tube_mask(tube, frame)
        if mask is not None and mask.any():
            return frame, mask
    return frames[0], None


def outlined(image: Image, mask: Mask | None, height: int = HEIGHT) -> Image:
    """A picture, (H, W, 3), made `height` pixels high, with a mask of its size tinted and outlined in white on black.

    The two lines show on any ground and to any eyes.
    """
    width = max(1, round(image.shape[1] * height / image.shape[0]))
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    if mask is None:
        return np.asarray(small)
    inside = resize_nearest(mask, (height, width))
    small[inside] = (0.65 * small[inside] + 0.35 * _FILL).astype(np.uint8)
    contours, _ = cv2.findContours(inside.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    for colour, thickness in (((0, 0, 0), 4), ((255, 255, 255), 2)):
        cv2.drawContours(small, contours, -1, colour, thickness)
    return np.asarray(small)


def _jpeg(pixels: Image) -> bytes:
    stream = BytesIO()
    PillowImage.fromarray(pixels).save(stream, "JPEG", quality=_QUALITY)
    return stream.getvalue()
