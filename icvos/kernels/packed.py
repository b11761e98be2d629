"""The kernel in numpy alone: 64 pixels a word, everything cropped to where there is something to count."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from icvos.kernels.base import Counts, Kernel, Packed, Prepared, Words, check_tolerance, half_widths, pack_rows, values_error
from icvos.png import Scanlines, unfiltered, values_of
from icvos.types import Size

_ONE, _LAST = np.uint64(1), np.uint64(63)
_REVERSED = np.packbits(np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1), axis=1, bitorder="little")[:, 0]
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
        values = values_of(scanlines)
        wanted = np.flatnonzero(foreground)
        if len(wanted) > _FEW:
            return self.pack(foreground[values])
        mask = np.zeros(values.shape, np.bool_)
        for value in wanted.tolist():
            mask |= values == value
        return self.pack(mask)

    def pick_binary(self, scanlines: Scanlines) -> Packed:
        """See `Kernel.pick_binary`."""
        (height, width), depth = scanlines.size, scanlines.depth
        if depth == 1 and not scanlines.interlaced:
            return Packed(pack_rows(_REVERSED[unfiltered(scanlines.data, height, scanlines.stride)], width), scanlines.size)
        values = values_of(scanlines)
        largest = values.max()
        mask = values != 0
        if largest not in (0, 1, 255) or (largest == 255 and not np.array_equal(values == largest, mask)):
            raise values_error(scanlines)
        return self.pack(mask)

    def prepare(self, truth: Packed, tolerance: int) -> Prepared:
        """See `Kernel.prepare`."""
        edge, near = np.zeros_like(truth.words), np.zeros_like(truth.words)
        box = _box(truth.words)
        if box and check_tolerance(tolerance) >= 0:
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


if hasattr(np, "bitwise_count"):  # numpy 2

    def _ones(words: Words) -> int:
        return int(np.bitwise_count(words).sum(dtype=np.int64))

else:

    def _ones(words: Words) -> int:
        return int(np.count_nonzero(np.unpackbits(np.ascontiguousarray(words).view(np.uint8))))


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
    """Every bit grown to a disc: rows grown sideways by each reach of the disc, then laid over each other."""
    pad = 1 + radius // 64  # empty words between rows, so that shifts may run over the whole block at once
    grown = np.zeros((words.shape[0], words.shape[1] + pad), np.uint64)
    grown[:, : words.shape[1]] = words
    out = np.zeros_like(words)
    reaches, reach = half_widths(radius), 0
    for wanted in sorted(set(reaches)):
        while reach < wanted:
            step = min(wanted - reach, 2 * reach + 1)  # further would leave gaps
            grown = grown | _shifted(grown, step) | _shifted(grown, -step)
            reach += step
        for offset, needed in enumerate(reaches):
            if needed == wanted and offset < len(out):
                rows = grown[:, : words.shape[1]]
                out[offset:] |= rows[: len(out) - offset]
                out[: len(out) - offset] |= rows[offset:]
    return out


def _shifted(block: Words, bits: int) -> Words:
    """All bits of the block, read as one long row, moved towards higher places (lower for negative `bits`)."""
    flat = block.reshape(-1)
    out = np.zeros_like(flat)
    whole, part = divmod(abs(bits), 64)
    here, over = np.uint64(part), np.uint64(64 - part)
    if bits > 0:
        out[whole:] = flat[: len(flat) - whole] << here
        if part:
            out[whole + 1 :] |= flat[: len(flat) - whole - 1] >> over
    else:
        out[: len(flat) - whole] = flat[whole:] >> here
        if part:
            out[: len(flat) - whole - 1] |= flat[whole + 1 :] << over
    return out.reshape(block.shape)
