"""The official tree, laid out and read back; and trees that somebody else laid out wrongly."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from toys import box, make_davis, moving_box, two_clips, write_frame, write_ids

from curation.layout import materialise, read_official_tree
from icvos.benchmark import Benchmark
from icvos.errors import DataError, UserInputError
from icvos.types import Tube

Icvos = Callable[..., Any]


@pytest.fixture(scope="module")
def official(toy_release: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy release as the official tree; tests must not change it."""
    folder = tmp_path_factory.mktemp("official") / "IC-VOS"
    materialise(Benchmark.open(toy_release), folder)
    return folder


@pytest.fixture
def tree(official: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may break."""
    return Path(shutil.copytree(official, tmp_path / "IC-VOS"))


def listing(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def masks_of(tubes: list[Tube]) -> dict[str, list[Any]]:
    return {f"{tube.clip.name}/{tube.category.name}": [None if mask is None else mask.tolist() for mask in tube.masks()] for tube in tubes}


def test_the_folder_of_a_class_is_its_place_among_the_80_and_not_its_id(official: Path) -> None:
    frames = [f"{number:05d}" for number in range(6)]
    expected = [f"{video}/JPEGImages/{frame}.jpg" for video in ("rex", "tom") for frame in frames]
    # dog is COCO's id 18 and the 17th of 80, cat 17 and the 16th, person 1 and the first
    expected += [
        f"{folder}/{frame}.png" for folder in ("rex/Annotations/17", "tom/Annotations/1", "tom/Annotations/16") for frame in frames
    ]
    assert listing(official) == sorted(expected)


def test_masks_are_one_bit_and_read_as_0_and_1(official: Path, toy_release: Path) -> None:
    for tube in Benchmark.open(toy_release).tubes.values():
        folder = {"dog": "rex/Annotations/17", "cat": "tom/Annotations/16", "person": "tom/Annotations/1"}[tube.category.name]
        for frame, mask in zip(tube.clip.frames, tube.masks(), strict=True):
            path = official / folder / f"{frame.id}.png"
            with Image.open(path) as picture:
                assert picture.mode == "1"
                values = np.array(picture).astype(np.uint8)
            assert set(np.unique(values)) == {0, 1}
            assert np.array_equal(values.astype(np.bool_), mask)
            assert path.read_bytes()[24:26] == b"\x01\x00"  # one bit, grey


def test_frames_are_hard_links_where_that_can_be_and_copies_elsewhere(
    toy_release: Path, toy_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    benchmark = Benchmark.open(toy_release)
    original = toy_data / "DAVIS/JPEGImages/480p/rex/00002.jpg"
    materialise(benchmark, tmp_path / "linked")
    assert (tmp_path / "linked/rex/JPEGImages/00002.jpg").samefile(original)

    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    materialise(benchmark, tmp_path / "copied")
    copy = tmp_path / "copied/rex/JPEGImages/00002.jpg"
    assert not copy.samefile(original)
    assert copy.read_bytes() == original.read_bytes()
    assert listing(tmp_path / "linked") == listing(tmp_path / "copied")


def test_a_frame_that_is_a_symbolic_link_is_followed(toy_release: Path, toy_data: Path, tmp_path: Path) -> None:
    davis = Path(shutil.copytree(toy_data / "DAVIS", tmp_path / "DAVIS"))
    frame = davis / "JPEGImages/480p/rex/00002.jpg"
    frame.rename(davis / "store.jpg")
    frame.symlink_to(os.path.relpath(davis / "store.jpg", frame.parent))
    materialise(Benchmark.open(toy_release, {"davis": davis}), tmp_path / "out/deep")
    laid_out = tmp_path / "out/deep/rex/JPEGImages/00002.jpg"
    assert not laid_out.is_symlink()
    assert laid_out.read_bytes() == (davis / "store.jpg").read_bytes()


def test_an_interrupted_layout_goes_on_where_it_stopped(toy_release: Path, tmp_path: Path) -> None:
    benchmark, folder = Benchmark.open(toy_release), tmp_path / "out"

    def stop(done: int, total: int) -> None:
        assert total == 30
        if done == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        materialise(benchmark, folder, stop)
    there = listing(folder)
    assert all(name.endswith((".jpg", ".png")) and "partial" not in name for name in there)
    times = {name: (folder / name).stat().st_mtime_ns for name in there}
    assert materialise(benchmark, folder) == 30 - len(there)
    assert all((folder / name).stat().st_mtime_ns == time for name, time in times.items())
    assert len(listing(folder)) == 30
    assert materialise(benchmark, folder) == 0


def test_two_sources_with_one_clip_name_get_two_folders(toy_data: Path, tmp_path: Path, icvos: Icvos) -> None:
    davis = make_davis(tmp_path / "DAVIS", two_clips())
    for name in ("rex", "tom"):
        for number, ids in enumerate(moving_box()):
            write_ids(davis / "Annotations_2016/480p" / name / f"{number:05d}.png", ids * 255, "L")
    (davis / "ImageSets/2016").mkdir()
    (davis / "ImageSets/2016/val.txt").write_text("rex\n")
    words = ("--sources", "davis,davis2016", "--davis", davis, "--coco", toy_data / "COCO", "--out", tmp_path / "R", "--materialise")
    said = icvos("build", *words, tmp_path / "tree")
    assert said.code == 0
    assert "42 files laid out" in said.err
    assert sorted(path.name for path in (tmp_path / "tree").iterdir()) == ["davis2016_rex", "davis_rex", "tom"]
    assert len(list(read_official_tree(tmp_path / "tree"))) == 4


def test_a_file_that_is_not_the_releases_is_never_laid_out(toy_release: Path, toy_data: Path, tmp_path: Path) -> None:
    davis = Path(shutil.copytree(toy_data / "DAVIS", tmp_path / "DAVIS"))
    write_frame(davis / "JPEGImages/480p/rex/00002.jpg", 99)
    with pytest.raises(DataError, match=r"not the file that the release names: .*rex/00002\.jpg"):
        materialise(Benchmark.open(toy_release, {"davis": davis}), tmp_path / "out")
    assert not (tmp_path / "out/rex/JPEGImages/00002.jpg").exists()


def test_a_file_in_the_way_is_the_users_error(toy_release: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserInputError, match=r"cannot write: .*file"):
        materialise(Benchmark.open(toy_release), tmp_path / "file")


# There and back


def test_a_tree_read_back_gives_the_same_tubes(official: Path, toy_release: Path) -> None:
    tubes = read_official_tree(official)
    assert [tube.id for tube in tubes] == ["ic-vos/rex/dog", "ic-vos/tom/cat", "ic-vos/tom/person"]
    assert masks_of(tubes) == masks_of(list(Benchmark.open(toy_release).tubes.values()))


def test_importing_twice_gives_the_same_release_wherever_the_tree_lies(
    tree: Path, official: Path, toy_data: Path, tmp_path: Path, icvos: Icvos
) -> None:
    for source, out in ((official, "A"), (tree, "B")):
        said = icvos("import", source, "--coco", toy_data / "COCO", "--out", tmp_path / out)
        assert said.code == 0
        assert "3 tubes imported: ic-vos-imported@1#" in said.out
    for file in ("manifest.json", "episodes.jsonl"):
        assert (tmp_path / "A" / file).read_bytes() == (tmp_path / "B" / file).read_bytes()
    benchmark = Benchmark.open(tmp_path / "A")
    assert masks_of(list(benchmark.tubes.values())) == masks_of(read_official_tree(official))
    assert {tube.clip.encoding for tube in benchmark.tubes.values()} == {"binary"}
    assert icvos("verify", tmp_path / "A").code == 0
    assert icvos("import", official, "--coco", toy_data / "COCO", "--out", tmp_path / "A", "--seed", "x").code == 2


def test_import_speaks_json_on_success_and_on_error(official: Path, toy_data: Path, tmp_path: Path, icvos: Icvos) -> None:
    said = icvos("import", official, "--data", toy_data, "--out", tmp_path / "R", "--json")
    assert json.loads(said.out)["tubes"] == ["davis/rex/dog", "davis/tom/cat", "davis/tom/person"]
    said = icvos("import", tmp_path / "nowhere", "--data", toy_data, "--out", tmp_path / "R", "--json")
    assert (said.code, json.loads(said.out)["exit_code"]) == (2, 2)
    said = icvos("import", official, "--data", toy_data, "--out", tmp_path / "R", "--name", "../x", "--json")
    assert (said.code, json.loads(said.out)["error"]) == (2, "UserInputError")


@pytest.mark.parametrize("high", [1, 255])
def test_masks_of_0_and_255_mean_what_masks_of_0_and_1_mean(tree: Path, official: Path, high: int) -> None:
    for path in tree.glob("*/Annotations/*/*.png"):
        with Image.open(path) as picture:
            values = np.array(picture).astype(np.uint8)
        write_ids(path, values * high, "L")
    assert masks_of(read_official_tree(tree)) == masks_of(read_official_tree(official))


def test_frames_without_a_mask_are_frames_that_are_not_annotated(tree: Path) -> None:
    (tree / "rex/Annotations/17/00003.png").unlink()
    dog = read_official_tree(tree)[0]
    assert [frame.mask is None for frame in dog.clip.frames] == [False, False, False, True, False, False]


def test_frames_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number in (8, 9, 10, 11):
        write_frame(tmp_path / f"rex/JPEGImages/{number}.jpg", number)
        write_ids(tmp_path / f"rex/Annotations/17/{number}.png", box(1, 1, 5, 5), "L")
    (dog,) = read_official_tree(tmp_path)
    assert [frame.id for frame in dog.clip.frames] == ["8", "9", "10", "11"]


def test_every_fault_of_a_broken_tree_is_listed(tree: Path, toy_data: Path, tmp_path: Path, icvos: Icvos) -> None:
    write_ids(tree / "rex/Annotations/17/00001.png", box(0, 0, 5, 5, 1, (24, 41)), "L")
    write_ids(tree / "rex/Annotations/17/00002.png", np.maximum(box(0, 0, 5, 5, 1), box(9, 9, 5, 5, 3)), "L")
    (tree / "rex/Annotations/17/00003.png").write_bytes(b"no picture")
    write_ids(tree / "rex/Annotations/17/00099.png", box(0, 0, 5, 5), "L")
    for folder in ("81", "0", "dog", "017"):
        shutil.copytree(tree / "rex/Annotations/17", tree / "rex/Annotations" / folder)
    (tree / "rex/Annotations/2").mkdir()
    (tree / "rex/JPEGImages/00004.jpg").write_bytes(b"no picture")
    write_frame(tree / "rex/JPEGImages/00005.jpg", 5, (30, 40))
    shutil.rmtree(tree / "tom/Annotations")
    (tree / "empty/JPEGImages").mkdir(parents=True)
    (tree / "rex/Annotations/.DS_Store").touch()
    (tree / ".cache").mkdir()
    said = icvos("import", tree, "--data", toy_data, "--out", tmp_path / "R", "--json")
    assert said.code == 3
    found = {(finding["code"], str(Path(finding["where"]).relative_to(tree))) for finding in json.loads(said.out)["findings"]}
    assert found == {
        ("size", "rex/Annotations/17/00001.png"),
        ("values", "rex/Annotations/17/00002.png"),
        ("unreadable", "rex/Annotations/17/00003.png"),
        ("mask-without-frame", "rex/Annotations/17/00099.png"),
        ("unknown-class", "rex/Annotations/81"),
        ("unknown-class", "rex/Annotations/0"),
        ("unknown-class", "rex/Annotations/dog"),
        ("unknown-class", "rex/Annotations/017"),
        ("frames-without-masks", "rex/Annotations/2"),
        ("unreadable", "rex/JPEGImages/00004.jpg"),
        ("size", "rex/JPEGImages/00005.jpg"),
        ("no-masks", "tom/Annotations"),
        ("no-frames", "empty/JPEGImages"),
    }
    assert not (tmp_path / "R").exists()


def test_a_name_that_cannot_stand_in_a_release_is_told(tree: Path, toy_data: Path, tmp_path: Path, icvos: Icvos) -> None:
    (tree / "rex").rename(tree / "rex#1")
    said = icvos("import", tree, "--coco", toy_data / "COCO", "--out", tmp_path / "R")
    assert said.code == 3
    for word in ("ic-vos/rex#1", "no plain name", "rename"):
        assert word in said.err


@pytest.mark.parametrize("folder", ["DAVIS", "COCO", "."])
def test_another_data_set_is_recognised(toy_data: Path, tmp_path: Path, icvos: Icvos, folder: str) -> None:
    said = icvos("import", toy_data / folder, "--data", toy_data, "--out", tmp_path / "R")
    assert said.code == 3
    for word in ("another data set", str(toy_data), "<video>/JPEGImages/*.jpg", "give the folder that holds the videos"):
        assert word in said.err


def test_no_folder_and_no_coco_are_the_users_errors(
    official: Path, toy_data: Path, tmp_path: Path, icvos: Icvos, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ICVOS_DATA", raising=False)
    said = icvos("import", tmp_path / "nowhere", "--data", toy_data)
    assert (said.code, "no such folder" in said.err) == (2, True)
    said = icvos("import", official)
    assert (said.code, "nobody said where the data is: coco" in said.err) == (2, True)
