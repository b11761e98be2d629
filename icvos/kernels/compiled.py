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

from icvos.kernels.base import Counts, Kernel, Packed, Prepared, Words, check_tolerance, half_widths, values_error, words_across
from icvos.kernels.packed import PackedKernel
from icvos.png import PngError, Scanlines

_WIDEST = 31  # beyond it, the reach of a tolerance does not fit into one word
_ALL = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
_ONE, _LAST = np.uint64(1), np.uint64(63)


class CompiledKernel(Kernel):
    """Counts with compiled loops; leaves the rare cases (interlaced, 2 or 4 bits, very large images) to the numpy kernel."""

    name = "numba"

    def __init__(self) -> None:
        self._plain = PackedKernel()
        self._half_widths: dict[int, NDArray[np.int64]] = {}

    def pick(self, scanlines: Scanlines, foreground: NDArray[np.bool_]) -> Packed:
        """See `Kernel.pick`."""
        if scanlines.interlaced or scanlines.depth != 8:
            return self._plain.pick(scanlines, foreground)
        words = _empty(scanlines)
        wanted = np.flatnonzero(foreground).astype(np.uint8)
        _pack_values(_unfiltered(scanlines), scanlines.stride, scanlines.size[1], wanted, words)
        return Packed(words, scanlines.size)

    def pick_binary(self, scanlines: Scanlines) -> Packed:
        """See `Kernel.pick_binary`."""
        if scanlines.interlaced or scanlines.depth not in (1, 8):
            return self._plain.pick_binary(scanlines)
        words = _empty(scanlines)
        octets = _unfiltered(scanlines)
        if scanlines.depth == 1:
            _pack_bits(octets, scanlines.stride, scanlines.size[1], words)
        elif not _pack_binary(octets, scanlines.stride, scanlines.size[1], words):
            raise values_error(scanlines)
        return Packed(words, scanlines.size)

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
        if tolerance not in self._half_widths:
            self._half_widths[tolerance] = np.array(half_widths(tolerance), np.int64)
        widths = self._half_widths[tolerance]
        return Counts(*_count(prediction.words, prepared.truth.words, prepared.edge, prepared.edge_length, prediction.size[1], widths))


def _empty(scanlines: Scanlines) -> Words:
    return np.empty((scanlines.size[0], words_across(scanlines.size[1])), np.uint64)


def _unfiltered(scanlines: Scanlines) -> NDArray[np.uint8]:
    """The bytes of all scanlines, one after the other, with their filters undone; the filter bytes themselves may be anything."""
    octets = np.frombuffer(scanlines.data, np.uint8)
    filters = octets[:: scanlines.stride]
    if not filters.any():
        return octets
    if filters.max() > 4:
        raise PngError(f"a damaged PNG (row filter {filters.max()})")
    octets = octets.copy()
    _undo_filters(octets, scanlines.stride)
    return octets


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
def _row_of(flat, stride, y, across):  # type: ignore[no-untyped-def]
    """A row's values with enough bytes after them to read whole words: the buffer itself, or a copy where it ends too soon."""
    start = y * stride + 1
    if start + 64 * across <= flat.size:
        return flat[start : start + 64 * across]
    row = np.zeros(64 * across, np.uint8)
    row[: stride - 1] = flat[start : start + stride - 1]
    return row


@_jit
def _pack_values(flat, stride, width, wanted, words):  # type: ignore[no-untyped-def]
    """Pixels that have one of the wanted values, as words."""
    across = words.shape[1]
    words[:] = 0
    for y in range(words.shape[0]):
        row = _row_of(flat, stride, y, across)
        for value in wanted:
            for k in range(across):
                words[y, k] |= _equal(row, 64 * k, value)
        words[y, across - 1] &= _ALL >> np.uint64(-width & 63)


@_jit
def _pack_binary(flat, stride, width, words):  # type: ignore[no-untyped-def]
    """Pixels that are not 0, as words; False if there are other values than 0 and one of 1 and 255."""
    across = words.shape[1]
    any_1, any_255, any_other = np.uint64(0), np.uint64(0), np.uint64(0)
    for y in range(words.shape[0]):
        row = _row_of(flat, stride, y, across)
        for k in range(across):
            inside = _ALL >> np.uint64(-width & 63) if k == across - 1 else _ALL
            word = ~_equal(row, 64 * k, 0) & inside
            words[y, k] = word
            if word:
                is_1, is_255 = _equal(row, 64 * k, 1), _equal(row, 64 * k, 255)
                any_1 |= is_1 & word
                any_255 |= is_255 & word
                any_other |= word & ~(is_1 | is_255)
    return any_other == 0 and (any_1 == 0 or any_255 == 0)


@_jit
def _pack_bits(flat, stride, width, words):  # type: ignore[no-untyped-def]
    """One-bit pixels, highest bit first, as words."""
    octets = words.view(np.uint8)  # little endian, as every machine that numba compiles for
    tail = _ALL >> np.uint64(-width & 63)
    words[:, -1] = 0
    for y in range(words.shape[0]):
        for k in range(stride - 1):
            octets[y, k] = _reversed(flat[y * stride + 1 + k])
        words[y, -1] &= tail


