"""The kernel compiled by numba: reads 64 pixels at a time, and looks around boundary pixels instead of growing boundaries.

A dilated boundary is never made: for each boundary pixel of one mask, the rows around it are searched for one of the other
mask, nearest row first. Boundaries are thin and mostly close to each other, so that the search is short.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.extending import intrinsic
from numpy.typing import NDArray

from icvos.kernels.base import Counts, Kernel, Packed, Prepared, check_tolerance, half_widths, values_error
from icvos.kernels.packed import PackedKernel
from icvos.png import PngError, Scanlines, unfiltered

_WIDEST = 31  # beyond it, the reach of a tolerance does not fit into one word
_ALL = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
_MANY = 3  # boundary pixels of a word from which on it pays to look at them together
_BINARY = np.array([1, 255], np.uint8)
_ONE, _LAST = np.uint64(1), np.uint64(63)


class CompiledKernel(Kernel):
    """Counts with compiled loops; leaves the rare cases (interlaced, 2 or 4 bits, very large images) to the numpy kernel."""

    name = "numba"

    def __init__(self) -> None:
        self._plain = PackedKernel()
        self._spans: dict[int, NDArray[np.uint64]] = {}

    def pick(self, scanlines: Scanlines, foreground: NDArray[np.bool_]) -> Packed:
        """See `Kernel.pick`."""
        if scanlines.interlaced or scanlines.depth != 8:
            return self._plain.pick(scanlines, foreground)
        return _packed(scanlines, foreground.nonzero()[0].astype(np.uint8))[0]

    def pick_binary(self, scanlines: Scanlines) -> Packed:
        """See `Kernel.pick_binary`."""
        if scanlines.depth == 1 and not scanlines.interlaced:
            rows = unfiltered(scanlines.data, scanlines.size[0], scanlines.stride)
            return Packed(_words_of_bits(rows, scanlines.size[1]), scanlines.size)
        if scanlines.interlaced or scanlines.depth != 8:
            return self._plain.pick_binary(scanlines)
        packed, seen = _packed(scanlines, _BINARY)
        if seen > 2:  # a third value, or both
            raise values_error(scanlines)
        return packed

    def prepare(self, truth: Packed, tolerance: int) -> Prepared:
        """See `Kernel.prepare`."""
        if check_tolerance(tolerance) > _WIDEST:
            return self._plain.prepare(truth, tolerance)
        edge, length = _edge(truth.words, truth.size[1], tolerance)
        return Prepared(truth, tolerance, edge, length)

    def count(self, prediction: Packed, prepared: Prepared) -> Counts:
        """See `Kernel.count`."""
        tolerance = prepared.tolerance
        if tolerance > _WIDEST:
            return self._plain.count(prediction, prepared)
        if tolerance not in self._spans:
            self._spans[tolerance] = _spans(tolerance)
        spans = self._spans[tolerance]
        return Counts(*_count(prediction.words, prepared.truth.words, prepared.edge, prepared.edge_length, prediction.size[1], spans))


def _packed(scanlines: Scanlines, wanted: NDArray[np.uint8]) -> tuple[Packed, int]:
    """The pixels that have a wanted value; which were seen: 1 the first wanted, 2 another, 4 one neither wanted nor 0."""
    words, seen = _words_of_values(np.frombuffer(scanlines.data, np.uint8), scanlines.stride, wanted)
    if seen < 0:
        raise PngError("a damaged PNG (row filter)")
    return Packed(words, scanlines.size), seen


def _spans(tolerance: int) -> NDArray[np.uint64]:
    """For each row 0..tolerance off a disc's centre, its pixels in a window that starts `tolerance` left of the centre."""
    return np.array([((1 << 2 * reach + 1) - 1) << tolerance - reach for reach in half_widths(tolerance)], np.uint64)


