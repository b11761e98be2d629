"""The kernel compiled by numba: reads 64 pixels at a time, and looks around boundary pixels instead of growing boundaries.

A dilated boundary is never made: for each boundary pixel of one mask, the rows around it are searched for one of the other
mask, nearest row first. Boundaries are thin and mostly close to each other, so that the search is short.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import config, njit, types
from numba.core.caching import FunctionCache
from numba.extending import intrinsic
from numpy.typing import NDArray

from icvos.cache import tell_nothing_kept
from icvos.kernels import machine_code_folder
from icvos.kernels.base import Counts, Kernel, Packed, Prepared, check_tolerance, half_widths, values_error
from icvos.kernels.packed import PackedKernel
from icvos.png import PngError, Scanlines, encode_png, unfiltered

_WIDEST = 31  # beyond it, the reach of a tolerance does not fit into one word
_ALL = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
_MANY = 3  # boundary pixels of a word from which on it pays to look at them together
_BINARY = np.array([1, 255], np.uint8)
_config: Any = config  # numba says nothing of its types
_FunctionCache: Any = FunctionCache
_ONE, _LAST = np.uint64(1), np.uint64(63)


class CompiledKernel(Kernel):
    """Counts with compiled loops; leaves the rare cases (interlaced, 2 or 4 bits, very large images) to the numpy kernel."""

    name = "numba"

    def __init__(self) -> None:
        self._plain = PackedKernel()
        self._spans: dict[int, NDArray[np.uint64]] = {}

    def warm_up(self) -> None:
        """See `Kernel.warm_up`."""
        png, foreground = encode_png(np.eye(2, dtype=np.bool_)), np.arange(256) == 1
        values = self.pick(Scanlines(bytes([0, 0, 1, 2, 1, 0]), (2, 2), 8, False), foreground)
        self.compare(self.read_prediction(png), self.prepare(values, 1))

    def pick(self, scanlines: Scanlines, foreground: NDArray[np.bool_]) -> Packed:
        """See `Kernel.pick`."""
        if scanlines.interlaced or scanlines.depth != 8 or foreground[0]:
            return self._plain.pick(scanlines, foreground)
        return _packed(scanlines, foreground.nonzero()[0].astype(np.uint8))[0]

    def pick_binary(self, scanlines: Scanlines) -> Packed:
        """See `Kernel.pick_binary`."""
        if scanlines.depth == 1 and not scanlines.interlaced:
            rows = unfiltered(scanlines.data, scanlines.size[0], scanlines.stride)
            return Packed(_words_of_bits(np.array(rows), scanlines.size[1]), scanlines.size)
        if scanlines.interlaced or scanlines.depth != 8:
            return self._plain.pick_binary(scanlines)
        packed, seen = _packed(scanlines, _BINARY)
        if seen > 2:  # a third value, or both
            raise values_error(scanlines)
        return packed

    def prepare(self, truth: Packed, tolerance: int) -> Prepared:
        """See `Kernel.prepare`."""
        check_tolerance(tolerance)
        if tolerance > _WIDEST:
            return self._plain.prepare(truth, tolerance)
        edge, length, places = _edge(truth.words, truth.size[1], tolerance)
        return Prepared(truth, tolerance, edge, length, places=places.copy())

    def count(self, prediction: Packed, prepared: Prepared) -> Counts:
        """See `Kernel.count`."""
        if prepared.places is None:
            return self._plain.count(prediction, prepared)
        truth, spans = prepared.truth, self._spans.get(prepared.tolerance)
        if spans is None:
            spans = self._spans[prepared.tolerance] = _spans(prepared.tolerance)
        counted = _count(prediction.words, truth.words, prepared.edge, prepared.edge_length, prepared.places, truth.size[1], spans)
        return Counts(*counted)


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
    compiled: Any = njit(nogil=True)(function)
    folder = machine_code_folder()
    if folder:
        chosen = _config.CACHE_DIR
        try:
            _config.CACHE_DIR = "" if folder == Path(__file__).parent else str(folder)
            compiled._cache = _Cache(function)
        except RuntimeError:  # numba found no folder for its cache
            pass
        finally:
            _config.CACHE_DIR = chosen
    return cast(Callable[..., Any], compiled)


class _Cache(_FunctionCache):  # type: ignore[misc]
    """numba's, where a disk that is full or read only costs no more than time."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """What is kept, if it can be read."""
        try:
            return super().load_overload(sig, target_context)
        except (OSError, EOFError):
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep it, if it can be."""
        try:
            super().save_overload(sig, data)
        except OSError as error:
            tell_nothing_kept(Path(self.cache_path), error.strerror or str(error))


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
def _words_of_row(source, start, width, wanted, words, first):  # type: ignore[no-untyped-def]
    """One row of values as the words from `first` on; which values were seen, as `_packed` says. Reads on to the end of the last word."""
    seen = 0
    last = (width - 1) // 64
    for k in range(last + 1):
        rest = ~_equal(source, start + 64 * k, 0)
        if rest and k == last:
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
        words[first + np.uintp(k)] = word
    return seen


@_jit
def _words_of_values(flat, stride, wanted):  # type: ignore[no-untyped-def]
    """Scanlines of one byte a pixel as words, and which values were seen (-1: an unknown row filter).

    A row without a filter is read where it lies; others are undone in `row`, which until then holds the row above.
    """
    height, width = flat.size // stride, stride - 1
    across = (width + 63) // 64
    words = np.empty(height * across, np.uint64)
    row = np.zeros(64 * across, np.uint8)
    holds_above, seen = True, 0
    for y in range(height):
        start, kind = y * stride + 1, flat[y * stride]
        if kind > 4:
            seen = -1
            break
        if kind == 0 and start + 64 * across <= flat.size:
            seen |= _words_of_row(flat, start, width, wanted, words, np.uintp(y * across))
            holds_above = False
            continue
        if kind > 1 and not holds_above:
            row[:width] = flat[start - stride : start - stride + width]
        _undo_row(flat, start, width, kind, row)
        seen |= _words_of_row(row, 0, width, wanted, words, np.uintp(y * across))
        holds_above = True
    return words.reshape(height, across), seen


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
    """The boundary map, its length, and where its words are that are not 0.

    The map is flat, with one empty word on either side of each row and `pad` empty rows above and below.
    """
    height, across = words.shape
    flat = words.reshape(-1)
    edge = np.zeros((height + 2 * pad) * (across + 2), np.uint64)
    places = np.empty(flat.size, np.uint32)
    inner = ~(_ONE << np.uint64((width - 1) & 63))  # the last column has no right neighbour
    length, used = np.uint64(0), np.uintp(0)
    last = np.uintp(across - 1)
    for y in range(height):
        here, below = np.uintp(y * across), np.uintp(min(y + 1, height - 1) * across)  # the last row is its own lower neighbour
        any_bit = np.uint64(0)
        for k in range(np.uintp(across)):
            any_bit |= flat[here + k] | flat[below + k]
        if any_bit == 0:
            continue
        out = np.uintp((y + pad) * (across + 2) + 1)
        for k in range(last):
            a, b = flat[here + k], flat[below + k]
            right = (a >> _ONE) | (flat[here + k + np.uintp(1)] << _LAST)
            below_right = (b >> _ONE) | (flat[below + k + np.uintp(1)] << _LAST)
            edge[out + k] = (a ^ right) | (a ^ below_right) | (a ^ b)
        a, b = flat[here + last], flat[below + last]
        edge[out + last] = (((a ^ (a >> _ONE)) | (a ^ (b >> _ONE))) & inner) | (a ^ b)
        for k in range(np.uintp(across)):
            if edge[out + k]:
                length += _ones(edge[out + k])
                places[used] = out + k
                used += np.uintp(1)
    return edge, np.int64(length), places[:used]


@_jit
def _near(edge, places, other, stride, spans):  # type: ignore[no-untyped-def]
    """How many pixels of one padded boundary map have one of the other within the disc."""
    found = np.uint64(0)
    for index in range(places.size):
        place = np.uintp(places[index])
        word = edge[place]
        found += _ones(word)
        word &= ~other[place]
        if word == 0:
            continue
        word = _without_straight(other, place, stride, word, spans.size - 1)
        if _ones(word) > _MANY and not _any_around(other, place, stride, spans.size - 1):
            found -= _ones(word)
            continue
        while word:
            if not _has_near(other, place, stride, np.int64(_lowest(word)), spans):
                found -= _ONE
            word &= word - _ONE
    return np.int64(found)


@_jit
def _without_straight(other, place, stride, word, radius):  # type: ignore[no-untyped-def]
    """The pixels of a word that have none of the other map near, straight to the left and right in the same word, above or below."""
    higher = lower = other[place]
    reach, step = radius, 1
    while reach > 0:  # 1, 2, 4 ... and what is left
        step = min(step, reach)
        higher |= higher << np.uint64(step)
        lower |= lower >> np.uint64(step)
        reach -= step
        step *= 2
    around, above, below = higher | lower, place, place
    for _ in range(radius):
        above -= np.uintp(stride)
        below += np.uintp(stride)
        around |= other[above] | other[below]
    return word & ~around


@_jit
def _any_around(other, place, stride, radius):  # type: ignore[no-untyped-def]
    """Whether the other map has any pixel in the rows and words that the discs of a word's pixels can reach."""
    around = np.uint64(0)
    row = place - np.uintp(radius * stride)
    for _ in range(2 * radius + 1):
        around |= other[row - np.uintp(1)] | other[row] | other[row + np.uintp(1)]
        row += np.uintp(stride)
    return around != 0


