"""Masks between files, arrays and run lengths, against pycocotools and against drawing by other libraries."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image, ImageDraw
from pycocotools import mask as coco_mask
from toys import box, write_frame, write_ids

from icvos.errors import DataError
from icvos.masks import (
    check_rle,
    decode_rle,
    encode_rle,
    foreground_values,
    image_size,
    read_ids,
    read_image,
    read_tube_mask,
    read_tube_masks,
    resize_nearest,
    rle_area,
    union_of_objects,
    union_of_segmentations,
)
from icvos.types import RLE, Category, Clip, Frame, Mask, Tube

MASKS = hnp.arrays(np.bool_, st.tuples(st.integers(1, 20), st.integers(1, 20)))
SIZE = (40, 60)


def blob(seed: int) -> Mask:
    """A mask with some hundred runs."""
    smooth = cv2.GaussianBlur(np.random.default_rng(seed).random((90, 130)).astype(np.float32), (0, 0), 3)
    return np.asarray(smooth > 0.5)


@given(MASKS)
def test_run_lengths_round_trip_and_are_those_of_pycocotools(mask: Mask) -> None:
    rle = encode_rle(mask)
    assert rle.counts.encode() == coco_mask.encode(np.asfortranarray(mask, np.uint8))["counts"]
    check_rle(rle)
    assert np.array_equal(decode_rle(rle), mask)
    assert rle_area(rle) == np.count_nonzero(mask)


@pytest.mark.parametrize("seed", range(3))
def test_long_run_lengths_pass_the_check(seed: int) -> None:
    mask = blob(seed)
    check_rle(encode_rle(mask))
    large = np.zeros((3000, 4000), np.bool_)
    large[10:2990, 7:3900] = True
    check_rle(encode_rle(large))


@given(MASKS, st.integers(1, 25), st.integers(1, 25))
def test_run_lengths_of_another_size_do_not_pass(mask: Mask, height: int, width: int) -> None:
    rle = RLE((height, width), encode_rle(mask).counts)
    if height * width == mask.size:
        check_rle(rle)
    else:
        with pytest.raises(ValueError, match=f"run lengths of {mask.size} pixels for a mask of {height} x {width}"):
            check_rle(rle)


@given(MASKS, st.data())
def test_broken_off_run_lengths_never_pass_wrongly(mask: Mask, data: st.DataObject) -> None:
    counts = encode_rle(mask).counts
    cut = counts[: data.draw(st.integers(0, len(counts) - 1))]
    with pytest.raises(ValueError, match="run length"):
        check_rle(RLE((mask.shape[0], mask.shape[1]), cut))


@settings(max_examples=300)
@given(st.text(max_size=40) | st.text("01234OPQRSTo`n", max_size=40), st.integers(1, 30), st.integers(1, 30))
def test_what_passes_the_check_decodes_into_the_sum_of_its_runs(counts: str, height: int, width: int) -> None:
    rle = RLE((height, width), counts)
    try:
        check_rle(rle)
    except ValueError:
        return
    first, second = decode_rle(rle), decode_rle(rle)
    assert first.shape == (height, width)
    assert np.array_equal(first, second)
    assert rle_area(rle) == np.count_nonzero(first)


def test_a_run_length_without_end_is_refused_at_once() -> None:
    started = time.perf_counter()
    with pytest.raises(ValueError, match="without end"):
        check_rle(RLE(SIZE, "o" * 2_000_000))
    assert time.perf_counter() - started < 1


def test_a_union_of_polygons_is_what_drawing_gives_but_for_the_outline() -> None:
    star = [30, 2, 36, 16, 55, 16, 40, 25, 46, 38, 30, 29, 14, 38, 20, 25, 5, 16, 24, 16]
    square = [2, 25, 18, 25, 18, 38, 2, 38]
    union = decode_rle(union_of_segmentations([[star], [square]], SIZE))
    drawn = Image.new("1", (SIZE[1], SIZE[0]))
    filled = np.zeros(SIZE, np.uint8)
    for polygon in (star, square):
        ImageDraw.Draw(drawn).polygon(polygon, fill=1)
        cv2.fillPoly(filled, [np.array(polygon, np.int32).reshape(-1, 2)], 1)
    for other in (np.asarray(drawn), filled.astype(np.bool_)):
        outline = cv2.morphologyEx(other.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
        assert not ((union != other) & ~outline).any()
        assert np.count_nonzero(union & other) / np.count_nonzero(union | other) > 0.85
    alone = decode_rle(union_of_segmentations([[star]], SIZE)) | decode_rle(union_of_segmentations([[square]], SIZE))
    assert np.array_equal(union, alone)


@given(MASKS, st.integers(0, 2**32 - 1))
def test_a_union_of_run_lengths_is_the_union_of_the_masks(mask: Mask, seed: int) -> None:
    other = np.random.default_rng(seed).random(mask.shape) > 0.5
    size = (mask.shape[0], mask.shape[1])
    compressed = {"size": list(size), "counts": encode_rle(mask).counts}
    column_wise = other.ravel(order="F")
    edges = np.flatnonzero(np.diff(np.concatenate([[False], column_wise])))
    counts = np.diff(np.concatenate([[0], edges, [column_wise.size]])).tolist()
    union = union_of_segmentations([compressed, {"size": list(size), "counts": counts}], size)
    assert union.size == size
    assert np.array_equal(decode_rle(union), mask | other)


def test_the_union_of_nothing_is_empty() -> None:
    for nothing in ([], [[]], [[], []]):
        assert not decode_rle(union_of_segmentations(nothing, SIZE)).any()


@pytest.mark.parametrize(
    "segmentation",
    [
        None,
        "polygon",
        5,
        [5, 5, 9, 5, 9, 9],
        [[]],
        [[1, 2]],
        [[1, 2, 3, 4]],
        [[1, 2, 3, 4, 5, 6, 7]],
        [[1, 2, 3, 4, 5, "6"]],
        [[1, 2, 3, 4, 5, float("nan")]],
        [[1, 2, 3, 4, 5, 1e300]],
        [[0, 0, 5e8, 0, 5e8, 5e8]],
        [[0, 0, 9, 0, 9, 9], "more"],
        {},
        {"size": [40, 60]},
        {"counts": [2400]},
        {"size": [40, 60], "counts": None},
        {"size": [40, 60], "counts": [2399]},
        {"size": [40, 60], "counts": [2400, 1]},
        {"size": [40, 60], "counts": [-5, 2405]},
        {"size": [40, 60], "counts": [2400.0]},
        {"size": [60, 40], "counts": [2400]},
        {"size": [1, 1], "counts": "1"},
        {"size": [40, 60], "counts": "!!"},
        {"size": [40, 60], "counts": "ä"},
        {"size": [40, 60], "counts": "0"},
    ],
)
def test_a_malformed_segmentation_is_a_value_error_and_never_somebody_elses_memory(segmentation: Any) -> None:
    with pytest.raises(ValueError, match=r"polygon|run length|segmentation|in run|ascii"):
        union_of_segmentations([segmentation], SIZE)


@given(MASKS, st.integers(1, 30), st.integers(1, 30))
def test_the_nearest_pixel_is_the_one_of_the_definition(mask: Mask, height: int, width: int) -> None:
    resized = resize_nearest(mask, (height, width))
    assert resized.shape == (height, width)
    assert all(
        resized[row, column] == mask[row * mask.shape[0] // height, column * mask.shape[1] // width]
        for row in range(height)
        for column in range(width)
    )
    assert np.array_equal(resize_nearest(mask, (mask.shape[0], mask.shape[1])), mask)


def test_resizing_to_512_is_what_the_released_loader_does() -> None:
    mask = blob(7)
    expected = cv2.resize(mask.astype(np.uint8), (512, 512), interpolation=cv2.INTER_NEAREST)
    assert np.array_equal(resize_nearest(mask, (512, 512)), expected.astype(np.bool_))


def test_255_is_void_beside_ids_and_foreground_in_a_binary_mask() -> None:
    assert np.flatnonzero(foreground_values((2, 7), "ids")).tolist() == [2, 7]
    assert np.flatnonzero(foreground_values((1,), "binary")).tolist() == [1, 255]


@given(
    hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.sampled_from([0, 1, 2, 3, 20, 254, 255])),
    st.sets(st.integers(1, 254), max_size=20).map(lambda found: tuple(sorted(found))),
)
def test_a_union_of_few_or_many_objects_is_what_the_table_says(ids: np.ndarray, objects: tuple[int, ...]) -> None:
    for encoding in ("ids", "binary"):
        mask = union_of_objects(ids, objects, encoding)
        assert mask.dtype == np.bool_
        assert np.array_equal(mask, foreground_values(objects, encoding)[ids])


def test_the_masks_of_several_tubes_of_a_frame_are_those_of_each(tmp_path: Path) -> None:
    write_ids(tmp_path / "0.png", np.maximum(box(5, 2, 10, 12, 4), box(16, 20, 6, 10, 2)))
    frame = Frame("0", tmp_path / "0.jpg", tmp_path / "0.png")
    clip = Clip("s", "c", (24, 40), (frame,))
    tubes = [Tube(clip, Category(18, "dog"), (4,)), Tube(clip, Category(1, "person"), (2,)), Tube(clip, Category(17, "cat"), (9,))]
    masks = read_tube_masks(tubes, frame)
    assert [int(mask.sum()) for mask in masks] == [120, 60, 0]
    assert all(np.array_equal(mask, read_tube_mask(tube, frame)) for mask, tube in zip(masks, tubes, strict=True))


def test_a_jpeg_may_be_decoded_smaller_but_never_too_small(tmp_path: Path) -> None:
    write_frame(tmp_path / "a.jpg", 3, (480, 854))
    whole = read_image(tmp_path / "a.jpg")
    for at_least, found in (((240, 427), (240, 427)), ((241, 300), (480, 854)), ((100, 200), (120, 214)), ((600, 900), (480, 854))):
        small = read_image(tmp_path / "a.jpg", at_least=at_least)
        assert small.shape == (*found, 3)
        factor = round(480 / found[0])
        middle = whole[8 * factor : 16 * factor, 8 * factor : 16 * factor].mean(axis=(0, 1))
        assert np.abs(small[8:16, 8:16].mean(axis=(0, 1)) - middle).max() < 4


def tube_of(mask: Path | None, image: Path = Path("x.jpg"), size: tuple[int, int] = (24, 40)) -> Tube:
    return Tube(Clip("davis", "rex", size, (Frame("0", image, mask),)), Category(18, "dog"), (1, 3))


def test_a_tubes_mask_is_the_union_of_its_objects(tmp_path: Path) -> None:
    ids = np.maximum.reduce([box(0, 0, 5, 5, 1), box(10, 10, 5, 5, 2), box(15, 20, 5, 5, 3), box(20, 0, 4, 4, 255)])
    write_ids(tmp_path / "0.png", ids)
    (mask,) = tube_of(tmp_path / "0.png").masks()
    assert mask is not None
    assert np.array_equal(mask, (ids == 1) | (ids == 3))
    assert list(tube_of(None).masks()) == [None]


def test_a_mask_of_another_size_than_its_clip_is_a_fault_of_the_data(tmp_path: Path) -> None:
    write_ids(tmp_path / "0.png", box(0, 0, 5, 5))
    tube = tube_of(tmp_path / "0.png", size=(24, 41))
    with pytest.raises(DataError, match=r"another size than its clip: .*0\.png: found 24 x 40, expected 24 x 41"):
        read_tube_mask(tube, tube.clip.frames[0])


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0 broken"])
def test_unreadable_pictures_are_faults_of_the_data_with_their_path(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "picture"
    path.write_bytes(content)
    for read in (read_image, image_size, read_ids):
        with pytest.raises(DataError, match=r"cannot read the (image|mask): .*picture: found .*expected .*; fetch it again"):
            read(path)
        with pytest.raises(DataError, match=r"no such file: .*nowhere"):
            read(tmp_path / "nowhere")


def test_a_picture_that_breaks_off_is_a_fault_of_the_data(tmp_path: Path) -> None:
    write_frame(tmp_path / "0.jpg", 0, (200, 300))
    whole = (tmp_path / "0.jpg").read_bytes()
    (tmp_path / "0.jpg").write_bytes(whole[: len(whole) // 2])
    assert image_size(tmp_path / "0.jpg") == (200, 300)
    with pytest.raises(DataError, match=r"cannot read the image: .*0\.jpg"):
        read_image(tmp_path / "0.jpg")


def test_a_picture_is_rgb_whatever_it_was(tmp_path: Path) -> None:
    Image.new("L", (7, 5), 9).save(tmp_path / "grey.png")
    picture = read_image(tmp_path / "grey.png")
    assert picture.shape == (5, 7, 3)
    assert picture.dtype == np.uint8
    assert (picture == 9).all()
