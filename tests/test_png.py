"""The mask codec: every layout that PNG knows, against Pillow and by hand; and no bytes that bring anything but a PngError."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from icvos.png import PngError, decode_png, encode_png, read_scanlines

SIGNATURE = b"\x89PNG\r\n\x1a\n"
SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, max_side=70)
PASSES = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def header(width: int, height: int, depth: int = 8, colour: int = 0, interlace: int = 0) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace))


def png(head: bytes, scanlines: bytes, parts: int = 1) -> bytes:
    stream = zlib.compress(scanlines)
    cut = -(-len(stream) // parts)
    body = b"".join(chunk(b"IDAT", stream[start : start + cut]) for start in range(0, len(stream), cut))
    return SIGNATURE + head + chunk(b"tEXt", b"a\0b") + body + chunk(b"IEND", b"")


def packed(values: np.ndarray, depth: int) -> np.ndarray:
    """Rows of bytes, the first value in the highest bits."""
    if depth == 8:
        return values
    bits = (values[:, :, None] >> np.arange(depth - 1, -1, -1)) & 1
    return np.packbits(bits.reshape(len(values), -1).astype(np.uint8), axis=1)


def filtered(rows: np.ndarray, kinds: list[int]) -> bytes:
    """Scanlines, each with the filter asked for, worked out value by value from the definition."""
    out = bytearray()
    height, width = rows.shape
    for y in range(height):
        out.append(kinds[y])
        for x in range(width):
            a = int(rows[y, x - 1]) if x else 0
            b = int(rows[y - 1, x]) if y else 0
            c = int(rows[y - 1, x - 1]) if x and y else 0
            paeth = min((a, b, c), key=lambda near: abs(a + b - c - near))
            out.append((int(rows[y, x]) - (0, a, b, (a + b) // 2, paeth)[kinds[y]]) % 256)
    return bytes(out)


@st.composite
def layouts(draw: st.DrawFn) -> tuple[np.ndarray, int, list[int]]:
    """Values, bits a value, and a filter for each row; smooth enough that long runs of equal bytes occur."""
    depth = draw(st.sampled_from([1, 2, 4, 8]))
    shape = draw(st.tuples(st.integers(1, 12), st.integers(1, 150)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    levels = rng.integers(0, 1 << depth, 4)
    steps = rng.random(shape) < draw(st.sampled_from([0.0, 0.02, 0.9]))
    values = levels[np.cumsum(steps, axis=1) % 4].astype(np.uint8)
    return values, depth, draw(st.lists(st.integers(0, 4), min_size=shape[0], max_size=shape[0]))


@given(layouts(), st.sampled_from([0, 3]), st.integers(1, 3))
@settings(max_examples=150, deadline=None)
def test_every_filter_and_depth(layout: tuple[np.ndarray, int, list[int]], colour: int, parts: int) -> None:
    values, depth, kinds = layout
    data = png(header(values.shape[1], values.shape[0], depth, colour), filtered(packed(values, depth), kinds), parts)
    decoded = decode_png(data)
    assert decoded.dtype == np.uint8 and decoded.flags.writeable
    np.testing.assert_array_equal(decoded, values)


@given(layouts())
@settings(max_examples=60, deadline=None)
def test_interlaced(layout: tuple[np.ndarray, int, list[int]]) -> None:
    values, depth, kinds = layout
    scanlines = b""
    for top, left, down, right in PASSES:
        part = values[top::down, left::right]
        scanlines += filtered(packed(part, depth), kinds * len(part)) if part.size else b""
    np.testing.assert_array_equal(decode_png(png(header(values.shape[1], values.shape[0], depth, 0, 1), scanlines)), values)


@pytest.mark.parametrize("mode", ["L", "P", "1"])
@given(hnp.arrays(np.uint8, SHAPES, elements=st.sampled_from([0, 1, 2, 255])))
@settings(max_examples=30, deadline=None)
def test_reads_what_pillow_writes(mode: str, values: np.ndarray) -> None:
    image = Image.fromarray(values if mode != "1" else values > 0)
    if mode == "P":
        image.putpalette(list(range(256)) * 3)
    stream = io.BytesIO()
    image.save(stream, "PNG")
    np.testing.assert_array_equal(decode_png(stream.getvalue()), values > 0 if mode == "1" else values)


@given(hnp.arrays(np.bool_, SHAPES))
@settings(max_examples=50, deadline=None)
def test_pillow_reads_what_we_write(mask: np.ndarray) -> None:
    data = encode_png(mask)
    assert data == encode_png(np.asfortranarray(mask))
    with Image.open(io.BytesIO(data)) as image:
        assert image.mode == "1"
        np.testing.assert_array_equal(np.asarray(image), mask)
    np.testing.assert_array_equal(decode_png(data), mask)


def test_a_mask_of_a_video_is_small() -> None:
    y, x = np.ogrid[:480, :854]
    wobble = 12 * np.sin(np.arctan2(y - 240, x - 427) * 9)
    assert len(encode_png(np.hypot(y - 240, x - 427) < 150 + wobble)) < 1300


@pytest.mark.parametrize("shape", [(0, 4), (4, 0), (4,), (1, 2, 3)])
def test_no_mask_to_write(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected \\(height, width\\)"):
        encode_png(np.zeros(shape, np.bool_))


ROWS = b"\0\1\2" * 2  # two rows of two values

FAULTS = {
    "an empty file": b"",
    "truncated file": SIGNATURE[:5],
    r"not a PNG \(starts with b'\\xff\\xd8\\xff": b"\xff\xd8\xff\xe0 a JPEG",
    "truncated file.*": png(header(2, 2), ROWS)[:-1],
    "a PNG without a header": SIGNATURE + chunk(b"IEND", b""),
    r"a PNG without pixels \(0 x 2\)": png(header(2, 0), b""),
    r"100000 x 100000 pixels": png(header(100_000, 100_000), b""),
    r"a colour \(RGB\) PNG$": png(header(2, 2, 8, 2), b"\0" * 14),
    "a grey PNG with transparency": png(header(2, 2, 8, 4), b"\0" * 10),
    r"a colour \(RGB\) PNG with transparency": png(header(2, 2, 8, 6), b"\0" * 18),
    "16 bits a value": png(header(2, 2, 16), b"\0" * 10),
    "3 bits a value": png(header(2, 2, 3), ROWS),
    "its header": png(header(2, 2, 8, 7), ROWS),
    "row filter 5": png(header(2, 2), b"\5\1\2" * 2),
    "too few": png(header(2, 2), ROWS[:-1]),
    "too many": png(header(2, 2), ROWS + b"\0"),
    "too few pixel data": SIGNATURE + header(8000, 8000) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b""),
    "checksum of its b'IHDR' part": png(header(2, 2)[:-1] + b"\0", ROWS),
    "a damaged PNG": SIGNATURE + header(2, 2) + chunk(b"IDAT", b"not deflated") + chunk(b"IEND", b""),
}


@pytest.mark.parametrize("message", FAULTS)
def test_faults_are_named(message: str) -> None:
    with pytest.raises(PngError, match=message):
        decode_png(FAULTS[message])


@pytest.mark.parametrize("zeros", [10_000_000, 100_000_000])
def test_a_bomb_is_refused(zeros: int) -> None:
    with pytest.raises(PngError, match="too many pixel data"):
        decode_png(png(header(2, 2), b"\0" * zeros))


def test_a_long_stream_must_be_whole() -> None:
    values = np.random.default_rng(0).integers(0, 256, (400, 400), dtype=np.uint8)
    scanlines = np.pad(values, ((0, 0), (1, 0))).tobytes()
    np.testing.assert_array_equal(decode_png(png(header(400, 400), scanlines)), values)
    for fault in (scanlines[:-1], scanlines + b"\0"):
        with pytest.raises(PngError, match=r"too (few|many)"):
            decode_png(png(header(400, 400), fault))
    stream = zlib.compress(scanlines)
    with pytest.raises(PngError, match="without an end"):
        decode_png(SIGNATURE + header(400, 400) + chunk(b"IDAT", stream[:-2]) + chunk(b"IEND", b""))


def decodes_or_names_the_fault(data: bytes) -> None:
    try:
        assert decode_png(data).ndim == 2
    except PngError as error:
        assert str(error)


@given(st.binary(max_size=300), st.booleans())
@settings(max_examples=300, deadline=None)
def test_any_bytes(data: bytes, signed: bool) -> None:
    decodes_or_names_the_fault(SIGNATURE * signed + data)


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_damaged_files(data: st.DataObject) -> None:
    """Bytes changed, cut or put in, and the checksums put right again so that the damage gets past them."""
    values = np.arange(99, dtype=np.uint8).reshape(9, 11)
    damaged = bytearray(png(header(11, 9, 8, 0, data.draw(st.integers(0, 1))), filtered(values, [0, 1, 2, 3, 4, 0, 1, 2, 3])))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(8, len(damaged) - 1))
        damaged[place : place + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    if data.draw(st.booleans()):
        place = 8
        while place + 12 <= len(damaged):
            end = place + 8 + int.from_bytes(damaged[place : place + 4], "big")
            damaged[end : end + 4] = zlib.crc32(damaged[place + 4 : end]).to_bytes(4, "big")
            place = end + 4
    decodes_or_names_the_fault(bytes(damaged))


@given(layouts(), st.integers(0, 400))
@settings(max_examples=60, deadline=None)
def test_truncated_files(layout: tuple[np.ndarray, int, list[int]], length: int) -> None:
    values, depth, kinds = layout
    data = png(header(values.shape[1], values.shape[0], depth), filtered(packed(values, depth), kinds))
    if length < len(data):
        with pytest.raises(PngError):
            decode_png(data[:length])


def test_the_palette_comes_with_the_scanlines_and_is_empty_for_grey() -> None:
    ids = np.array([[0, 1], [2, 1]], np.uint8)
    picture, grey = io.BytesIO(), io.BytesIO()
    painted = Image.frombytes("P", (2, 2), ids.tobytes())
    painted.putpalette([0, 0, 0, 10, 20, 30, 40, 50, 60])
    painted.save(picture, "PNG")
    Image.fromarray(ids).save(grey, "PNG")
    assert read_scanlines(picture.getvalue()).palette[:9] == bytes([0, 0, 0, 10, 20, 30, 40, 50, 60])
    assert read_scanlines(grey.getvalue()).palette == b""