@_jit
def _has_near(other, place, stride, bit, spans):  # type: ignore[no-untyped-def]
    """Whether the padded boundary map has a pixel within the disc around a bit of the word at `place`."""
    first = bit - (spans.size - 1)  # of the window that the spans are laid on
    shift = np.uint64(first & 63)
    above = below = place - np.uintp(first < 0)  # unsigned places spare numba's check for negative ones
    for step in range(spans.size):
        upper = (other[above] >> shift) | ((other[above + np.uintp(1)] << _ONE) << (_LAST - shift))
        lower = (other[below] >> shift) | ((other[below + np.uintp(1)] << _ONE) << (_LAST - shift))
        if (upper | lower) & spans[step]:
            return True
        above -= np.uintp(stride)
        below += np.uintp(stride)
    return False


@_jit
def _count(prediction, truth, due_edge, due, due_places, width, spans):  # type: ignore[no-untyped-def]
    """The six counts of `Counts`."""
    common, either = np.uint64(0), np.uint64(0)
    ours, theirs = prediction.reshape(-1), truth.reshape(-1)
    for k in range(ours.size):
        common += _ones(ours[k] & theirs[k])
        either += _ones(ours[k] | theirs[k])
    if common == either:  # equal masks
        return np.int64(common), np.int64(either), due, due, due, due
    found_edge, found, found_places = _edge(prediction, width, spans.size - 1)
    found_near = due_near = 0
    if found and due:
        stride = truth.shape[1] + 2
        found_near = _near(found_edge, found_places, due_edge, stride, spans)
        due_near = _near(due_edge, due_places, found_edge, stride, spans)
    return np.int64(common), np.int64(either), found, found_near, due, due_near