def _jit(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile on first use, and keep the machine code on disk where some folder can be written."""
    try:
        compiled: Callable[..., Any] = njit(cache=True, nogil=True)(function)
    except RuntimeError:  # numba found no folder for its cache
        compiled = njit(nogil=True)(function)
    return compiled


def _intrinsic(function: Callable[..., Any]) -> Callable[..., Any]:
    made: Callable[..., Any] = intrinsic(function)
    return made


@_intrinsic
def _equal(_typing: Any, octets: Any, start: Any, value: Any) -> Any:
    """Which of the 64 bytes from `start` on have the value, as a word: two compares and two mask moves, which no loop becomes."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        lanes, place = ir.VectorType(ir.IntType(8), 64), ir.IntType(32)
        loaded = builder.load(builder.bitcast(builder.gep(data, [arguments[1]]), lanes.as_pointer()), align=1)
        nothing = ir.Constant(lanes, ir.Undefined)
        first = builder.insert_element(nothing, arguments[2], ir.Constant(place, 0))
        spread = builder.shuffle_vector(first, nothing, ir.Constant(ir.VectorType(place, 64), [0] * 64))
        return builder.bitcast(builder.icmp_unsigned("==", loaded, spread), ir.IntType(64))

    return types.uint64(octets, types.intp, types.uint8), generate


@_intrinsic
def _ones(_typing: Any, word: Any) -> Any:
    """The number of set bits."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), generate


@_intrinsic
def _lowest(_typing: Any, word: Any) -> Any:
    """The place of the lowest set bit of a word that is not 0."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.uint64(types.uint64), generate


@_intrinsic
def _reversed(_typing: Any, octet: Any) -> Any:
    """A byte with its bits in the other order."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.bitreverse(arguments[0])

    return types.uint8(types.uint8), generate


@_jit
def _words_of_row(source, start, width, wanted, out):  # type: ignore[no-untyped-def]
    """One row of values as words; which values were seen, as `_packed` says. Reads on to the end of the last word."""
    seen = 0
    for k in range(out.size):
        rest = ~_equal(source, start + 64 * k, 0)
        if k == out.size - 1:
            rest &= _ALL >> np.uint64(-width & 63)
        word = np.uint64(0)
        if rest:
            for index in range(wanted.size):
                same = _equal(source, start + 64 * k, wanted[index]) & rest
                if same:
                    seen |= 1 if index == 0 else 2
                word |= same
            if rest != word:
                seen |= 4
        out[k] = word
    return seen


@_jit
def _words_of_values(flat, stride, wanted):  # type: ignore[no-untyped-def]
    """Scanlines of one byte a pixel as words, and which values were seen (-1: an unknown row filter).

    A row without a filter is read where it lies; others are undone in `row`, which until then holds the row above.
    """
    height, width = flat.size // stride, stride - 1
    across = (width + 63) // 64
    words = np.empty((height, across), np.uint64)
    row = np.zeros(64 * across, np.uint8)
    holds_above, seen = True, 0
    for y in range(height):
        start, kind = y * stride + 1, flat[y * stride]
        if kind > 4:
            return words, -1
        if kind == 0 and start + 64 * across <= flat.size:
            seen |= _words_of_row(flat, start, width, wanted, words[y])
            holds_above = False
            continue
        if kind > 1 and not holds_above:
            row[:width] = flat[start - stride : start - stride + width]
        _undo_row(flat, start, width, kind, row)
        seen |= _words_of_row(row, 0, width, wanted, words[y])
        holds_above = True
    return words, seen


@_jit
def _undo_row(flat, start, width, kind, row):  # type: ignore[no-untyped-def]
    """Undo the filter of a row, which takes the place of the row above it in `row`.

    Where 64 filtered bytes are 0, which in masks is nearly everywhere, they are undone at once.
    """
    if kind == 0:
        row[:width] = flat[start : start + width]
        return
    if kind == 2:
        filtered = flat[start : start + width]
        for x in range(filtered.size):
            row[x] = np.uint8(row[x] + filtered[x])
        return
    left = corner = np.uint8(0)
    for first in range(0, width, 64):
        end = min(first + 64, width)
        level = end - first == 64 and kind != 3 and _equal(flat, start + first, 0) == _ALL
        if level and (kind == 1 or _equal(row, first, corner) == _ALL):
            row[first:end] = left  # Paeth's guess is the left neighbour as long as the row above does not change
        else:
            left, corner = _undo_part(flat, start, first, end, kind, row, left, corner)


@_jit
def _undo_part(flat, start, first, end, kind, row, left, corner):  # type: ignore[no-untyped-def]
    """Undo the filters Sub, Average and Paeth, byte by byte; the last value and the one above it."""
    for x in range(first, end):
        a, b, c = np.int64(left), np.int64(row[x]), np.int64(corner)
        guess = a
        if kind == 3:
            guess = (a + b) >> 1
        elif kind == 4:
            to_a, to_b, to_c = abs(b - c), abs(a - c), abs(a + b - 2 * c)
            if to_a > to_b or to_a > to_c:
                guess = b if to_b <= to_c else c
        corner = row[x]
        left = np.uint8(np.int64(flat[start + x]) + guess)
        row[x] = left
    return left, corner


@_jit
def _words_of_bits(rows, width):  # type: ignore[no-untyped-def]
    """Rows of one-bit pixels, highest bit first, as words."""
    height, used = rows.shape
    words = np.zeros((height, (width + 63) // 64), np.uint64)
    octets = words.view(np.uint8)  # little endian, as every machine that numba compiles for
    for y in range(height):
        for k in range(used):
            octets[y, k] = _reversed(rows[y, k])
        words[y, -1] &= _ALL >> np.uint64(-width & 63)
    return words


@_jit
def _edge(words, width, pad):  # type: ignore[no-untyped-def]
    """The boundary map with one empty word on either side of each row and `pad` empty rows above and below; its length."""
    height, across = words.shape
    edge = np.zeros((height + 2 * pad, across + 2), np.uint64)
    inner = ~(_ONE << np.uint64((width - 1) & 63))  # the last column has no right neighbour
    length = np.uint64(0)
    for y in range(height):
        low = min(y + 1, height - 1)  # the last row is its own lower neighbour
        any_bit = np.uint64(0)
        for k in range(across):
            any_bit |= words[y, k] | words[low, k]
        if any_bit == 0:
            continue
        for k in range(across - 1):
            here, below = words[y, k], words[low, k]
            right = (here >> _ONE) | (words[y, k + 1] << _LAST)
            below_right = (below >> _ONE) | (words[low, k + 1] << _LAST)
            edge[y + pad, k + 1] = (here ^ right) | (here ^ below_right) | (here ^ below)
        here, below = words[y, across - 1], words[low, across - 1]
        edge[y + pad, across] = (((here ^ (here >> _ONE)) | (here ^ (below >> _ONE))) & inner) | (here ^ below)
        for k in range(across):
            length += _ones(edge[y + pad, k + 1])
    return edge, np.int64(length)


@_jit
def _near(edge, other, spans):  # type: ignore[no-untyped-def]
    """How many pixels of one padded boundary map have one of the other within the disc."""
    radius = len(spans) - 1
    found = np.uint64(0)
    for y in range(radius, edge.shape[0] - radius):
        row = edge[y]
        for k in range(1, row.size - 1):
            left = row[k]
            if left == 0:
                continue
            found += _ones(left)
            left &= ~other[y, k]
            if _ones(left) > _MANY:
                left = _without_vertical(other, y, k, left, radius)
                if left and not _any_around(other, y, k, radius):
                    found -= _ones(left)
                    continue
            while left:
                if not _has_near(other, y, 64 * k + np.int64(_lowest(left)), spans):
                    found -= _ONE
                left &= left - _ONE
    return np.int64(found)


@_jit
def _without_vertical(other, y, k, word, radius):  # type: ignore[no-untyped-def]
    """The pixels of a word that have none of the other map within the tolerance straight above or below."""
    for step in range(1, radius + 1):
        word &= ~(other[y - step, k] | other[y + step, k])
    return word


@_jit
def _any_around(other, y, k, radius):  # type: ignore[no-untyped-def]
    """Whether the other map has any pixel in the rows and words that the discs of a word's pixels can reach."""
    around = np.uint64(0)
    for row in range(y - radius, y + radius + 1):
        around |= other[row, k - 1] | other[row, k] | other[row, k + 1]
    return around != 0


@_jit
def _has_near(other, y, x, spans):  # type: ignore[no-untyped-def]
    """Whether the padded boundary map has a pixel within the disc around (y, x)."""
    radius, across = spans.size - 1, other.shape[1]
    flat = other.ravel()
    shift = np.uint64((x - radius) & 63)
    # Unsigned places spare numba's check for negative ones.
    upper = lower = np.uintp(y * across + ((x - radius) >> 6))
    for step in range(spans.size):
        above = (flat[upper] >> shift) | ((flat[upper + np.uintp(1)] << _ONE) << (_LAST - shift))
        below = (flat[lower] >> shift) | ((flat[lower + np.uintp(1)] << _ONE) << (_LAST - shift))
        if (above | below) & spans[step]:
            return True
        upper -= np.uintp(across)
        lower += np.uintp(across)
    return False


@_jit
def _count(prediction, truth, due_edge, due, width, spans):  # type: ignore[no-untyped-def]
    """The six counts of `Counts`."""
    common, either = np.uint64(0), np.uint64(0)
    for y in range(truth.shape[0]):
        for k in range(truth.shape[1]):
            common += _ones(prediction[y, k] & truth[y, k])
            either += _ones(prediction[y, k] | truth[y, k])
    if common == either:  # equal masks
        return np.int64(common), np.int64(either), due, due, due, due
    found_edge, found = _edge(prediction, width, len(spans) - 1)
    found_near = due_near = 0
    if found and due:
        found_near, due_near = _near(found_edge, due_edge, spans), _near(due_edge, found_edge, spans)
    return np.int64(common), np.int64(either), found, found_near, due, due_near
