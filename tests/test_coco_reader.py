"""COCO's instances in every form that an object may have: the same pixels for everybody, and one broken entry stops nobody."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from toys import make_coco, make_mose, moving_box

from curation.sources.coco import Coco, verify_coco
from icvos.categories import BY_NAME
from icvos.coco import read_instances
from icvos.errors import DataError
from icvos.fewshot.pools import CocoPool
from icvos.training.coco_index import CocoClassPictures

Icvos = Callable[..., Any]
DOG = BY_NAME["dog"]
JSON = "annotations/instances_val2017.json"
pytestmark = [pytest.mark.usefixtures("nothing_set"), pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    return make_coco(tmp_path / "COCO")


@pytest.fixture
def data(toy_data: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(toy_data, tmp_path / "data"))


def change(root: Path, by: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads((root / JSON).read_text())
    by(content)
    (root / JSON).write_text(json.dumps(content))


def as_form(entry: dict[str, Any], form: str, size: tuple[int, int] = (60, 80)) -> None:
    if entry["iscrowd"] or form == "polygons":
        return
    runs = coco_mask.merge(coco_mask.frPyObjects(entry["segmentation"], *size))
    if form == "text":
        entry["segmentation"] = {"size": list(size), "counts": runs["counts"].decode()}
    else:
        columns = coco_mask.decode(runs).ravel(order="F")
        edges = np.flatnonzero(np.diff(np.concatenate([[0], columns])))
        entry["segmentation"] = {"size": list(size), "counts": np.diff(np.concatenate([[0], edges, [columns.size]])).tolist()}


@pytest.mark.parametrize("form", ["text", "list", "mixed"])
def test_supports_and_training_have_the_same_pixels_in_every_form(coco: Path, tmp_path: Path, form: str) -> None:
    other = Path(shutil.copytree(coco, tmp_path / "other"))

    def by(content: dict[str, Any]) -> None:
        for place, entry in enumerate(content["annotations"]):
            as_form(entry, ["polygons", "list", "text"][place % 3] if form == "mixed" else form)

    change(other, by)
    assert Coco(coco).candidates(DOG) == Coco(other).candidates(DOG)
    assert len(Coco(coco).candidates(DOG)[0]) == 6
    first, second = (CocoClassPictures(root / JSON, root / "val2017") for root in (coco, other))
    assert list(first.members(DOG.id)) == list(second.members(DOG.id)) != []
    for picture in range(len(first)):
        assert np.array_equal(first.mask(picture, DOG.id), second.mask(picture, DOG.id))
    pool = CocoPool(other)
    stem = "000000001001"
    exact = first.mask(1, DOG.id)
    if form != "mixed":
        assert np.array_equal(pool.labels(stem) == DOG.id, exact)  # run lengths are exact in label maps, too
    assert verify_coco(other) == []


@pytest.mark.parametrize(
    "broken",
    [
        [[6, 6, 50, 6, 50, 40, 6, 40], [1, 2, 3, 4]],
        [[6, 6, 50, 6, 50, float("nan")]],
        [[6, 6, 50, 6, 50, float("-inf")]],
        [],
        [[]],
        [6, 6, 50, 6, 50, 40],
        None,
        {"size": [80, 60], "counts": [4800]},
        {"size": [60, 80], "counts": [4799]},
        {"size": [60, 80], "counts": "!!"},
    ],
)
def test_a_broken_annotation_leaves_out_its_image_alone(icvos: Icvos, data: Path, tmp_path: Path, broken: object) -> None:
    change(data / "COCO", lambda content: content["annotations"][0].update(segmentation=broken))
    said = icvos("build", "--data", data, "--out", tmp_path / "R", "--json")
    assert said.code == 0, said.err
    (fault,) = json.loads(said.out)["faults"]
    assert fault["code"] == "segmentation" and "annotation 10000" in fault["where"]
    assert '"image_id": 1000,' not in (tmp_path / "R/episodes.jsonl").read_text()
    assert "faulty annotations and images of COCO left out: 1" in icvos("build", "--data", data, "--dry-run").out
    strict = icvos("build", "--data", data, "--out", tmp_path / "S", "--strict")
    assert strict.code == 3 and "annotation 10000" in strict.err and not (tmp_path / "S").exists()
    assert [finding.code for finding in verify_coco(data / "COCO")] == ["segmentation"]
    pictures = CocoClassPictures(data / "COCO" / JSON, data / "COCO/val2017")
    assert 0 not in pictures.members(DOG.id) and 0 in pictures.showing(DOG.id) and len(pictures.faults) == 1
    assert CocoPool(data / "COCO").unusable("000000001000")


@pytest.mark.parametrize(
    ("by", "code"),
    [
        (lambda entry: entry.update(image_id=5), "unlisted-image"),
        (lambda entry: entry.update(category_id=12), "unknown-class"),
        (lambda entry: entry.pop("id"), "malformed-entry"),
        (lambda entry: entry.update(image_id="1000"), "malformed-entry"),
        (lambda entry: entry.pop("segmentation"), "segmentation"),
    ],
)
def test_an_entry_that_cannot_be_used_is_told_and_stops_nobody(
    icvos: Icvos, data: Path, tmp_path: Path, by: Callable[[Any], object], code: str
) -> None:
    change(data / "COCO", lambda content: by(content["annotations"][0]))
    said = icvos("build", "--data", data, "--out", tmp_path / "R", "--json")
    assert said.code == 0 and [fault["code"] for fault in json.loads(said.out)["faults"]] == [code]
    assert icvos("build", "--data", data, "--out", tmp_path / "S", "--strict").code == 3
    assert [fault.code for fault in CocoPool(data / "COCO").faults] == [code]
    said = icvos("verify", "--source", "coco", "--data", data, "--json")
    assert said.code == 3 and [fault["code"] for fault in json.loads(said.out)["findings"]] == [code]


@pytest.mark.parametrize("name", ["annotations", "images"])
def test_ids_given_twice_are_refused_with_both_places(icvos: Icvos, data: Path, tmp_path: Path, name: str) -> None:
    def by(content: dict[str, Any]) -> None:
        more = dict(content[name][2])
        if name == "images":
            more["file_name"] = "other.jpg"
        content[name].append(more)

    change(data / "COCO", by)
    last = len(json.loads((data / "COCO" / JSON).read_text())[name]) - 1
    for words in (("build", "--data", data, "--out", tmp_path / "R"), ("verify", "--source", "coco", "--data", data)):
        said = icvos(*words)
        assert said.code == 3 and f"{name}[2] and {name}[{last}]" in said.err
    for opened in (lambda: CocoPool(data / "COCO"), lambda: CocoClassPictures(data / "COCO" / JSON, data / "COCO/val2017")):
        with pytest.raises(DataError, match="stand twice"):
            opened()


def test_a_file_name_and_a_class_given_twice_are_refused(coco: Path) -> None:
    change(coco, lambda content: content["images"][1].update(file_name=content["images"][0]["file_name"]))
    with pytest.raises(DataError, match=r"images\[0\] and images\[1\]: found file_name 000000001000.jpg twice"):
        read_instances(coco / JSON)


def test_train_and_val_of_a_year_share_nothing(coco: Path) -> None:
    shutil.copy(coco / JSON, coco / "annotations/instances_train2017.json")
    assert {finding.code for finding in verify_coco(coco)} == {"in-two-splits"}


@pytest.mark.parametrize(
    ("folder", "prefix"), [("images/val2017", ""), ("val2017", "val2017/"), ("images/val2017", "val2017/"), ("images", "images/")]
)
def test_pictures_are_found_in_the_usual_layouts(coco: Path, folder: str, prefix: str) -> None:
    (coco / "val2017").rename(coco / "moved")
    (coco / folder).parent.mkdir(exist_ok=True)
    (coco / "moved").rename(coco / folder)
    change(coco, lambda content: [image.update(file_name=prefix + image["file_name"]) for image in content["images"]])
    assert Coco(coco).candidates(DOG)[0][0].file == f"{folder}/000000001000.jpg"
    assert verify_coco(coco) == []
    assert CocoPool(coco).file("000000001000") == f"{folder}/000000001000.jpg"
    assert len(CocoClassPictures(coco / JSON, coco / "val2017")) == 18


def test_an_address_stands_for_its_last_folder_and_name(coco: Path) -> None:
    def by(content: dict[str, Any]) -> None:
        for image in content["images"]:
            image["coco_url"] = f"http://images.cocodataset.org/val2017/{image.pop('file_name')}"

    change(coco, by)
    assert Coco(coco).candidates(DOG)[0][0].file == "val2017/000000001000.jpg"


@pytest.mark.parametrize("name", ["../x.jpg", "/etc/x.jpg", "val2017/../../x.jpg", "val2017\\x.jpg", "http://h/../../x.jpg"])
def test_a_name_that_leads_out_is_refused(coco: Path, name: str) -> None:
    change(coco, lambda content: content["images"][0].update(file_name=name))
    for opened in (lambda: Coco(coco).load(), lambda: CocoPool(coco)):
        with pytest.raises(DataError, match=r"images\[0\]"):
            opened()


def test_area_box_and_crowd_need_not_be_said(coco: Path) -> None:
    def by(content: dict[str, Any]) -> None:
        for entry in content["annotations"]:
            for key in ("area", "bbox", *(() if entry["iscrowd"] else ("iscrowd",))):
                entry.pop(key)

    before = Coco(coco).candidates(DOG)
    change(coco, by)
    assert Coco(coco).candidates(DOG) == before and verify_coco(coco) == []
    found = read_instances(coco / JSON)
    dog = next(annotation for annotation in found.annotations if annotation.id == 10_000)
    content = json.loads((coco / JSON).read_text())["annotations"][0]
    assert dog.covered((60, 80)) == coco_mask.area(coco_mask.merge(coco_mask.frPyObjects(content["segmentation"], 60, 80)))
    assert list(CocoClassPictures(coco / JSON, coco / "val2017").members(DOG.id)) == [1, 2, 3, 4, 5]  # a crowd is in the first


def test_boxes_and_areas_that_cannot_be_meant_are_told(coco: Path) -> None:
    change(coco, lambda content: content["annotations"][0].update(bbox=[1, 2, -3, 4], area=float("nan")))
    assert [finding.code for finding in verify_coco(coco)] == ["bbox", "area"]


def damaged(mose: Path, how: str) -> None:
    mask = mose / "train/Annotations/abc/00003.png"
    frame = mose / "train/JPEGImages/abc/00003.jpg"
    if how == "no mask":
        mask.unlink()
    elif how == "no frame":
        frame.unlink()
    elif how == "cut mask":
        mask.write_bytes(mask.read_bytes()[:-30])
    elif how == "cut frame":
        frame.write_bytes(frame.read_bytes()[:-30])
    else:
        shutil.copy(next((mose / "train/Annotations/big").iterdir()), mask)


@pytest.mark.parametrize("how", ["no mask", "no frame", "cut mask", "cut frame", "other size"])
def test_a_faulty_clip_is_left_out_of_a_mose_build(icvos: Icvos, tmp_path: Path, how: str) -> None:
    make_coco(tmp_path / "COCO")
    mose = make_mose(tmp_path / "MOSE", {"abc": moving_box(), "xyz": moving_box(), "big": moving_box(size=(30, 50))})
    damaged(mose, how)
    rows = "".join(f"mose,{clip},1,dog,ann,,\n" for clip in ("abc", "xyz", "big"))
    (tmp_path / "labels.csv").write_text(f"source,clip,object,class,who,when,how\n{rows}")
    words = ("build", "--sources", "mose", "--data", tmp_path, "--labels", tmp_path / "labels.csv", "--out", tmp_path / "R")
    strict = icvos(*words, "--strict")
    assert strict.code == 3 and "abc/00003" in strict.err and not (tmp_path / "R").exists()
    said = icvos(*words)
    assert said.code == 0, said.err
    assert "out  mose/abc  files: " in said.out and "abc/00003" in said.out and "1 of them whole clips with faulty files" in said.out
    report = json.loads(icvos(*words, "--json").out)
    assert [tube["id"] for tube in report["tubes"]] == ["mose/big/dog", "mose/xyz/dog"]
    assert [entry["clip"] for entry in report["left_out"]] == ["mose/abc"] and len(report["faults"]) == 1


def test_episodes_leave_out_a_picture_with_a_broken_annotation(icvos: Icvos, data: Path, tmp_path: Path) -> None:
    words = (
        "fewshot",
        "--benchmark",
        "coco20i",
        "--fold",
        0,
        "--method",
        "empty",
        "--data",
        data,
        "--episodes",
        20,
        "--allow-missing",
        "--dry-run",
        "--json",
    )
    before = json.loads(icvos(*words).out)[0]
    assert before["unreadable"] == 0
    entries = json.loads((data / "COCO" / JSON).read_text())["annotations"]
    person = [entry["category_id"] for entry in entries].index(1)
    change(data / "COCO", lambda content: content["annotations"][person].update(segmentation=[[1, 2]]))
    said = icvos(*words)
    assert said.code == 0 and json.loads(said.out)[0]["unreadable"] == 1 and "left out: 1; first: segmentation" in said.err


def test_a_faulty_video_is_left_out_of_an_import(icvos: Icvos, toy_release: Path, data: Path, tmp_path: Path) -> None:
    assert icvos("build", "--data", data, "--out", tmp_path / "B", "--materialise", tmp_path / "tree").code == 0
    mask = next((tmp_path / "tree/rex/Annotations").rglob("*.png"))
    mask.write_bytes(mask.read_bytes()[:-30])
    words = ("import", tmp_path / "tree", "--coco", data / "COCO", "--out", tmp_path / "R")
    strict = icvos(*words, "--strict")
    assert strict.code == 3 and str(mask) in strict.err and not (tmp_path / "R").exists()
    said = icvos(*words)
    assert said.code == 0 and "out  rex  files: unreadable" in said.out and "2 tubes imported" in said.out
