"""Official trees matched to the sources that they were made of: named where it is certain, kept and told where it is not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from toys import box, make_coco, make_davis, make_lvos, make_mose, moving_box, two_clips, write_frame, write_ids

from curation.layout import materialise, read_official_tree
from curation.matching import match_sources
from curation.sources.davis import Davis2016, Davis2017
from curation.sources.mose import Mose, Mose2
from icvos.benchmark import Benchmark

Icvos = Callable[..., Any]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """DAVIS and COCO, as toys; the two clips of DAVIS have frames of their own."""
    davis = make_davis(tmp_path / "data/DAVIS", two_clips())
    for number in range(6):
        write_frame(davis / f"JPEGImages/480p/tom/{number:05d}.jpg", number + 20)
    make_coco(tmp_path / "data/COCO")
    return tmp_path / "data"


@pytest.fixture
def built(icvos: Icvos, data: Path, tmp_path: Path) -> Benchmark:
    """A release of them."""
    assert icvos("build", "--data", data, "--out", tmp_path / "built").code == 0
    return Benchmark.open(tmp_path / "built")


@pytest.fixture
def tree(built: Benchmark, tmp_path: Path) -> Path:
    """The release as somebody else's official tree: copies, not links."""
    materialise(built, tmp_path / "linked")
    return Path(shutil.copytree(tmp_path / "linked", tmp_path / "IC-VOS"))


def imported(icvos: Icvos, tree: Path, data: Path, out: Path, *words: object) -> dict[str, Any]:
    said = icvos("import", tree, "--data", data, "--out", out, "--json", *words)
    assert said.code == 0, said.err
    report: dict[str, Any] = json.loads(said.out)
    return report


def renumber(tree: Path, video: str) -> None:
    """Frames from 100 on, without leading zeros, under another name of the video."""
    for folder in (tree / video / "JPEGImages", *(tree / video / "Annotations").iterdir()):
        for place, path in enumerate(sorted(folder.iterdir()), 100):
            path.rename(path.with_name(f"{place}{path.suffix}"))
    (tree / video).rename(tree / "video_0007")


def test_a_tree_of_known_frames_gives_the_manifest_that_a_build_gives(
    icvos: Icvos, tree: Path, data: Path, built: Benchmark, tmp_path: Path
) -> None:
    renumber(tree, "tom")
    report = imported(icvos, tree, data, tmp_path / "R")
    assert report["clips"] == [
        {"clip": "ic-vos/rex", "source_clip": "davis/rex", "frames": 6, "matched": 6, "reason": ""},
        {"clip": "ic-vos/video_0007", "source_clip": "davis/tom", "frames": 6, "matched": 6, "reason": ""},
    ]
    assert report["tubes"] == ["davis/rex/dog", "davis/tom/cat", "davis/tom/person"]
    found = Benchmark.open(tmp_path / "R")
    assert found.manifest.clips == built.manifest.clips
    assert found.manifest.sources == built.manifest.sources
    assert found.records == built.records
    assert set(found.roots) == {"davis", "coco"}
    assert icvos("verify", tmp_path / "R").code == 0


def test_people_are_told_how_many_frames_of_each_clip_were_found(icvos: Icvos, tree: Path, data: Path, tmp_path: Path) -> None:
    with Image.open(tree / "tom/JPEGImages/00002.jpg") as picture:
        picture.save(tree / "tom/JPEGImages/00002.jpg", quality=50)  # another encoding of the picture
    said = icvos("import", tree, "--data", data, "--out", tmp_path / "R")
    assert said.code == 0
    assert "named  ic-vos/rex  6 of 6 frames in davis/rex" in said.out
    assert "kept   ic-vos/tom  5 of 6 frames in davis/tom: not every frame is in the source's clip, in its order" in said.out
    assert "1 of 2 clips named by their sources" in said.out
    manifest = Benchmark.open(tmp_path / "R").manifest
    assert [(clip.source, clip.name) for clip in manifest.clips] == [("davis", "rex"), ("ic-vos", "tom")]
    assert set(manifest.sources) == {"davis", "ic-vos", "coco"}
    assert manifest.name == "davis-ic-vos-imported"
    assert icvos("verify", tmp_path / "R").code == 0


def test_a_tree_that_was_encoded_anew_keeps_its_name(icvos: Icvos, tree: Path, data: Path, tmp_path: Path) -> None:
    for path in tree.glob("*/JPEGImages/*.jpg"):
        with Image.open(path) as picture:
            picture.save(path, quality=50)
    report = imported(icvos, tree, data, tmp_path / "R")
    assert {(clip["source_clip"], clip["matched"]) for clip in report["clips"]} == {("", 0)}
    assert {tube.partition("/")[0] for tube in report["tubes"]} == {"ic-vos"}
    assert set(Benchmark.open(tmp_path / "R").manifest.sources) == {"ic-vos", "coco"}


