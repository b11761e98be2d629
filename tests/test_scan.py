"""The scan of masks: areas against a reference, an index that reads nothing twice and never gives what is no longer there."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from toys import box, make_coco, make_davis, make_mose, moving_box, two_clips, write_ids

from curation.sources import scan as scanning
from curation.sources.mose import Mose
from curation.sources.scan import MaskScan, areas_of_values, scan, scan_masks
from icvos.errors import DataError
from icvos.types import Clip, Frame

Icvos = Callable[..., Any]


@pytest.fixture(autouse=True)
def empty_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An index of the test's own; gives its folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/icvos/scans-1"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Every mask file that is opened for its pixels."""
    opened: list[Path] = []
    read = scanning._read
    monkeypatch.setattr(scanning, "_read", lambda path: (opened.append(path), read(path))[1])
    return opened


def clip_of(folder: Path, masks: list[Any], encoding: Any = "ids") -> Clip:
    paths = [None if ids is None else folder / f"{number}.png" for number, ids in enumerate(masks)]
    for path, ids in zip(paths, masks, strict=True):
        if path:
            write_ids(path, ids)
    frames = (Frame(str(number), folder / f"{number}.jpg", path) for number, path in enumerate(paths))
    return Clip("toy", folder.name, (24, 40), tuple(frames), encoding)


@settings(max_examples=60, deadline=None)
@given(arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=40), elements=st.one_of(st.integers(0, 3), st.integers(0, 255))))
def test_areas_are_those_of_numpy(ids: Any) -> None:
    values, counts = np.unique(ids, return_counts=True)
    expected = {int(value): int(count) for value, count in zip(values, counts, strict=True) if value}
    assert areas_of_values(ids) == expected
    assert list(areas_of_values(ids)) == sorted(expected)
    assert areas_of_values(ids[:, ::-1]) == expected  # a view that is not in one piece


def test_a_scan_says_what_is_there_on_each_frame(tmp_path: Path) -> None:
    both = np.maximum.reduce([box(0, 0, 4, 5, 1), box(10, 10, 2, 3, 7), box(20, 20, 2, 2, 255)])
    clip = clip_of(tmp_path / "x", [both, None, box(0, 0, 0, 0), box(1, 1, 3, 3, 9)])
    found = scan(clip)
    assert found.frames == ({1: 20, 7: 6}, None, {}, {9: 9})
    assert found.objects == (1, 7, 9)


def test_in_a_binary_clip_1_and_255_are_the_one_object(tmp_path: Path) -> None:
    masks = [np.maximum(box(0, 0, 2, 2, 1), box(5, 5, 2, 2, 255)), box(0, 0, 0, 0)]
    assert scan(clip_of(tmp_path / "x", masks, "binary")).frames == ({1: 8}, {})


def test_a_second_scan_reads_no_mask(tmp_path: Path, reads: list[Path]) -> None:
    clip = clip_of(tmp_path / "x", [*moving_box(3), None])
    first = scan(clip)
    assert len(reads) == 3
    reads.clear()
    assert scan(clip) == first
    assert reads == []


def test_a_mask_of_another_size_or_time_is_read_again_and_the_others_are_not(tmp_path: Path, reads: list[Path]) -> None:
    clip = clip_of(tmp_path / "x", moving_box(4))
    scan(clip)
    reads.clear()
    masks = [frame.mask for frame in clip.frames if frame.mask]
    write_ids(masks[1], box(0, 0, 9, 9, 3))
    kept = masks[2].stat()
    masks[2].write_bytes(masks[2].read_bytes().replace(b"IEND", b"IEND"))
    os.utime(masks[2], ns=(kept.st_atime_ns, kept.st_mtime_ns + 1))
    found = scan(clip)
    assert found.frames[1] == {3: 81}
    assert reads == masks[1:3]


def test_the_index_lets_go_of_masks_that_are_gone(tmp_path: Path, reads: list[Path], empty_index: Path) -> None:
    clip = clip_of(tmp_path / "x", moving_box(4))
    scan(clip)
    (index,) = empty_index.iterdir()
    before = index.stat().st_size
    assert len(scan_masks([clip.frames[0].mask, clip.frames[1].mask])) == 2  # type: ignore[list-item]
    assert index.stat().st_size < before


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"palettes": [], "masks": {"0.png": [[1, 2], 1, 1, 0, {}]}}', b"\xff", b'{"masks": 5}']
)
def test_a_broken_index_costs_time_and_nothing_else(tmp_path: Path, empty_index: Path, content: bytes) -> None:
    clip = clip_of(tmp_path / "x", moving_box(2))
    first = scan(clip)
    (index,) = empty_index.iterdir()
    whole = index.read_bytes()
    index.write_bytes(content)
    assert scan(clip) == first
    assert index.read_bytes() == whole


def test_an_index_that_cannot_be_kept_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: list[Path]) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert not scanning.keeps_scans()
    source = Mose(make_mose(tmp_path / "MOSE", {"abc": moving_box(2)}))
    source.index()
    assert reads == []  # nobody would have it
    assert scan(next(source.clips())).objects == (1,)


def test_clips_that_share_a_folder_keep_their_scans_apart(tmp_path: Path, reads: list[Path]) -> None:
    whole = clip_of(tmp_path / "x", moving_box(4))
    halves = [Clip("toy", str(half), (24, 40), whole.frames[half : half + 2]) for half in (0, 2)]
    for _ in range(2):
        assert [scan(half).frames for half in halves] == [({1: 120},) * 2] * 2
    assert len(reads) == 4


def test_all_masks_that_cannot_be_read_are_told_and_read_again_later(tmp_path: Path) -> None:
    clip = clip_of(tmp_path / "x", moving_box(4))
    masks = [frame.mask for frame in clip.frames if frame.mask]
    masks[1].write_bytes(b"")
    masks[3].unlink()
    with pytest.raises(DataError, match=r"masks that cannot be read: .*found 2 faults") as caught:
        scan(clip)
    assert [finding.where for finding in caught.value.findings] == [str(masks[1]), str(masks[3])]
    assert [type(found) for found in scan_masks(masks)] == [MaskScan, DataError, MaskScan, DataError]
    write_ids(masks[1], box(0, 0, 1, 1))
    write_ids(masks[3], box(0, 0, 2, 1))
    assert scan(clip).frames[1::2] == ({1: 1}, {1: 2})


def test_a_build_reads_each_mask_once_and_the_next_build_none(tmp_path: Path, icvos: Icvos, reads: list[Path]) -> None:
    davis = make_davis(tmp_path / "DAVIS", two_clips())
    make_coco(tmp_path / "COCO")
    for expected in (sorted(davis.glob("Annotations/480p/*/*.png")), []):
        assert icvos("build", "--data", tmp_path, "--out", tmp_path / "R").code == 0
        assert sorted(reads) == expected
        reads.clear()
