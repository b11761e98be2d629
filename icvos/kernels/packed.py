"""The kernel in numpy alone: 64 pixels a word, everything cropped to where there is something to count."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from icvos.kernels.base import Counts, Kernel, Packed, Prepared, Words, check_tolerance, half_widths, pack_rows, values_error
from icvos.png import Scanlines, unfiltered, values_of
from icvos.types import Mask, Size

_ONE, _LAST = np.uint64(1), np.uint64(63)
_REVERSED = np.packbits(np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1), axis=1, bitorder="little")[:, 0]
_BLOCK = 1 << 16  # pixels
_FEW = 4  # foreground values up to which comparing with each is cheaper than a table look-up


class _Box(NamedTuple):
    """Rows top..bottom and words left..right, ends excluded."""

    top: int
    bottom: int
    left: int
    right: int

    def grown(self, rows: int, words: int, shape: Size) -> _Box:
        top, bottom = max(self.top - rows, 0), min(self.bottom + rows, shape[0])
        return _Box(top, bottom, max(self.left - words, 0), min(self.right + words, shape[1]))

    def of(self, words: Words) -> Words:
        return words[self.top : self.bottom, self.left : self.right]


class PackedKernel(Kernel):
    """Counts with numpy's own operations on words."""

    name = "numpy"

    def pick(self, scanlines: Scanlines, foreground: NDArray[np.bool_]) -> Packed:
        """See `Kernel.pick`."""
        (height, width), depth = scanlines.size, scanlines.depth
        if depth == 1 and not scanlines.interlaced and foreground[1] and not foreground[0]:
            return Packed(pack_rows(_REVERSED[unfiltered(scanlines.data, height, scanlines.stride)], width), scanlines.size)
        wanted, values = np.flatnonzero(foreground).tolist(), values_of(scanlines)
        if wanted == [1] and values.max() <= 1:  # the only object of its file
            return self._pack_where(values, lambda part: part)
        if len(wanted) > _FEW:
            return self._pack_where(values, lambda part: foreground[part])
        return self._pack_where(values, lambda part: _any_of(part, wanted))

    def pick_binary(self, scanlines: Scanlines) -> Packed:
        """See `Kernel.pick_binary`."""
        (height, width), depth = scanlines.size, scanlines.depth
        if depth == 1 and not scanlines.interlaced:
            return Packed(pack_rows(_REVERSED[unfiltered(scanlines.data, height, scanlines.stride)], width), scanlines.size)
        values = values_of(scanlines)
        largest = int(values.max())
        packed = self._pack_where(values, lambda part: part)
        if largest not in (0, 1, 255) or (largest == 255 and np.count_nonzero(values == 255) != _ones(packed.words)):
            raise values_error(scanlines)
        return packed

    def _pack_where(self, values: NDArray[np.uint8], test: Callable[[NDArray[np.uint8]], NDArray[Any]]) -> Packed:
        """The pixels for which the test gives something but 0, some rows at a time: what lies between stays in the
        processor's cache."""
        height, width = values.shape
        octets = np.empty((height, (width + 7) // 8), np.uint8)
        step = max(1, _BLOCK // width)
        for top in range(0, height, step):
            octets[top : top + step] = np.packbits(test(values[top : top + step]), axis=1, bitorder="little")
        return Packed(pack_rows(octets, width), (height, width))

    def prepare(self, truth: Packed, tolerance: int) -> Prepared:
        """See `Kernel.prepare`."""
        check_tolerance(tolerance)
        edge, near = np.zeros_like(truth.words), np.zeros_like(truth.words)
        box = _box(truth.words)
        if box:
            around = box.grown(1, 1, edge.shape)
            around.of(edge)[:] = _edge(around, truth)
            reach = around.grown(tolerance, 1 + tolerance // 64, edge.shape)
            reach.of(near)[:] = _dilated(reach.of(edge), tolerance)
        return Prepared(truth, tolerance, edge, _ones(edge), near)

    def count(self, prediction: Packed, prepared: Prepared) -> Counts:
        """See `Kernel.count`."""
        truth, edge, near, tolerance = prepared.truth.words, prepared.edge, prepared.near, prepared.tolerance
        either = _ones(prediction.words | truth)
        box = _box(prediction.words)
        if box is None or near is None:
            return Counts(0, either, 0, 0, prepared.edge_length, 0)
        common = _ones(box.of(prediction.words) & box.of(truth))
        if common == either:
            return Counts(common, either, prepared.edge_length, prepared.edge_length, prepared.edge_length, prepared.edge_length)
        around = box.grown(1, 1, truth.shape)
        found = _edge(around, prediction)
        reach = around.grown(tolerance, 1 + tolerance // 64, truth.shape)
        due_near = 0
        if reach.of(edge).any():
            canvas = np.zeros((reach.bottom - reach.top, reach.right - reach.left), np.uint64)
            canvas[around.top - reach.top :, around.left - reach.left :][: found.shape[0], : found.shape[1]] = found
            due_near = _ones(_dilated(canvas, tolerance) & reach.of(edge))
        return Counts(common, either, _ones(found), _ones(found & around.of(near)), prepared.edge_length, due_near)


def _any_of(values: NDArray[np.uint8], wanted: list[int]) -> Mask:
    mask: Mask = np.equal(values, wanted[0]) if wanted else np.zeros(values.shape, np.bool_)
    for value in wanted[1:]:
        mask |= values == value
    return mask


def _ones(words: Words) -> int:
    return int(np.bitwise_count(words).sum(dtype=np.int64))


def _box(words: Words) -> _Box | None:
    """The smallest box that holds every set bit, or None."""
    columns = np.flatnonzero(np.bitwise_or.reduce(words, axis=0))
    if not len(columns):
        return None
    rows = np.flatnonzero(words.any(axis=1))
    return _Box(int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1)


def _edge(box: _Box, packed: Packed) -> Words:
    """The boundary map inside a box: pixels that differ from their right, lower or lower right neighbour within the image.

    The box must reach one row and one word past the mask on every side where the image does; what lies beyond is 0.
    """
    words = box.of(packed.words)
    right = words >> _ONE  # each pixel's right neighbour in its place
    right[:, :-1] |= words[:, 1:] << _LAST
    differs = words ^ right
    differs[:-1] |= words[:-1] ^ right[1:]
    if box.right == packed.words.shape[1]:  # the last column has no right neighbour
        differs[:, -1] &= ~(_ONE << np.uint64((packed.size[1] - 1) % 64))
    differs[:-1] |= words[:-1] ^ words[1:]
    return differs


def _dilated(words: Words, radius: int) -> Words:
    """Every bit grown to a disc.

    A disc is a union of rectangles, the widest the lowest. Each height is grown from the one before; what is still to be
    widened is gathered in `grown`, so that a sideways step serves all the rectangles that have yet to take it.
    """
    pad = 1 + radius // 64  # empty words between rows, so that shifts may run over the whole block at once
    tall = np.zeros((words.shape[0], words.shape[1] + pad), np.uint64)
    tall[:, : words.shape[1]] = words
    grown, scratch, height = np.zeros_like(tall), np.empty((2, tall.size), np.uint64), 0
    for width, narrower, wanted in _rectangles(radius):
        _heighten(tall, height, wanted)
        height = wanted
        grown |= tall
        _widen(grown.reshape(-1), width - narrower, *scratch)
    return grown[:, : words.shape[1]]


@cache
def _rectangles(radius: int) -> list[tuple[int, int, int]]:
    """Of a disc's rectangles, the lowest first: half the width, that of the next one (0 after the last), half the height."""
    heights = {width: height for height, width in enumerate(half_widths(radius))}
    return [(width, narrower, heights[width]) for width, narrower in pairwise([*heights, 0])]


def _heighten(block: Words, height: int, wanted: int) -> None:
    """Rows already laid over `height` rows up and down, laid over `wanted`, in place."""
    while height < wanted:
        step = min(wanted - height, height + 1)  # further would need rows that the border has cut off
        height += step
        block[step:] |= block[:-step]
        block[:-step] |= block[step:]


def _widen(flat: Words, wanted: int, scratch: Words, spare: Words) -> None:
    """All bits, read as one long row, laid over `wanted` places to either side, in place."""
    width = 0
    while width < wanted:
        step = min(wanted - width, width + 1, 63)
        width += step
        here, over = np.uint64(step), np.uint64(64 - step)
        np.right_shift(flat, over, out=scratch)
        np.left_shift(flat, here, out=spare)
        flat |= spare
        flat[1:] |= scratch[:-1]
        np.left_shift(flat, over, out=scratch)
        np.right_shift(flat, here, out=spare)
        flat |= spare
        flat[:-1] |= scratch[1:]
