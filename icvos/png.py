"""Mask PNGs between bytes and arrays: one channel of at most 8 bits, values as they are stored.

Pillow would do, at several times the cost: it inflates with the standard library, scales grey levels of few bits and carries
the palette along. Every fault of the bytes is a `PngError`, and no file can make the reader allocate more than its header and
its own length account for.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from zlib_ng import zlib_ng

from icvos.files import kind_of
from icvos.types import Mask, Size

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_MOST_PIXELS = 1 << 26  # 8192 x 8192
_MOST_INFLATION = 1032  # deflate cannot do better
_IN_ONE_GO = 1 << 16  # a stream up to this length cannot inflate to more than 64 MiB
_COLOURS = {2: "a colour (RGB) PNG", 4: "a grey PNG with transparency", 6: "a colour (RGB) PNG with transparency"}
_SHORTEST = len(_SIGNATURE) + 25 + 12  # bytes of a PNG's signature, header and end mark
_ANIMATION = (b"acTL", b"fcTL", b"fdAT")
_SUB, _UP, _AVERAGE, _PAETH = 1, 2, 3, 4
# Adam7: first row, first column, row step, column step of each pass
_PASSES = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


class PngError(ValueError):
    """Bytes that are not a whole one-channel PNG; the message says in words what they are.

    `kind` is what else they are ("a JPEG"), where their beginning tells; else empty.
    """

    def __init__(self, message: str, kind: str = "") -> None:
        super().__init__(message)
        self.kind = kind


class ValuesError(PngError):
    """A whole PNG whose values are not those of one binary mask."""


class Scanlines(NamedTuple):
    """What a mask PNG holds before its row filters are undone: a filter byte, then packed values, row after row."""

    data: bytes
    size: Size
    depth: int  # bits a value: 1, 2, 4 or 8
    interlaced: bool
    palette: bytes = b""  # red, green and blue of value 0, of 1, and so on; empty where values are grey levels

    @property
    def stride(self) -> int:
        """Bytes of a row of a PNG that is not interlaced, its filter byte included."""
        return 1 + _row_bytes(self.size[1], self.depth)


def decode_png(data: bytes) -> NDArray[np.uint8]:
    """The values of a greyscale or palette PNG as stored (palette indices, grey levels not scaled), (H, W) uint8.

    Raises:
        PngError: the bytes are anything else.
    """
    return np.array(values_of(read_scanlines(data)))  # a copy: the values may be a view of bytes


def encode_png(mask: Mask) -> bytes:
    """A mask, (H, W) bool, as a 1-bit greyscale PNG; the same mask gives the same bytes.

    zlib-ng's level 6 gives smaller files than zlib's own, in two fifths of the time.

    Raises:
        ValueError: the mask has not two dimensions or no pixel.
    """
    if mask.ndim != 2 or not mask.size:
        raise ValueError(f"a mask of shape {mask.shape}: expected (height, width), both at least 1")
    height, width = mask.shape
    rows = np.zeros((height, 1 + _row_bytes(width, 1)), np.uint8)  # filter 0: on packed masks every other one is larger
    rows[:, 1:] = np.packbits(mask, axis=1)
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return _SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib_ng.compress(rows.tobytes(), 6)) + _chunk(b"IEND", b"")


def read_scanlines(data: bytes, *, alone: bool = False) -> Scanlines:
    """Check and inflate a PNG of one channel; `alone`: it must be one picture and nothing behind it.

    Raises:
        PngError: the bytes are anything else.
    """
    chunks = _chunks(data)
    size, depth, interlaced = _first(chunks)
    parts, palette, end = [], b"", _SHORTEST
    for kind, body in chunks:
        end += 12 + len(body)
        if kind == b"IDAT":
            parts.append(body)
        elif kind == b"PLTE":
            palette = body
        elif alone and kind in _ANIMATION:
            raise PngError("an animated PNG")
    if alone and end < len(data):
        raise PngError(f"{len(data) - end} bytes behind the end of the picture")
    if interlaced:
        expected = sum(height * (1 + _row_bytes(width, depth)) for height, width in _pass_sizes(size))
    else:
        expected = size[0] * (1 + _row_bytes(size[1], depth))
    return Scanlines(_inflate(b"".join(parts), expected), size, depth, interlaced, palette)


def png_size(data: bytes) -> Size:
    """The size that the header of a one-channel PNG says; nothing is inflated.

    Raises:
        PngError: it does not begin as one.
    """
    return _first(_chunks(data))[0]


def _first(chunks: Iterator[tuple[bytes, bytes]]) -> tuple[Size, int, bool]:
    """What the header says, which is the first chunk: size, bits a value and whether it is interlaced."""
    kind, body = next(chunks, (b"", b""))
    if kind != b"IHDR" or len(body) != 13:
        raise PngError("a PNG without a header")
    return _header(body)


def without_chunks(data: bytes, kinds: Collection[bytes]) -> bytes:
    """A PNG of any colours without its chunks of these kinds; the rest stays to the byte.

    Raises:
        PngError: it is damaged.
    """
    kept = b"".join(_chunk(kind, body) for kind, body in _chunks(data) if kind not in kinds)
    return _SIGNATURE + kept + _chunk(b"IEND", b"")


def values_of(scanlines: Scanlines) -> NDArray[np.uint8]:
    """The stored values, (H, W) uint8, perhaps a read-only view of the scanlines' bytes.

    Raises:
        PngError: a row filter that PNG does not know.
    """
    size, depth = scanlines.size, scanlines.depth
    if not scanlines.interlaced:
        return _unpacked(unfiltered(scanlines.data, size[0], scanlines.stride), size[1], depth)
    values = np.empty(size, np.uint8)
    start = 0
    for (top, left, down, right), (height, width) in zip(_PASSES, _pass_sizes(size), strict=True):
        stride = 1 + _row_bytes(width, depth)
        if height and width:
            rows = unfiltered(scanlines.data[start : start + height * stride], height, stride)
            values[top::down, left::right] = _unpacked(rows, width, depth)
            start += height * stride
    return values


def unfiltered(data: bytes, height: int, stride: int) -> NDArray[np.uint8]:
    """The packed values of `height` rows, (height, stride - 1) uint8, their filters undone; a view if there are none.

    Raises:
        PngError: a row filter that PNG does not know.
    """
    rows = np.frombuffer(data, np.uint8).reshape(height, stride)
    filters = rows[:, 0]
    if not filters.any():
        return rows[:, 1:]
    if filters.max() > _PAETH:
        raise PngError(f"a damaged PNG (row filter {filters.max()})")
    values = rows[:, 1:].copy()
    # A byte is a pixel or several, never less, so that the left neighbour is one byte back.
    alone = np.flatnonzero(filters == _SUB)
    values[alone] = np.add.accumulate(values[alone], axis=1, dtype=np.uint8)
    for place in np.flatnonzero(filters > _SUB).tolist():  # these need the row above them, which is done by then
        row, above = values[place], values[place - 1] if place else np.zeros_like(values[0])
        _UNDO[int(filters[place])](row, above)
    return values


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Type and body of each chunk up to the end mark, their checksums proved."""
    if not data.startswith(_SIGNATURE):
        if _SIGNATURE.startswith(data):
            raise PngError("truncated file" if data else "an empty file")
        kind = kind_of(data)
        raise PngError(f"{f'{kind}, ' if kind else ''}not a PNG (starts with {data[:8]!r})", kind)
    position = len(_SIGNATURE)
    while True:
        if position + 12 > len(data):
            raise PngError("truncated file")
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 8 + length
        if end + 4 > len(data):
            raise PngError("truncated file")
        if zlib_ng.crc32(data[position + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            raise PngError(f"a damaged PNG (checksum of its {kind!r} part)")
        if kind == b"IEND":
            return
        yield kind, data[position + 8 : end]
        position = end + 4


def _header(body: bytes) -> tuple[Size, int, bool]:
    """Size, bits a value and whether it is interlaced."""
    width, height, depth, colour, compression, filtering, interlace = struct.unpack(">IIBBBBB", body)
    if not width or not height:
        raise PngError(f"a PNG without pixels ({height} x {width})")
    if width * height > _MOST_PIXELS:
        raise PngError(f"a PNG of {height} x {width} pixels, more than the {_MOST_PIXELS} that are read")
    if colour in _COLOURS:
        raise PngError(_COLOURS[colour])
    if colour not in (0, 3) or compression or filtering or interlace > 1:
        raise PngError("a damaged PNG (its header)")
    if depth == 16 and colour == 0:
        raise PngError("16 bits a value")
    if depth not in (1, 2, 4, 8):
        raise PngError(f"a damaged PNG ({depth} bits a value)")
    return (height, width), depth, bool(interlace)


def _inflate(stream: bytes, expected: int) -> bytes:
    """The inflated stream, which must be of the expected length."""
    if len(stream) * _MOST_INFLATION < expected:  # before anything is allocated
        raise PngError("truncated file (too few pixel data)")
    try:
        if len(stream) <= _IN_ONE_GO:
            # Room to spare: with none left, the library would double the buffer to find out that the stream has ended.
            data: bytes = zlib_ng.decompress(stream, 15, expected + 64)
        else:
            inflater = zlib_ng.decompressobj()
            data = inflater.decompress(stream, expected + 1)
            if len(data) == expected and not inflater.eof:
                raise PngError("a damaged PNG (pixel data without an end)")
    except zlib_ng.error as error:  # type: ignore[misc]  # its stub calls it an instance
        raise PngError(f"a damaged PNG ({error})") from error
    if len(data) != expected:
        raise PngError(f"a damaged PNG (too {'few' if len(data) < expected else 'many'} pixel data)")
    return data


def _undo_up(row: NDArray[np.uint8], above: NDArray[np.uint8]) -> None:
    np.add(row, above, out=row)


def _undo_average(row: NDArray[np.uint8], above: NDArray[np.uint8]) -> None:
    left, done = 0, []
    for value, up in zip(row.tolist(), above.tolist(), strict=True):
        left = (value + (left + up) // 2) & 255
        done.append(left)
    row[:] = done


def _undo_paeth(row: NDArray[np.uint8], above: NDArray[np.uint8]) -> None:
    """Where the filtered byte is 0 and the row above does not change, the left neighbour goes on: only other places are worked out."""
    filtered, over = row.tobytes(), above.tobytes()
    changes = (above[1:] != above[:-1]).nonzero()[0] + 1
    places = sorted({0, *row.nonzero()[0].tolist(), *changes.tolist()})
    left = 0
    for place, following in zip(places, [*places[1:], len(filtered)], strict=True):
        up = over[place]
        corner = over[place - 1] if place else 0
        left = (filtered[place] + _paeth(left, up, corner)) & 255
        row[place:following] = left


def _paeth(left: int, up: int, corner: int) -> int:
    if left == up or up == corner:  # in masks nearly always
        return left
    if left == corner:
        return up
    to_left, to_up, to_corner = abs(up - corner), abs(left - corner), abs(left + up - 2 * corner)
    if to_left <= to_up and to_left <= to_corner:
        return left
    return up if to_up <= to_corner else corner


_UNDO = {_UP: _undo_up, _AVERAGE: _undo_average, _PAETH: _undo_paeth}  # in place


def _unpacked(rows: NDArray[np.uint8], width: int, depth: int) -> NDArray[np.uint8]:
    """One value a pixel, (H, W), out of rows of packed ones."""
    if depth == 8:
        return rows
    if depth == 1:
        return np.unpackbits(rows, axis=1, count=width)
    shifts = np.arange(8 - depth, -1, -depth, dtype=np.uint8)
    values = rows[:, :, None] >> shifts & np.uint8((1 << depth) - 1)
    return values.reshape(len(rows), -1)[:, :width]


def _row_bytes(width: int, depth: int) -> int:
    return (width * depth + 7) // 8


def _pass_sizes(size: Size) -> list[Size]:
    """The size of each Adam7 pass; a pass without columns has no rows either."""
    sizes = [((size[0] - top + down - 1) // down, (size[1] - left + right - 1) // right) for top, left, down, right in _PASSES]
    return [(height, width) if height > 0 and width > 0 else (0, 0) for height, width in sizes]


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib_ng.crc32(kind + body))