@_jit
def _undo_filters(flat, stride):  # type: ignore[no-untyped-def]
    """Undo the row filters in place. Where 64 filtered bytes are 0, which in masks is nearly everywhere, they are undone at once."""
    above = np.zeros(stride, np.uint8)  # the row above; byte 0 stands for the pixel left of the first
    for y in range(flat.size // stride):
        row, kind = flat[y * stride : (y + 1) * stride], flat[y * stride]
        row[0] = 0
        if kind == 2:
            for x in range(1, stride):
                row[x] = np.uint8(row[x] + above[x])
        elif kind != 0:
            x = 1
            while x < stride:
                end = min(x + 64, stride)
                all_0 = end - x == 64 and _equal(row, x, 0) == _ALL
                if all_0 and (kind == 1 or (kind == 4 and _equal(above, x, above[x - 1]) == _ALL)):
                    row[x:end] = row[x - 1]
                else:
                    _undo_some(row, above, x, end, kind)
                x = end
        above = row


@_jit
def _undo_some(row, above, start, end, kind):  # type: ignore[no-untyped-def]
    """Undo the filters Sub, Average and Paeth on a part of a row."""
    for x in range(start, end):
        left, up, corner = np.int64(row[x - 1]), np.int64(above[x]), np.int64(above[x - 1])
        guess = left
        if kind == 3:
            guess = (left + up) >> 1
        elif kind == 4:
            to_left, to_up, to_corner = abs(up - corner), abs(left - corner), abs(left + up - 2 * corner)
            if to_left > to_up or to_left > to_corner:
                guess = up if to_up <= to_corner else corner
        row[x] = np.uint8(row[x] + guess)


@_jit
def _edge(words, width, pad):  # type: ignore[no-untyped-def]
    """The boundary map with one empty word on either side of each row and `pad` empty rows above and below; its length."""
    height, across = words.shape
    edge = np.zeros((height + 2 * pad, across + 2), np.uint64)
    inner = ~(_ONE << np.uint64((width - 1) & 63))  # the last column has no right neighbour
    length = np.uint64(0)
    for y in range(height):
        here, below = words[y], words[min(y + 1, height - 1)]  # the last row is its own lower neighbour
        out = edge[y + pad, 1:]
        for k in range(across - 1):
            right = (here[k] >> _ONE) | (here[k + 1] << _LAST)
            below_right = (below[k] >> _ONE) | (below[k + 1] << _LAST)
            out[k] = (here[k] ^ right) | (here[k] ^ below_right) | (here[k] ^ below[k])
            length += _ones(out[k])
        k = across - 1
        out[k] = ((here[k] ^ (here[k] >> _ONE) | here[k] ^ (below[k] >> _ONE)) & inner) | (here[k] ^ below[k])
        length += _ones(out[k])
    return edge, np.int64(length)


@_jit
def _near(edge, other, half_widths):  # type: ignore[no-untyped-def]
    """How many pixels of one padded boundary map have one of the other within the disc."""
    radius = len(half_widths) - 1
    found = np.uint64(0)
    for y in range(radius, edge.shape[0] - radius):
        for k in range(1, edge.shape[1] - 1):
            left = edge[y, k]
            if left == 0:
                continue
            found += _ones(left)
            for step in range(radius + 1):  # straight up and down, for all the pixels of the word at once
                left &= ~(other[y - step, k] | other[y + step, k])
            if left == 0:
                continue
            around = np.uint64(0)
            for row in range(y - radius, y + radius + 1):
                around |= other[row, k - 1] | other[row, k] | other[row, k + 1]
            while left and around:
                place = _lowest(left)
                left &= left - _ONE
                if not _has_near(other, y, 64 * k + np.int64(place), half_widths):
                    found -= _ONE
            found -= _ones(left)
    return np.int64(found)


@_jit
def _has_near(other, y, x, half_widths):  # type: ignore[no-untyped-def]
    """Whether the padded boundary map has a pixel within the disc around (y, x)."""
    radius = len(half_widths) - 1
    first, shift = (x - radius) >> 6, np.uint64((x - radius) & 63)
    for step in range(radius + 1):
        reach = half_widths[step]
        span = ((_ONE << np.uint64(2 * reach + 1)) - _ONE) << np.uint64(radius - reach)
        upper = (other[y - step, first] >> shift) | ((other[y - step, first + 1] << _ONE) << (_LAST - shift))
        lower = (other[y + step, first] >> shift) | ((other[y + step, first + 1] << _ONE) << (_LAST - shift))
        if (upper | lower) & span:
            return True
    return False


@_jit
def _count(prediction, truth, due_edge, due, width, half_widths):  # type: ignore[no-untyped-def]
    """The six counts of `Counts`."""
    common, either = np.uint64(0), np.uint64(0)
    for y in range(truth.shape[0]):
        for k in range(truth.shape[1]):
            common += _ones(prediction[y, k] & truth[y, k])
            either += _ones(prediction[y, k] | truth[y, k])
    if common == either:  # equal masks
        return np.int64(common), np.int64(either), due, due, due, due
    found_edge, found = _edge(prediction, width, len(half_widths) - 1)
    found_near = due_near = 0
    if found and due:
        found_near, due_near = _near(found_edge, due_edge, half_widths), _near(due_edge, found_edge, half_widths)
    return np.int64(common), np.int64(either), found, found_near, due, due_near