def test_frames_in_another_order_are_another_clip(icvos: Icvos, tree: Path, data: Path, tmp_path: Path) -> None:
    images = tree / "rex/JPEGImages"
    for old, new in (("00001", "x"), ("00004", "00001"), ("x", "00004")):
        (images / f"{old}.jpg").rename(images / f"{new}.jpg")
    rex = imported(icvos, tree, data, tmp_path / "R")["clips"][0]
    assert (rex["source_clip"], rex["matched"] < 6, bool(rex["reason"])) == ("davis/rex", True, True)


def test_a_part_of_a_clip_is_named_and_has_the_sources_frame_ids(icvos: Icvos, tree: Path, data: Path, tmp_path: Path) -> None:
    for number in (0, 3):
        for path in tree.glob(f"rex/**/{number:05d}.*"):
            path.unlink()
    imported(icvos, tree, data, tmp_path / "R")
    rex = Benchmark.open(tmp_path / "R").manifest.clips[0]
    assert (rex.source, rex.frames) == ("davis", ("00001", "00002", "00004", "00005"))


@pytest.mark.parametrize("change", ["another mask", "part of an object", "void"])
def test_masks_that_are_no_union_of_objects_keep_the_trees_name(icvos: Icvos, tree: Path, data: Path, tmp_path: Path, change: str) -> None:
    if change == "void":
        write_ids(data / "DAVIS/Annotations/480p/tom/00003.png", box(5, 8, 10, 12, 255))
        write_ids(tree / "tom/Annotations/16/00003.png", box(5, 8, 10, 12), "L")
    else:
        write_ids(tree / "tom/Annotations/16/00003.png", box(0, 30, 4, 4) if change == "another mask" else box(5, 8, 9, 12), "L")
    tom = imported(icvos, tree, data, tmp_path / "R")["clips"][1]
    assert (tom["source_clip"], tom["matched"]) == ("davis/tom", 6)
    assert tom["reason"].startswith("the masks of cat") and tom["reason"].endswith("are no union of the source's objects")
    assert {clip.source for clip in Benchmark.open(tmp_path / "R").manifest.clips} == {"davis", "ic-vos"}


def test_several_objects_of_a_class_are_found_out(icvos: Icvos, toy_data: Path, tmp_path: Path) -> None:
    pair = [np.maximum(ids, box(18, 30, 5, 5, 4)) for ids in moving_box()]
    pair[0] = moving_box()[0]  # the second comes later
    make_davis(tmp_path / "DAVIS", {"pair": ({1: "dog", 4: "dog"}, pair)})
    shutil.copytree(toy_data / "COCO", tmp_path / "COCO")
    assert icvos("build", "--data", tmp_path, "--out", tmp_path / "A", "--materialise", tmp_path / "tree").code == 0
    imported(icvos, tmp_path / "tree", tmp_path, tmp_path / "B")
    assert Benchmark.open(tmp_path / "B").manifest.clips == Benchmark.open(tmp_path / "A").manifest.clips
    assert Benchmark.open(tmp_path / "B").manifest.clips[0].tubes[0].objects == (1, 4)


@pytest.mark.parametrize(("stranger", "name"), [(0, "davis2016/rex/dog"), (1, "ic-vos/rex/dog")])
def test_the_one_object_of_a_binary_clip_is_compared_whole(tmp_path: Path, stranger: int, name: str) -> None:
    root = make_davis(tmp_path / "DAVIS", {"rex": ({1: "dog"}, moving_box())})
    shutil.copytree(root / "JPEGImages/480p/rex", tmp_path / "tree/rex/JPEGImages")
    for number, ids in enumerate(moving_box()):
        write_ids(root / f"Annotations_2016/480p/rex/{number:05d}.png", ids * 255, "L")
        write_ids(tmp_path / f"tree/rex/Annotations/17/{number:05d}.png", ids, "L")
    write_ids(tmp_path / "tree/rex/Annotations/17/00004.png", np.maximum(moving_box()[4], box(0, 0, stranger, 1)), "L")
    (named,), _ = match_sources(read_official_tree(tmp_path / "tree"), [Davis2016(root)])
    assert named.id == name


