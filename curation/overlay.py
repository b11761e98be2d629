"""What a reviewer looks at: frames with a tube's objects coloured in, their ids, and a line that says class, clip and frame.

A frame is decoded once, a JPEG no larger than it must be, and blended once. Masks are made smaller so that the smallest
object stays to be seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from icvos.masks import read_ids, read_image, wrong_size
from icvos.parallel import ahead, core_count
from icvos.types import Frame, Image, Size, Tube

# Okabe and Ito's colours, which people with any kind of colour blindness tell apart. Those that fur, skin, grass and sky have
# least come first, for most tubes have few objects; the order is that of the object ids.
COLOURS = np.array([(204, 121, 167), (86, 180, 233), (240, 228, 66), (230, 159, 0), (0, 158, 115), (213, 94, 0), (0, 114, 178)], np.uint8)
REVIEW_HEIGHT = 240  # pixels of a frame of a review clip, without the line above it
MOST_FRAMES = 240  # of a review clip: a longer tube shows every second frame, every third, ...
_TALLEST = 720  # pixels of a first frame; more than a page shows
_SHARE = 0.45  # of a colour inside an object; its outline is all colour
_KINDS = len(COLOURS)
_GREY = (150, 150, 150)


@dataclass(frozen=True, slots=True)
class Canvas:
    """All that the frames of a tube have in common: their size, what is written above each, and which value gets which colour."""

    tube: Tube
    size: Size  # of the picture
    line: Image  # (line height, width, 3), class and clip; the frame's name is still missing
    ranks: NDArray[np.uint8]  # (256,) for each value of an annotation: 0, or 1 + the object's place among the tube's
    masked: bool = True  # whether objects are coloured in

    @property
    def letter(self) -> int:
        """The size of letters, in pixels."""
        return _letter(self.size[0])


def review_frames(tube: Tube, *, most: int = MOST_FRAMES, height: int = REVIEW_HEIGHT) -> Iterator[Image]:
    """Overlays of a tube's frames in order, evenly spaced where there are more than `most`; (h, w, 3) RGB uint8, h and w even.

    Frames are read a few ahead on all cores; what comes out does not depend on how many there are.

    Raises:
        DataError: a picture or an annotation cannot be read.
    """
    frames = tube.clip.frames
    places = range(0, len(frames), -(-len(frames) // most))
    return _drawn(canvas_of(tube, height), places)


def first_frame(tube: Tube, *, masked: bool = True) -> Image:
    """The first frame, as large as it is up to 720 pixels high; `masked=False` leaves the objects as they are."""
    return draw_frame(canvas_of(tube, min(_TALLEST, max(REVIEW_HEIGHT, tube.clip.size[0])), masked=masked), 0)


def contact_sheet(tube: Tube, *, columns: int = 4, rows: int = 3, height: int = REVIEW_HEIGHT) -> Image:
    """One picture of up to `columns` x `rows` frames of a tube, the first and the last among them; RGB uint8."""
    count = min(columns * rows, len(tube.clip.frames))
    places = sorted({round(place) for place in np.linspace(0, len(tube.clip.frames) - 1, count)})
    drawn = list(_drawn(canvas_of(tube, height), places))
    columns = min(columns, len(drawn))
    empty = np.zeros_like(drawn[0])
    drawn += [empty] * (-len(drawn) % columns)
    return np.concatenate([np.concatenate(drawn[start : start + columns], axis=1) for start in range(0, len(drawn), columns)])


def _drawn(canvas: Canvas, places: Sequence[int]) -> Iterator[Image]:
    threads = min(core_count(), len(places))
    with closing(ahead(partial(draw_frame, canvas), places, 2 * threads, threads=threads)) as drawn:
        yield from drawn


def canvas_of(tube: Tube, height: int, *, masked: bool = True) -> Canvas:
    """The canvas of a tube whose pictures are to be `height` pixels high, an even number."""
    height += height % 2
    size = (height, max(2, round(tube.clip.size[1] * height / tube.clip.size[0])))
    ranks = np.zeros(256, np.uint8)
    if tube.clip.encoding == "binary":
        ranks[[1, 255]] = 1
    else:
        for place, value in enumerate(tube.instances):
            ranks[value] = 1 + place
    letter = _letter(height)
    line = np.zeros((letter + 6 - letter % 2, size[1] + size[1] % 2, 3), np.uint8)
    end = _write(line, tube.category.name, (4, 2), letter, (255, 255, 255))
    _write(line, tube.clip.key, (end + letter, 2), letter, _GREY)
    return Canvas(tube, size, line, ranks, masked)


def _letter(height: int) -> int:
    return 11 + height // 120


def draw_frame(canvas: Canvas, place: int) -> Image:
    """The frame at `place` of the canvas's tube, with the line above it; (h, w, 3) RGB uint8, h and w even.

    Raises:
        DataError: the picture or the annotation cannot be read, or the annotation has another size than the clip.
    """
    frame = canvas.tube.clip.frames[place]
    height, width = canvas.size
    top = len(canvas.line)
    drawn = np.zeros((top + height, canvas.line.shape[1], 3), np.uint8)
    drawn[:top] = canvas.line
    drawn[top:, :width] = _picture(frame, canvas.size)
    if canvas.masked and frame.mask:
        ranks = np.zeros(drawn.shape[:2], np.uint8)
        ranks[top:, :width] = _ranks(canvas, frame, frame.mask)
        _colour_in(drawn, ranks, canvas)
    _write_place(drawn, canvas, place)
    return drawn


def _picture(frame: Frame, size: Size) -> Image:
    picture = read_image(frame.image, frame.image_sha256, at_least=size)
    if picture.shape[:2] != size:
        picture = np.asarray(cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA), np.uint8)
    return picture


def _ranks(canvas: Canvas, frame: Frame, mask: Path) -> NDArray[np.uint8]:
    """Which object is where on the canvas, (h, w) uint8, 0 for none: of each 2 x 2 values any object wins over the background."""
    (height, width), clip = canvas.size, canvas.tube.clip
    ids = read_ids(mask, frame.mask_sha256)
    if (found := (ids.shape[0], ids.shape[1])) != clip.size:
        raise wrong_size(frame, found, clip.size)
    if ids.shape != (2 * height, 2 * width):
        ids = np.asarray(cv2.resize(ids, (2 * width, 2 * height), interpolation=cv2.INTER_NEAREST), np.uint8)
    ranks = np.asarray(cv2.LUT(ids, canvas.ranks), np.uint8)
    pairs = np.maximum(ranks[::2], ranks[1::2])
    return np.maximum(pairs[:, ::2], pairs[:, 1::2])


def _colour_in(drawn: Image, ranks: NDArray[np.uint8], canvas: Canvas) -> None:
    """Blend the colours into a frame, in place, and write each object's id on it; `ranks` is as large as the frame."""
    there = np.flatnonzero(ranks != 0)
    if not len(there):
        return
    rank = ranks.reshape(-1)[there]
    colour = (rank - 1) % _KINDS + _KINDS * _outline(ranks).reshape(-1)[there]
    pixels = drawn.reshape(-1, 3)
    # `take` gathers whole pixels, which an index does one channel after the other.
    pixels[there] = (pixels.take(there, axis=0) * _KEPT[colour] + _ADDED.take(colour, axis=0)) >> 8
    areas = np.bincount(rank)
    rows, columns = (np.bincount(rank, along) / np.maximum(areas, 1) for along in divmod(there, ranks.shape[1]))
    for one in np.flatnonzero(areas).tolist():
        _write_id(drawn, str(canvas.tube.instances[one - 1]), (columns[one], rows[one]), COLOURS[(one - 1) % _KINDS], canvas.letter)


