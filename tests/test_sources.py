"""MOSE and LVOS trees, whole and broken; what all trees share: streaming, worker processes, and every fault in one list."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from toys import box, make_coco, make_davis, make_lvos, make_mose, moving_box, two_clips, write_frame, write_ids

from curation.rules import rules_with
from curation.sources.coco import Coco
from curation.sources.davis import Davis2017
from curation.sources.lvos import Lvos1, Lvos2, read_ranges
from curation.sources.mose import Mose, Mose2
from curation.sources.tree import Tree
from curation.tubes import curate
from icvos.benchmark import Benchmark
from icvos.errors import DataError, Finding, UserInputError
from icvos.registry import load_sources, source_names
from icvos.types import Clip, Instance

Icvos = Callable[..., Any]


def late(frames: int = 11, appears: int = 5) -> list[Any]:
    """Object 1 moves from the start on, object 2 is there from frame `appears` on."""
    return [np.maximum(ids, box(18, 30, 5, 5, 2)) if place >= appears else ids for place, ids in enumerate(moving_box(frames))]


@pytest.fixture
def mose(tmp_path: Path) -> Path:
    return make_mose(tmp_path / "MOSE", {"0a1b2c3d": moving_box(), "ffee0011": late(6, 3)})


@pytest.fixture
def lvos(tmp_path: Path) -> Path:
    """Two clips in valid with every fifth frame annotated, one in train with all."""
    make_lvos(tmp_path / "LVOS", {"3Zf4NFzn": late(), "aT6JIUVU": moving_box(11)}, every=5)
    return make_lvos(tmp_path / "LVOS", {"0qiJ95fE": moving_box(4)}, "train", first=101, step=1)


def faults(source: Tree) -> set[tuple[str, str]]:
    findings = source.verify()
    assert all(finding.found and finding.expected and finding.fix for finding in findings)
    return {(finding.code, finding.where.removeprefix(f"{source.root}/")) for finding in findings}


def one(findings: Sequence[Finding], code: str) -> Finding:
    (found,) = (finding for finding in findings if finding.code == code)
    return found


def clip_named(source: Tree, name: str) -> Clip:
    return next(clip for clip in source.clips() if clip.name == name)


# As they are


def test_mose_gives_every_clip_of_train_and_no_name(mose: Path) -> None:
    make_mose(mose, {"hidden00": moving_box(1)}, "valid")
    for twin in ("JPEGImages/0a1b2c3d/._00000.jpg", "Annotations/0a1b2c3d/._00000.png", "Annotations/.cache/00000.png"):
        (mose / "train" / twin).parent.mkdir(exist_ok=True)
        (mose / "train" / twin).write_bytes(b"left by another system")
    source = Mose(mose)
    clips = list(source.clips())
    assert [clip.key for clip in clips] == ["mose/0a1b2c3d", "mose/ffee0011"]
    assert [frame.id for frame in clips[0].frames] == [f"{number:05d}" for number in range(6)]
    assert all(frame.mask and frame.mask.is_file() for clip in clips for frame in clip.frames)
    assert source.instances(clips[1]) == (Instance(1, None), Instance(2, None))  # the second appears late
    assert source.verify() == []


def test_lvos_frames_start_anywhere_and_skip_and_some_have_masks(lvos: Path) -> None:
    source = Lvos2(lvos)
    assert [clip.key for clip in source.clips()] == ["lvos2/0qiJ95fE", "lvos2/3Zf4NFzn", "lvos2/aT6JIUVU"]
    clip = clip_named(source, "3Zf4NFzn")
    assert [frame.id for frame in clip.frames] == [f"{number:08d}" for number in range(6, 57, 5)]
    assert [frame.mask is not None for frame in clip.frames] == [place % 5 == 0 for place in range(11)]
    assert source.instances(clip) == (Instance(1, "fighter jet"), Instance(2, None))
    assert source.verify() == []


@pytest.mark.parametrize("split", ["valid", "val"])
@pytest.mark.parametrize("place", ["{0}/{0}_meta.json", "{0}_meta.json", "{0}/meta.json"])
def test_lvos_split_and_meta_file_may_be_named_either_way(tmp_path: Path, split: str, place: str) -> None:
    root = make_lvos(tmp_path, {"x": moving_box()}, split)
    meta = (root / split / f"{split}_meta.json").rename(root / place.format(split))
    source = Lvos2(root)
    assert [clip.name for clip in source.clips()] == ["x"]
    assert source.verify() == []
    meta.write_text(json.dumps({"videos": {"x": {"objects": {"3": {"frame_range": {"start": 6, "end": 31}}}}}}))
    assert {code for code, _ in faults(Lvos2(root))} == {"unlisted-object", "object-nowhere"}


def test_frames_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    root = make_lvos(tmp_path, {"x": moving_box(3)})
    for folder, suffix in (("JPEGImages", "jpg"), ("Annotations", "png")):
        for number, name in ((6, "9"), (11, "10"), (16, "11")):
            path = root / "valid" / folder / "x"
            (path / f"{number:08d}.{suffix}").rename(path / f"{name}.{suffix}")
    assert [frame.id for frame in clip_named(Lvos2(root), "x").frames] == ["9", "10", "11"]


def test_each_version_is_a_source_of_its_own(mose: Path, lvos: Path) -> None:
    assert {"mose", "mose2", "lvos1", "lvos2"} <= set(source_names())
    sources = load_sources({"mose2": mose, "lvos1": lvos})
    assert [type(source) for source in sources] == [Mose2, Lvos1]
    assert [next(source.clips()).key for source in sources] == ["mose2/0a1b2c3d", "lvos1/0qiJ95fE"]


# Together


def test_clips_of_one_name_in_two_sources_build_verify_and_run(tmp_path: Path, icvos: Icvos) -> None:
    make_davis(tmp_path / "DAVIS", two_clips())
    make_mose(tmp_path / "MOSE", {"rex": moving_box()})
    make_lvos(tmp_path / "LVOS", {"rex": late()}, every=5)
    make_coco(tmp_path / "COCO")
    rows = ("mose,rex,1,dog", "lvos2,rex,1,dog", "lvos2,rex,2,cat")
    (tmp_path / "labels.csv").write_text("source,clip,object,class,who,when,how\n" + "".join(f"{row},ann,,\n" for row in rows))
    words = ("--data", tmp_path, "--labels", tmp_path / "labels.csv", "--min-length", 1, "--out", tmp_path / "R", "--json")
    said = icvos("build", "--sources", "lvos2,mose,davis", *words)
    assert said.code == 0, said.err
    report = json.loads(said.out)
    dogs = {tube["id"] for tube in report["tubes"] if tube["class"] == "dog"}
    assert dogs == {"davis/rex/dog", "mose/rex/dog", "lvos2/rex/dog"}
    assert ("lvos2/rex", "first-frame") in {(entry["clip"], entry["rule"]) for entry in report["left_out"]}
    again = icvos("build", "--sources", "davis,mose,lvos2", *words)
    assert json.loads(again.out)["release"] == report["release"]  # in any order of arguments
    benchmark = Benchmark.open(tmp_path / "R")
    clip = next(clip for clip in benchmark.manifest.clips if clip.source == "lvos2")
    assert (clip.image, clip.tubes[0].mask) == ("valid/JPEGImages/rex/{}.jpg", "valid/Annotations/rex/{}.png")
    assert [digest is not None for digest in clip.tubes[0].mask_sha256] == [place % 5 == 0 for place in range(11)]
    assert icvos("verify", tmp_path / "R").code == 0
    assert icvos("run", "--method", "full-frame", "--benchmark", tmp_path / "R", "--out", tmp_path / "runs").code == 0
    assert icvos("score", tmp_path / "runs").code == 0


def test_without_labels_every_object_is_out_and_told(tmp_path: Path, mose: Path) -> None:
    curated = curate([Mose(mose)], Coco(make_coco(tmp_path / "COCO")))
    assert curated.tubes == ()
    assert {(entry.clip, entry.rule) for entry in curated.left_out} == {("mose/0a1b2c3d", "named"), ("mose/ffee0011", "named")}
    assert rules_with()[0].name == "named"


# What is hidden


def test_a_tree_of_moses_valid_clips_is_refused_in_one_sentence(tmp_path: Path, icvos: Icvos) -> None:
    make_mose(tmp_path / "MOSE", {"0a1b2c3d": moving_box(1)}, "valid")
    make_coco(tmp_path / "COCO")
    for words in (("build", "--sources", "mose", "--data", tmp_path), ("verify", "--source", "mose", "--data", tmp_path)):
        said = icvos(*words)
        assert said.code == 3
        assert "the truth of MOSE's valid clips is hidden" in said.err
        assert "fetch train: what valid/ has can be answered, but not scored" in said.err


@pytest.mark.parametrize("kind", ["mose", "lvos2"])
def test_a_clip_with_its_first_mask_only_is_refused(tmp_path: Path, kind: str) -> None:
    make = make_mose if kind == "mose" else make_lvos
    source = load_sources({kind: make(tmp_path / "T", {"abc": moving_box(), "xyz": moving_box()})})[0]
    assert isinstance(source, Tree)
    for path in source.listing("abc").masks[1:]:
        path.unlink()
    assert ("hidden-truth", str(source.listing("abc").mask_folder.relative_to(source.root))) in faults(source)
    assert not any(code == "frame-without-mask" for code, _ in faults(source))
    with pytest.raises(DataError, match=r"the truth is hidden: .*found masks of the first frame only in 1 clips.*cannot be scored"):
        list(source.clips())


# Faults


def test_every_fault_of_a_mose_tree_is_listed(mose: Path) -> None:
    images, masks = mose / "train/JPEGImages", mose / "train/Annotations"
    first, second = "0a1b2c3d", "ffee0011"
    (masks / first / "00001.png").unlink()
    (images / first / "00003.jpg").unlink()
    for path in (images / second / "00002.jpg", masks / second / "00002.png"):
        path.unlink()
    write_ids(masks / first / "00004.png", box(0, 0, 5, 5, 1, (24, 41)))
    write_ids(masks / first / "00005.png", box(0, 0, 5, 5, 38), "L")
    write_frame(images / second / "00001.jpg", 1, (25, 40))
    (images / second / "00003.jpg").write_bytes((images / second / "00003.jpg").read_bytes()[:-40])
    Image.new("RGB", (40, 24)).save(masks / second / "00004.png")
    (masks / "alone").mkdir()
    write_ids(masks / "alone/00000.png", box(0, 0, 5, 5))
    shutil.copytree(images / first, images / "0A1B2C3D")
    assert faults(Mose(mose)) == {
        ("frame-without-mask", f"train/JPEGImages/{first}/00001.jpg"),
        ("mask-without-frame", f"train/Annotations/{first}/00003.png"),
        ("gap", f"train/JPEGImages/{second}"),
        ("gap", "train/JPEGImages/0A1B2C3D"),
        ("size", f"train/Annotations/{first}/00004.png"),
        ("mode", f"train/Annotations/{first}/00005.png"),
        ("size", f"train/JPEGImages/{second}/00001.jpg"),
        ("unreadable", f"train/JPEGImages/{second}/00003.jpg"),
        ("unreadable", f"train/Annotations/{second}/00004.png"),
        ("no-frames", "train/JPEGImages/alone"),
        ("case-collision", f"train/JPEGImages/{first}"),
        ("no-masks", "train/Annotations/0A1B2C3D"),
    }
    assert one([f for f in Mose(mose).verify() if second in f.where], "gap").found == "no frame 00002 (1 missing)"
    assert "a colour (RGB) PNG" in next(f.found for f in Mose(mose).verify() if f.where.endswith("00004.png") and f.code == "unreadable")


def test_frames_of_a_fault_are_named_and_the_rest_counted(mose: Path) -> None:
    for number in range(1, 1_000):
        for folder, suffix in (("JPEGImages", "jpg"), ("Annotations", "png")):
            path = mose / "train" / folder / "0a1b2c3d" / f"{number:05d}.{suffix}"
            if number < 5:
                path.unlink()
    (mose / "train/JPEGImages/0a1b2c3d/00005.jpg").rename(mose / "train/JPEGImages/0a1b2c3d/00900.jpg")
    (mose / "train/Annotations/0a1b2c3d/00005.png").rename(mose / "train/Annotations/0a1b2c3d/00900.png")
    gap = one(Mose(mose).verify(), "gap")
    assert gap.found == "no frame 00001, 00002, 00003, 00004, 00005, … (899 missing)"


def repainted(path: Path, value: int, colour: tuple[int, int, int]) -> None:
    with Image.open(path) as picture:
        changed = picture.copy()
    palette = changed.getpalette() or []
    palette[3 * value : 3 * value + 3] = colour
    changed.putpalette(palette)
    changed.save(path)


def test_a_palette_that_differs_where_it_is_used_is_a_fault(mose: Path) -> None:
    masks = mose / "train/Annotations/0a1b2c3d"
    repainted(masks / "00001.png", 1, (9, 9, 9))
    repainted(masks / "00002.png", 200, (9, 9, 9))  # no object has it
    (fault,) = Mose(mose).verify()
    assert (fault.code, Path(fault.where).name, fault.found) == ("palette", "00001.png", "value 1 painted (9, 9, 9)")
    assert fault.expected == "(1, 5, 11), as in the clip's other masks"
    for path in masks.iterdir():
        repainted(path, 0, (255, 255, 255))
    assert {(finding.code, finding.expected) for finding in Mose(mose).verify() if "background" in finding.found} == {("palette", "black")}


def change_meta(lvos: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = lvos / "valid/valid_meta.json"
    content = json.loads(path.read_text())
    change(content["videos"])
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("change", "code", "found"),
    [
        (lambda ranges: ranges.pop("2"), "unlisted-object", "object 2"),
        (lambda ranges: ranges.update({"9": ranges["2"]}), "object-nowhere", "object 9 on no mask"),
        (lambda ranges: ranges["1"]["frame_range"].update(start=11), "frame-range", "object 1 on frames 6 to 56"),
        (lambda ranges: ranges["1"]["frame_range"].update(end="51"), "frame-range", "object 1 on frames 6 to 56"),
        (lambda ranges: ranges["2"]["frame_range"].update(start=6), "frame-range", "object 2 on frames 31 to 56"),
        (lambda ranges: ranges["1"]["frame_range"].update(frame_nums=2), "frame-range", "object 1 on 3 masks"),
    ],
)
def test_a_meta_file_that_disagrees_is_told(lvos: Path, change: Callable[[dict[str, Any]], object], code: str, found: str) -> None:
    change_meta(lvos, lambda videos: change(videos["3Zf4NFzn"]["objects"]))
    (fault,) = Lvos2(lvos).verify()
    assert (fault.code, fault.where, fault.found) == (code, str(lvos / "valid/Annotations/3Zf4NFzn"), found)
    assert "as the meta file" in fault.expected


def test_where_every_frame_is_annotated_the_number_of_frames_must_be_right(lvos: Path) -> None:
    path = lvos / "train/train_meta.json"
    path.write_text(path.read_text().replace('"frame_nums": 4', '"frame_nums": 5'))
    assert one(Lvos2(lvos).verify(), "frame-range").found == "object 1 on 4 masks"


def test_every_fault_of_an_lvos_tree_is_listed(lvos: Path) -> None:
    def change(videos: dict[str, Any]) -> None:
        videos["gone"] = videos.pop("aT6JIUVU")

    change_meta(lvos, change)
    (lvos / "valid/JPEGImages/3Zf4NFzn/00000031.jpg").unlink()
    (lvos / "train/train_meta.json").unlink()
    make_lvos(lvos / "tmp", {"0qiJ95fE": moving_box(3)})
    shutil.copytree(lvos / "tmp/valid/JPEGImages/0qiJ95fE", lvos / "valid/JPEGImages/0qiJ95fE")
    shutil.rmtree(lvos / "tmp")
    assert faults(Lvos2(lvos)) == {
        ("no-meta", "train/train_meta.json"),
        ("unlisted-clip", "valid/valid_meta.json, 0qiJ95fE"),
        ("unlisted-clip", "valid/valid_meta.json, aT6JIUVU"),
        ("missing-clip", "valid/JPEGImages/gone"),
        ("clip-twice", "valid/JPEGImages/0qiJ95fE"),
        ("mask-without-frame", "valid/Annotations/3Zf4NFzn/00000031.png"),
    }
    with pytest.raises(DataError, match=r"frames and masks do not match: .*found 1 faults, expected a frame for every mask"):
        list(Lvos2(lvos).clips())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "corrupt JSON"),
        ("[]", "not a meta file of LVOS"),
        ('{"videos": {"x": {}}}', "x: found no 'objects'"),
        ('{"videos": {"x": {"objects": {"1": {"frame_range": {"start": "a", "end": 5}}}}}}', "x: found invalid literal"),
        ('{"videos": {"x": {"objects": {"one": {"frame_range": {"start": 1, "end": 5}}}}}}', "expected videos, objects and their"),
    ],
)
def test_a_broken_meta_file_is_one_fault_and_stops_no_build(lvos: Path, text: str, words: str) -> None:
    path = lvos / "valid/valid_meta.json"
    path.write_text(text)
    with pytest.raises(DataError, match=words):
        read_ranges(path)
    assert [finding.code for finding in Lvos2(lvos).verify()] == ["meta"]
    assert len(list(Lvos2(lvos).clips())) == 3


def test_files_whose_names_differ_in_case_alone_are_a_fault(lvos: Path) -> None:
    shutil.copy(lvos / "train/JPEGImages/0qiJ95fE/00000101.jpg", lvos / "train/JPEGImages/0qiJ95fE/x.jpg")
    shutil.copy(lvos / "train/JPEGImages/0qiJ95fE/00000101.jpg", lvos / "train/JPEGImages/0qiJ95fE/X.jpg")
    assert ("case-collision", "train/JPEGImages/0qiJ95fE/x.jpg") in faults(Lvos2(lvos))


# Trees that are another


@pytest.mark.parametrize("source", [Mose, Lvos2])
def test_the_trees_of_mose_and_lvos_are_told_apart(mose: Path, lvos: Path, source: type[Tree]) -> None:
    other, words = (lvos, "what looks like LVOS v2") if source is Mose else (mose, "what looks like MOSE v1")
    with pytest.raises(DataError, match=f"another data set: .*found {words}"):
        source(other)
    with pytest.raises(UserInputError, match="no such folder"):
        source(other / "nowhere")


# Processes


def test_any_number_of_workers_gives_the_same_findings_in_the_same_order(tmp_path: Path) -> None:
    root = make_mose(tmp_path, {f"clip{number:02d}": moving_box(2) for number in range(10)})
    for number in (9, 2, 5):
        (root / f"train/Annotations/clip{number:02d}/00001.png").write_bytes(b"")
    steps: list[tuple[int, int]] = []
    alone, together = Mose(root).verify(workers=1), Mose(root).verify(lambda *step: steps.append(step), workers=2)
    assert [Path(finding.where).parent.name for finding in alone] == ["clip02", "clip05", "clip09"]
    assert together == alone
    assert steps == [(done, 10) for done in range(1, 11)]


class Birds(Tree):
    """A plug-in's tree: `birds/<clip>/frames/*.jpg`, `birds/<clip>/masks/*.png`."""

    name = "birds"

    def sequences(self) -> list[str]:
        return sorted(path.name for path in self.root.iterdir())

    def folders(self, name: str) -> tuple[Path, Path]:
        return self.root / name / "frames", self.root / name / "masks"