def test_a_clip_that_two_sources_have_is_the_firsts_and_is_named_once(tmp_path: Path) -> None:
    first, second = make_mose(tmp_path / "1", {"abc": moving_box()}), make_mose(tmp_path / "2", {"abc": moving_box()})
    for copy in ("abc", "again"):
        shutil.copytree(first / "train/JPEGImages/abc", tmp_path / f"tree/{copy}/JPEGImages")
        shutil.copytree(first / "train/Annotations/abc", tmp_path / f"tree/{copy}/Annotations/17")
    tubes = read_official_tree(tmp_path / "tree")
    named, matches = match_sources(tubes, [Mose(first)])
    assert [tube.id for tube in named] == ["ic-vos/again/dog", "mose/abc/dog"]
    assert [match.reason for match in matches] == ["", "ic-vos/abc is that clip already"]
    named, _ = match_sources(tubes[:1], [Mose2(second), Mose(first)])
    assert [tube.id for tube in named] == ["mose2/abc/dog"]


def test_every_source_is_looked_at_whatever_the_order_of_options(icvos: Icvos, toy_data: Path, tmp_path: Path) -> None:
    davis = make_davis(tmp_path / "DAVIS", {"rex": ({1: "dog"}, moving_box())})
    mose, lvos = make_mose(tmp_path / "m", {"rex": moving_box()}), make_lvos(tmp_path / "l", {"vid": moving_box(11)}, every=5)
    for video, images, masks in (
        ("a", davis / "JPEGImages/480p/rex", davis / "Annotations/480p/rex"),
        ("b", mose / "train/JPEGImages/rex", mose / "train/Annotations/rex"),
        ("c", lvos / "valid/JPEGImages/vid", lvos / "valid/Annotations/vid"),
    ):
        shutil.copytree(images, tmp_path / f"tree/{video}/JPEGImages")
        shutil.copytree(masks, tmp_path / f"tree/{video}/Annotations/17")
    roots = [("--davis", davis), ("--root", f"mose={mose}"), ("--root", f"lvos2={lvos}")]
    for place, order in enumerate((roots, roots[::-1])):
        words = [word for pair in order for word in pair]
        said = icvos("import", tmp_path / "tree", "--coco", toy_data / "COCO", "--out", tmp_path / f"R{place}", *words)
        assert (said.code, "3 of 3 clips named by their sources" in said.out) == (0, True)
    first, second = (tmp_path / f"R{place}/manifest.json" for place in (0, 1))
    assert first.read_bytes() == second.read_bytes()
    clips = Benchmark.open(tmp_path / "R0").manifest.clips
    assert [f"{clip.source}/{clip.name}" for clip in clips] == ["davis/rex", "lvos2/vid", "mose/rex"]
    assert [digest is not None for digest in clips[1].tubes[0].mask_sha256] == [place % 5 == 0 for place in range(11)]


def test_sources_may_be_left_out_as_one_that_is_not_whole(icvos: Icvos, tree: Path, data: Path, tmp_path: Path) -> None:
    mose = make_mose(data / "MOSE", {"abc": moving_box()})
    (mose / "train/Annotations/abc/00003.png").unlink()
    said = icvos("import", tree, "--data", data, "--out", tmp_path / "R")
    assert (said.code, "frames and masks do not match" in said.err) == (3, True)
    report = imported(icvos, tree, data, tmp_path / "R", "--sources", "davis")
    assert [clip["reason"] for clip in report["clips"]] == ["", ""]
    kept = imported(icvos, tree, data, tmp_path / "kept", "--sources", "")
    assert {tube.partition("/")[0] for tube in kept["tubes"]} == {"ic-vos"}
    said = icvos("import", tree, "--data", data, "--out", tmp_path / "S", "--sources", "davis,lvos2")
    assert (said.code, "nobody said where the data is: lvos2" in said.err) == (2, True)


def test_frames_that_show_one_picture_twice_are_told_apart_by_their_order(tmp_path: Path) -> None:
    root = make_davis(tmp_path / "DAVIS", {"still": ({1: "dog"}, moving_box(4))})
    images = root / "JPEGImages/480p/still"
    for number in (1, 2):
        shutil.copyfile(images / "00000.jpg", images / f"{number:05d}.jpg")
    shutil.copytree(images, tmp_path / "tree/still/JPEGImages")
    shutil.copytree(root / "Annotations/480p/still", tmp_path / "tree/still/Annotations/17")
    (named,), _ = match_sources(read_official_tree(tmp_path / "tree"), [Davis2017(root)])
    assert [frame.id for frame in named.clip.frames] == ["00000", "00001", "00002", "00003"]


def test_without_sources_on_disk_nothing_is_said_of_them(icvos: Icvos, tree: Path, data: Path, tmp_path: Path) -> None:
    said = icvos("import", tree, "--coco", data / "COCO", "--out", tmp_path / "R")
    assert said.code == 0
    assert said.out.startswith("3 tubes imported: ic-vos-imported@1#")