# What is kept of a picture and what is added to it, in 256ths, for the inside of each colour's objects and then for their outlines.
_INSIDE, _EDGE = round(256 * (1 - _SHARE)), 0
_KEPT = np.repeat(np.array([_INSIDE, _EDGE], np.uint16), _KINDS)[:, None]
_ADDED = (256 - _KEPT) * np.tile(COLOURS, (2, 1)).astype(np.uint16)


def _outline(ranks: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where one of the four neighbours is of something else, (h, w) bool."""
    edge = np.zeros(ranks.shape, np.bool_)
    down, right = ranks[1:] != ranks[:-1], ranks[:, 1:] != ranks[:, :-1]
    edge[1:] |= down
    edge[:-1] |= down
    edge[:, 1:] |= right
    edge[:, :-1] |= right
    return edge


def _write_id(picture: Image, name: str, middle: tuple[float, float], colour: NDArray[np.uint8], letter: int) -> None:
    """A small plate of the object's colour with its id, around `middle` (x, y) as far as the picture reaches."""
    ink = _lettering(name, letter)
    height, width = min(letter + 2, picture.shape[0]), min(ink.shape[1] + 4, picture.shape[1])
    left = int(np.clip(middle[0] - width / 2, 0, picture.shape[1] - width))
    top = int(np.clip(middle[1] - height / 2, 0, picture.shape[0] - height))
    picture[top : top + height, left : left + width] = colour
    _write(picture, name, (left + 2, top), letter, (0, 0, 0))


def _write_place(drawn: Image, canvas: Canvas, place: int) -> None:
    """The frame's name and number at the right end of the line; figure by figure, so that they do not dance."""
    frames = canvas.tube.clip.frames
    number = f"{place + 1}/{len(frames)}"
    words = f"{'' if frames[place].mask else 'not annotated  '}{frames[place].id}  {number:>{2 * len(str(len(frames))) + 1}}"
    cell = max(_lettering(figure, canvas.letter).shape[1] for figure in "0123456789")
    left = max(0, drawn.shape[1] - 4 - cell * len(words))
    drawn[: len(canvas.line), max(0, left - cell) :] = 0
    for at, figure in enumerate(words):
        inset = (cell - _lettering(figure, canvas.letter).shape[1]) // 2
        _write(drawn, figure, (left + at * cell + max(0, inset), 2), canvas.letter, (255, 255, 255))


def _write(picture: Image, words: str, corner: tuple[int, int], letter: int, colour: tuple[int, int, int]) -> int:
    """Write words, their upper left `corner` (x, y) inside the picture; gives the x where they end."""
    left, top = corner
    ink = _lettering(words, letter)[: picture.shape[0] - top, : max(0, picture.shape[1] - left)].astype(np.uint16)[..., None]
    under = picture[top : top + ink.shape[0], left : left + ink.shape[1]]
    under[:] = (under * (255 - ink) + np.array(colour, np.uint16) * ink) // 255
    return left + int(ink.shape[1])


@lru_cache(maxsize=512)  # every frame is written on with the same figures
def _lettering(words: str, letter: int) -> NDArray[np.uint8]:
    """How much of each pixel the words cover, (h, w) uint8."""
    font = ImageFont.load_default(letter)
    ink = PillowImage.new("L", (max(1, round(font.getlength(words))), letter + 4))
    ImageDraw.Draw(ink).text((0, 0), words, font=font, fill=255)
    return np.asarray(ink)