def test_a_data_set_of_folders_needs_two_methods(tmp_path: Path) -> None:
    for number, ids in enumerate(moving_box()):
        write_frame(tmp_path / f"birds/tit/frames/{number}.jpg", number)
        write_ids(tmp_path / f"birds/tit/masks/{number}.png", ids)
    source = Birds(tmp_path / "birds")
    assert [(clip.key, len(clip.frames), source.instances(clip)) for clip in source.clips()] == [("birds/tit", 6, (Instance(1, None),))]
    assert source.verify() == []
    (tmp_path / "birds/tit/masks/2.png").unlink()
    assert faults(source) == {("frame-without-mask", "tit/frames/2.jpg")}
    with pytest.raises(UserInputError, match="no such folder"):
        Birds(tmp_path / "nowhere")


# DAVIS in two resolutions


def test_the_resolution_of_davis_is_chosen_where_both_are_there(tmp_path: Path, icvos: Icvos) -> None:
    davis = make_davis(tmp_path / "DAVIS", two_clips())
    make_coco(tmp_path / "COCO")
    large = make_davis(tmp_path / "large", {"rex": ({1: "dog"}, moving_box(size=(48, 80))), "tom": ({1: "cat"}, moving_box(size=(48, 80)))})
    for part in ("JPEGImages", "Annotations"):
        (large / part / "480p").rename(davis / part / "Full-Resolution")
    sizes = {choice: next(Davis2017(davis, choice).clips()).size for choice in (None, "480p", "full")}
    assert sizes == {None: (24, 40), "480p": (24, 40), "full": (48, 80)}
    assert icvos("build", "--data", tmp_path, "--out", tmp_path / "R", "--resolution", "full").code == 0
    assert {clip.size for clip in Benchmark.open(tmp_path / "R").manifest.clips} == {(48, 80)}
    assert icvos("verify", tmp_path / "R").code == 0
    (davis / "Annotations/Full-Resolution/rex/00001.png").unlink()
    assert icvos("verify", "--source", "davis", "--data", tmp_path).code == 0
    assert icvos("verify", "--source", "davis", "--data", tmp_path, "--resolution", "full").code == 3
    shutil.rmtree(davis / "Annotations/480p")  # frames of both, masks of one
    assert Davis2017(davis).annotations == davis / "Annotations/Full-Resolution"
    assert Davis2017(davis).images == davis / "JPEGImages/Full-Resolution"


def test_a_resolution_that_nobody_has_is_the_users_error(mose: Path, tmp_path: Path, icvos: Icvos) -> None:
    make_coco(mose.parent / "COCO")
    said = icvos("build", "--sources", "mose", "--data", mose.parent, "--resolution", "full")
    assert (said.code, "no choice of resolution: mose: found full" in said.err) == (2, True)
    said = icvos("verify", "--resolution", "full")
    assert (said.code, "goes with --source" in said.err) == (2, True)
